"""Strips: source, turning point and tail of one case side by side, the truth beneath where it is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from workloads.evaluation.videos import enlarged

LEAST_SIDE = 64  # pixels of one picture in a strip
GAP = 4  # pixels of white between pictures
TAIL_FRAMES = 4

Frames = npt.NDArray[np.uint8]


def shown(length: int) -> list[int]:
    """Frames of a strip: source, turning point (the middle), and the last `TAIL_FRAMES`."""
    tail = range(max(length // 2 + 1, length - TAIL_FRAMES), length)
    return [0, length // 2, *tail]


def write_strip(path: Path, rows: Sequence[Frames]) -> None:
    """Write a PNG of `rows`, each (n, h, w, 3) uint8, n the same in all: pictures left to right, rows beneath.

    Raises:
        ValueError: rows of unequal shape.
    """
    if len({row.shape for row in rows}) != 1:
        raise ValueError(f"rows of a strip share one shape, got {[row.shape for row in rows]}")
    big = [enlarged(row, LEAST_SIDE) for row in rows]
    n, h, w, _ = big[0].shape
    canvas = np.full((len(big) * (h + GAP) - GAP, n * (w + GAP) - GAP, 3), 255, dtype=np.uint8)
    for r, row in enumerate(big):
        for i, picture in enumerate(row):
            canvas[r * (h + GAP) : r * (h + GAP) + h, i * (w + GAP) : i * (w + GAP) + w] = picture
    Image.fromarray(canvas).save(path, format="PNG", optimize=False)
