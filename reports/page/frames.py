"""Frames of a strip: the pictures of one image, each with what it shows; the page cuts them out when it is drawn."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from reports.spec import ImageSpec
from reports.statistics.intervals import Bools


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of an image: where it lies in it, in pixels, and what it shows."""

    label: str
    x: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Frames:
    """An image and the pictures of its first line that are shown: the whole image where it is not made of them."""

    href: str
    """A `data:` address of the PNG."""
    width: int
    height: int
    gap: int
    frames: Sequence[Frame]


def frames_of(path: str, spec: ImageSpec, chosen: Mapping[str, str] | None = None) -> Frames | None:
    """The pictures of a PNG; None: it cannot be read.

    Args:
        path: of the file.
        spec: what its pictures show, left to right, with white gaps between them.
        chosen: those that are wanted -> their names; None or empty: all under their own.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        white = np.asarray(imread(path))[..., :3].min(axis=-1) >= 1.0
    except SyntaxError:  # what Pillow raises where it finds no image
        return None
    height, width = white.shape
    wide = _side(white.all(axis=0), len(spec.frames), spec.gap)
    rows = white.all(axis=1)
    tall = next((side for lines in range(len(spec.lines), 1, -1) if (side := _side(rows, lines, spec.gap))), height)
    frames = [
        Frame(label=(chosen or {}).get(label, label), x=place * (wide + spec.gap), width=wide, height=tall)
        for place, label in enumerate(spec.frames)
        if wide and (not chosen or label in chosen)
    ]
    return Frames(
        href=f"data:image/png;base64,{base64.b64encode(Path(path).read_bytes()).decode('ascii')}",
        width=width,
        height=height,
        gap=spec.gap,
        frames=frames or [Frame(label="", x=0, width=width, height=height)],
    )


def _side(white: Bools, pictures: int, gap: int) -> int:
    """Pixels of one of so many pictures with white gaps between them; 0: the image is not made of so many."""
    whole, rest = divmod(len(white) + gap, pictures or 1)
    if not pictures or rest or whole <= gap:
        return 0
    between = [white[place * whole - gap : place * whole].all() for place in range(1, pictures)]
    return whole - gap if all(between) else 0
