"""Draw a world as a level pinhole camera sees it, at 4 x the resolution and averaged (study.md section 2, worlds).

The camera is level, so bearings belong to image columns and no pixel needs a trigonometric function: what could round
otherwise on another processor is confined to a few numbers a frame.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.data.elements import REACH, SHAPES, TEXTURES, Background, Element
from workloads.data.geometry import HALF_VIEW_DEG
from workloads.data.poses import Poses

SUPERSAMPLING = 4
FAR_M = 100.0  # depth that is reported for what lies at infinity
LIMIT_RAD = 1.5  # bearings from the middle of the picture beyond which a tangent says nothing
BLOCK_PIXELS = 1 << 20  # supersampled pixels drawn at once; bounds the memory


@dataclass(frozen=True)
class PixelSamples:
    """What was drawn of `t` frames, before averaging: (h, w) are the supersampled height and width."""

    image: npt.NDArray[np.float64]
    """(t, h, w, 3), RGB in 0..1."""
    nearest_m: npt.NDArray[np.float64]
    """(t, h, w): distance of what is seen; `FAR_M` for the background."""
    salient: npt.NDArray[np.bool_]
    """(t, h, w): the salient element is seen."""

    def frames(self) -> npt.NDArray[np.uint8]:
        """(t, h, w, 3) uint8 at the frame's own resolution."""
        return np.asarray(np.rint(_averaged(self.image) * 255.0), dtype=np.uint8)

    def salient_mask(self) -> npt.NDArray[np.bool_]:
        """(t, h, w): the salient element covers at least half of the pixel."""
        t, h, w = self.salient.shape
        s = SUPERSAMPLING
        covered = self.salient.reshape(t, h // s, s, w // s, s).sum(axis=(2, 4))
        return np.asarray(2 * covered >= s * s, dtype=np.bool_)

    def depth_m(self) -> npt.NDArray[np.float32]:
        """(t, h, w) float32: distance of the nearest thing such that it and all nearer ones cover half of the pixel."""
        squares = _squares(self.nearest_m)
        half = squares.shape[-1] // 2
        return np.asarray(np.partition(squares, half - 1, axis=-1)[..., half - 1], dtype=np.float32)


def drawn(
    background: Background, elements: Sequence[Element], salient: Element | None, poses: Poses, height: int, width: int
) -> Iterator[PixelSamples]:
    """Draw `elements`, and `salient` with them if there is one, from each of `poses`, some frames at a time.

    Frames are independent: drawing them together or one by one gives the same bits. `height`, `width`: of a frame.
    """
    block = max(1, BLOCK_PIXELS // (height * width * SUPERSAMPLING**2))
    for first in range(0, len(poses), block):
        yield _drawn(background, elements, salient, poses[slice(first, first + block)], height, width)


def pixel_deg(width: int) -> float:
    """Angle of one pixel in the middle of a frame, in degrees."""
    return float(np.rad2deg(2 * np.tan(np.deg2rad(HALF_VIEW_DEG)) / width))


def half_height_deg(height: int, width: int) -> float:
    """Elevation of the upper edge in the middle column, in degrees; pixels are square."""
    return float(np.rad2deg(np.arctan(np.tan(np.deg2rad(HALF_VIEW_DEG)) * height / width)))


def _drawn(
    background: Background, elements: Sequence[Element], salient: Element | None, poses: Poses, height: int, width: int
) -> PixelSamples:
    h, w, t = height * SUPERSAMPLING, width * SUPERSAMPLING, len(poses)
    edge = math.tan(math.radians(HALF_VIEW_DEG))
    # A ray is (1, right, up) in camera axes.
    right = ((np.arange(w) + 0.5) / w * 2 - 1) * edge  # (w,)
    up = (1 - (np.arange(h) + 0.5) / h * 2) * edge * height / width  # (h,)
    image = _surroundings(background, poses.yaw_deg, right, up, edge)  # (t, h, w, 3)
    nearest = np.full((t, h, w), FAR_M)
    is_salient = np.zeros((t, h, w), dtype=np.bool_)
    for thing in [*elements, *([] if salient is None else [salient])]:
        directions, distances, tangents, visible = _placed(thing, poses, float(right[-1]))
        colour, change = np.asarray(thing.colour), np.asarray(thing.second) - np.asarray(thing.colour)
        for i in np.flatnonzero(visible).tolist():
            centre, tangent, distance = directions[i].tolist(), float(tangents[i]), float(distances[i])
            columns, rows = _window(centre, tangent, right, up)
            if columns.start >= columns.stop or rows.start >= rows.stop:
                continue
            x, y = right[columns], up[rows, None]
            aside, above = _axes(centre)
            along = np.maximum(centre[0] + centre[1] * x + centre[2] * y, 1e-6)  # (rows, columns)
            scale = 1.0 / (along * tangent)
            u = (aside[0] + aside[1] * x) * scale
            v = (above[0] + above[1] * x + above[2] * y) * scale
            seen = nearest[i, rows, columns]
            inside = SHAPES[thing.shape](u, v) & (along > 1e-6) & (distance < seen)
            share = TEXTURES[thing.texture](u, v)[..., None]
            np.copyto(image[i, rows, columns], colour + share * change, where=inside[..., None])
            np.copyto(seen, distance, where=inside)
            np.copyto(is_salient[i, rows, columns], thing is salient, where=inside)
    return PixelSamples(image, nearest, is_salient)


def _surroundings(
    background: Background,
    yaw_deg: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    edge: float,
) -> npt.NDArray[np.float64]:
    bearing = np.deg2rad(yaw_deg)[:, None] + np.arctan(right)  # (t, w)
    waves = [np.ones_like(bearing)]
    for m in background.harmonics:
        waves += [np.cos(m * bearing), np.sin(m * bearing)]
    basis = np.stack(waves, axis=-1)  # (t, w, 1 + 2m)
    # Sums in a fixed order, not a matrix product: the bits must not depend on the BLAS.
    level = sum(basis[..., k, None] * np.asarray(c) for k, c in enumerate(background.level))  # (t, w, 3)
    slope = sum(basis[..., k, None] * np.asarray(c) for k, c in enumerate(background.slope))
    rise = up[:, None] / np.sqrt(1 + right * right) / edge  # (h, w)
    image: npt.NDArray[np.float64] = rise[None, :, :, None] * np.asarray(slope)[:, None]
    image += np.asarray(level)[:, None]
    return np.clip(image, 0.0, 1.0, out=image)


def _placed(
    thing: Element, poses: Poses, right_edge: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Where a thing is, for each pose.

    Returns unit directions in camera axes (t, 3), distances (t,), tangents of the angular radius (t,), and whether
    any of it can be in the picture (t,).
    """
    bearing, elevation = math.radians(thing.bearing_deg), math.radians(thing.elevation_deg)
    flat = thing.depth_m * math.cos(elevation)
    dx = flat * math.cos(bearing) - poses.positions_m[:, 0]
    dy = flat * math.sin(bearing) - poses.positions_m[:, 1]
    dz = thing.depth_m * math.sin(elevation) - poses.positions_m[:, 2]
    yaw = np.deg2rad(poses.yaw_deg)
    ahead, aside = dx * np.cos(yaw) + dy * np.sin(yaw), dy * np.cos(yaw) - dx * np.sin(yaw)
    distance = np.maximum(np.sqrt(ahead * ahead + aside * aside + dz * dz), 1e-3)
    tangent = thing.depth_m * math.tan(math.radians(thing.radius_deg)) / distance
    spread = np.arctan(REACH * tangent) / np.maximum(np.hypot(ahead, aside) / distance, 0.1)
    visible = np.abs(np.arctan2(aside, ahead)) < math.atan(right_edge) + spread
    return np.stack([ahead, aside, dz], axis=1) / distance[:, None], distance, tangent, visible


def _window(
    centre: Sequence[float], tangent: float, right: npt.NDArray[np.float64], up: npt.NDArray[np.float64]
) -> tuple[slice, slice]:
    """Columns and rows that can hold the shape; everything outside is left alone, which is most of the time saved."""
    reach = math.atan(REACH * tangent)
    bearing = math.atan2(centre[1], centre[0])
    flat = math.hypot(centre[0], centre[1])
    elevation, spread = math.atan2(centre[2], flat), reach / max(flat, 0.1)
    low, high = math.tan(max(bearing - spread, -LIMIT_RAD)), math.tan(min(bearing + spread, LIMIT_RAD))
    bottom, top = math.tan(max(elevation - reach, -LIMIT_RAD)), math.tan(min(elevation + reach, LIMIT_RAD))
    # In the picture, heights grow away from the middle column by 1 / cos(bearing); the outermost column bounds it.
    stretch = math.sqrt(1 + max(abs(low), abs(high)) ** 2)
    bottom, top = bottom * (stretch if bottom < 0 else 1), top * (stretch if top > 0 else 1)
    return _between(right, low, high), _between(-up, -top, -bottom)


def _between(ascending: npt.NDArray[np.float64], low: float, high: float) -> slice:
    return slice(int(ascending.searchsorted(low)), int(ascending.searchsorted(high, side="right")))


def _axes(centre: Sequence[float]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The shape's own right and up, in camera axes (forward, right, up)."""
    flat = max(math.hypot(centre[0], centre[1]), 1e-9)
    cos_b, sin_b = centre[0] / flat, centre[1] / flat
    return (-sin_b, cos_b, 0.0), (-centre[2] * cos_b, -centre[2] * sin_b, flat)


def _squares(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """(t, 4h, 4w) to (t, h, w, 16)."""
    t, h, w = samples.shape
    s = SUPERSAMPLING
    return samples.reshape(t, h // s, s, w // s, s).transpose(0, 1, 3, 2, 4).reshape(t, h // s, w // s, s * s)


def _averaged(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(t, 4h, 4w, 3) to (t, h, w, 3), summed in a fixed order."""
    s = SUPERSAMPLING
    total = np.zeros((image.shape[0], image.shape[1] // s, image.shape[2] // s, image.shape[3]))
    for row in range(s):
        for column in range(s):
            total += image[:, row::s, column::s]
    return total / (s * s)
