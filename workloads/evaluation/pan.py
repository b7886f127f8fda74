"""A frame seen from another heading, by geometry alone: the pinhole's projection of its pixels, bilinear.

Exact for a camera that turns on the spot; for one that also moves, depth would have to be known.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data.geometry import HALF_VIEW_DEG

SLACK = 1e-9  # a ray on the very edge of the frame's view is in it


def turned_frame(
    frame: npt.NDArray[np.uint8 | np.float64], yaw_deg: npt.NDArray[np.floating[Any]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """`frame` (h, w, 3) as a camera sees it that has turned by each of `yaw_deg` (t,), degrees, to the right.

    Returns:
        Colours (t, h, w, 3), 0..255; from the centres of the outermost pixels on, also outside the frame's view, those
        of the outermost pixel. And which pixels were in the frame's view, (t, h, w).
    """
    h, w = frame.shape[:2]
    edge = np.tan(np.deg2rad(HALF_VIEW_DEG))
    right = (((np.arange(w) + 0.5) / w * 2 - 1) * edge)[None, None, :]
    up = ((1 - (np.arange(h) + 0.5) / h * 2) * edge * h / w)[None, :, None]
    yaw = np.deg2rad(np.asarray(yaw_deg, dtype=np.float64))[:, None, None]
    # Rays of the turned camera, (forward 1, right, up), in the axes of the frame's camera.
    ahead = np.cos(yaw) - np.sin(yaw) * right  # (t, 1, w)
    safe = np.where(ahead > 0, ahead, 1.0)
    aside = np.sin(yaw) + np.cos(yaw) * right
    x = np.where(ahead > 0, aside / safe / edge, np.where(aside > 0, 2.0, -2.0)) + np.zeros((1, h, 1))  # 2: outside
    y = up / safe / (edge * h / w)
    seen: npt.NDArray[np.bool_] = (ahead > 0) & (np.abs(x) <= 1 + SLACK) & (np.abs(y) <= 1 + SLACK)
    column, of_column = _between((x + 1) / 2 * w - 0.5, w)
    row, of_row = _between((1 - y) / 2 * h - 0.5, h)
    colours = frame.astype(np.float64)
    below, beside = np.minimum(row + 1, h - 1), np.minimum(column + 1, w - 1)
    upper = colours[row, column] * (1 - of_column) + colours[row, beside] * of_column
    lower = colours[below, column] * (1 - of_column) + colours[below, beside] * of_column
    return upper * (1 - of_row) + lower * of_row, seen


def _between(at: npt.NDArray[np.float64], size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The pixel before each place, and the share of the one after it (with an axis for colours)."""
    inside = np.clip(at, 0, size - 1)
    before = np.floor(inside).astype(np.int64)
    return before, (inside - before)[..., None]
