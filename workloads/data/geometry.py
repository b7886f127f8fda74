"""What two poses see in common, and poses as action vectors (study.md sections 2 and 3)."""

import numpy as np
import numpy.typing as npt

from workloads.data.poses import Poses

FIELD_OF_VIEW_DEG = 52.67  # horizontal; the pool stores no intrinsics (study.md section 2)
HALF_VIEW_DEG = FIELD_OF_VIEW_DEG / 2
REACH_M = 8.0
BEARINGS = 32
DEPTHS_M = (0.5, 1.0, 2.0, 4.0, 8.0)
SLACK = 1e-9  # a point on the very edge is seen, whatever the rounding of its coordinates
BLOCK_ELEMENTS = 4_000_000  # bounds the memory of one block of pairs


def overlap(a: Poses, b: Poses) -> npt.NDArray[np.float64]:
    """Share of the view that two poses have in common, (len(a), len(b)), in 0..1.

    32 bearings at the midpoints of equal angles and 5 depths in the plane of one pose; a point is seen
    by the other within half the field of view (in the plane) and 8 m; mean of both directions, rounded to
    1e-6. Symmetric: `overlap(a, b) == overlap(b, a).T` (study.md section 2).
    """
    there = _seen(a, b)
    back = there if a is b else _seen(b, a)
    return np.asarray(np.round((there + back.T) / 2, 6), dtype=np.float64)


def rotations(yaw_deg: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rz(yaw), (t, 3, 3): columns are the camera's forward, right and up in world axes."""
    yaw = np.deg2rad(yaw_deg)
    matrices = np.zeros((len(yaw), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(yaw)
    matrices[:, 1, 0] = np.sin(yaw)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    matrices[:, 2, 2] = 1.0
    return matrices


def action_vectors(poses: Poses, reference: Poses) -> npt.NDArray[np.float32]:
    """Poses relative to `reference`, (t, 12) float32: R0'Ri row by row, then R0'(ti - t0) in metres.

    Args:
        reference: one pose, that of the segment's first frame (study.md section 3).

    Raises:
        ValueError: `reference` is not a single pose.
    """
    if len(reference) != 1:
        raise ValueError(f"the reference of action vectors is one pose, got {len(reference)}")
    turned_by = rotations(poses.yaw_deg - reference.yaw_deg)  # R0'Ri is a turn about Z by the difference
    moved = (poses.positions_m - reference.positions_m) @ rotations(reference.yaw_deg)[0]
    return np.concatenate([turned_by.reshape(len(poses), 9), moved], axis=1).astype(np.float32)


def turned(pose: Poses, yaw_deg: float) -> Poses:
    """The same places, looking `yaw_deg` further to the right."""
    return Poses(pose.positions_m, pose.yaw_deg + yaw_deg)


def _seen(a: Poses, b: Poses) -> npt.NDArray[np.float64]:
    """Share of a's points that b sees, (len(a), len(b))."""
    offsets = ((np.arange(BEARINGS) + 0.5) / BEARINGS - 0.5) * FIELD_OF_VIEW_DEG
    places = np.concatenate([a.positions_m, b.positions_m])
    # From one place every depth within reach is seen alike, so one of them tells; this is most of the laptop's time.
    depths = np.asarray(DEPTHS_M[:1] if (places == places[:1]).all() else DEPTHS_M)
    yaw_b = np.deg2rad(b.yaw_deg)
    forward, right = (np.cos(yaw_b), np.sin(yaw_b)), (-np.sin(yaw_b), np.cos(yaw_b))
    edge = np.tan(np.deg2rad(HALF_VIEW_DEG))
    shares = np.zeros((len(a), len(b)))
    block = max(1, BLOCK_ELEMENTS // max(1, len(b) * BEARINGS * len(depths)))
    for first in range(0, len(a), block):
        part = a[slice(first, first + block)]
        close: slice | npt.NDArray[np.int64] = slice(None)
        if len(depths) > 1:
            # A pose farther off than twice the reach sees none of these points: most of a long scene.
            apart = ((part.positions_m[:, None] - b.positions_m) ** 2).sum(axis=2)  # (n, len(b))
            close = np.flatnonzero((apart <= (2 * REACH_M + 3 * SLACK) ** 2).any(axis=0))
        there = b.positions_m[close]
        bearing = np.deg2rad(part.yaw_deg[:, None] + offsets)  # (n, 32)
        x = part.positions_m[:, 0, None, None] + np.cos(bearing)[:, :, None] * depths  # (n, 32, depths)
        y = part.positions_m[:, 1, None, None] + np.sin(bearing)[:, :, None] * depths
        x, y = x.reshape(len(part), 1, -1), y.reshape(len(part), 1, -1)
        dx, dy = x - there[:, 0, None], y - there[:, 1, None]  # (n, close, points)
        dz = (part.positions_m[:, 2, None] - there[:, 2])[:, :, None]
        near = dx * dx + dy * dy + dz * dz <= (REACH_M + SLACK) ** 2
        ahead = dx * forward[0][close, None] + dy * forward[1][close, None]
        aside = dx * right[0][close, None] + dy * right[1][close, None]
        inside = (ahead > 0) & (np.abs(aside) <= ahead * (edge + SLACK))
        shares[first : first + block, close] = (near & inside).mean(axis=2)
    return shares
