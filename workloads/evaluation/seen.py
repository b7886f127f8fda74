"""Which pixels of a view the source frame saw already: where a memory can be held to the truth (study.md section 7)."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from workloads.data.geometry import HALF_VIEW_DEG, rotations
from workloads.data.poses import Poses

SLACK = 1e-9  # a ray on the very edge of the source's view is in it
DEPTH_TOLERANCE = 0.1  # relative: a point farther than this behind what the source saw there was hidden from it


class Scene(Protocol):
    """A rendered world, as the evaluation needs it."""

    def frames(self, poses: Poses, with_object: bool = True) -> npt.NDArray[np.uint8]:
        """The true frames, (t, h, w, 3); without its salient object if asked."""
        ...

    def frames_and_masks(self, poses: Poses) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The true frames, and the salient object's pixels in each, (t, h, w)."""
        ...

    def depth(self, poses: Poses) -> npt.NDArray[np.float32]:
        """Distance along each pixel's ray, (t, h, w), metres."""
        ...


def seen_from(world: Scene, source: Poses, poses: Poses) -> npt.NDArray[np.bool_]:
    """Pixels (t, h, w) of the views at `poses` whose point lies in the view at `source` and is not hidden there.

    Args:
        source: one pose.
    """
    still = np.array_equal(poses.positions_m, np.repeat(source.positions_m, len(poses), axis=0))
    depth = world.depth(source if still else poses).astype(np.float64)  # (t, h, w); of no account if all stand still
    h, w = depth.shape[1:]
    edge = np.tan(np.deg2rad(HALF_VIEW_DEG))
    right, up = ((np.arange(w) + 0.5) / w * 2 - 1) * edge, (1 - (np.arange(h) + 0.5) / h * 2) * edge * h / w
    rays = np.stack(
        [np.ones((h, w)), np.broadcast_to(right, (h, w)), np.broadcast_to(up[:, None], (h, w))], axis=-1
    )  # camera axes: forward, right, up
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    # Camera axes of the source, from camera axes of each view: R0' (Ri r d + ti − t0).
    turn = rotations(poses.yaw_deg - source.yaw_deg)  # (t, 3, 3)
    moved = (poses.positions_m - source.positions_m) @ rotations(source.yaw_deg)[0]  # (t, 3)
    points = np.einsum("tij,hwj->thwi", turn, rays)  # (t, h, w, 3)
    if not still:
        points = points * depth[..., None] + moved[:, None, None]
    ahead = points[..., 0]
    safe = np.where(ahead > 0, ahead, 1.0)
    x, y = points[..., 1] / safe / edge, points[..., 2] / safe / (edge * h / w)
    inside: npt.NDArray[np.bool_] = (ahead > 0) & (np.abs(x) <= 1 + SLACK) & (np.abs(y) <= 1 + SLACK)
    if still:
        return inside  # from one place, nothing in view is hidden behind anything else
    column = np.clip(np.floor((x + 1) / 2 * w).astype(np.int64), 0, w - 1)
    row = np.clip(np.floor((1 - y) / 2 * h).astype(np.int64), 0, h - 1)
    there = world.depth(source)[0].astype(np.float64)[row, column]
    inside &= np.linalg.norm(points, axis=-1) <= there * (1 + DEPTH_TOLERANCE)
    return inside
