"""Addresses of frames a second time, token by token in float64: bearings, and matrices of cameras."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FIELD_DEG = 52.67
METRES = 4.0
LEVEL = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], dtype=torch.float64)
"""Pose of a camera that stays where it is and looks ahead."""


def bearing(pose: Tensor, column: int, columns: int) -> float:
    """Where a column of a frame looks, radians."""
    edge = math.tan(math.radians(FIELD_DEG / 2))
    return math.atan2(float(pose[3]), float(pose[0])) + math.atan(((column + 0.5) / columns - 0.5) * 2 * edge)


def whole_turns(pairs: int, columns: int) -> list[int]:
    most = round(180 / (FIELD_DEG / columns))
    return [round(1 + (most - 1) * j / (pairs - 1)) if pairs > 1 else 1 for j in range(pairs)]


def depth_turns(pose: Tensor, theta: float, pairs: int, columns: int) -> list[float]:
    """Angles of `pairs` pairs: half of them for the point 4 m along the ray, the others for that at 8 m."""
    most, angles = whole_turns(2, columns)[-1], []
    for depth in (4.0, 8.0):
        ahead, right = float(pose[9]) + depth * math.cos(theta), float(pose[10]) + depth * math.sin(theta)
        for i in range(pairs // 2):
            share = i / (pairs // 2 - 1) if pairs > 2 else 0
            angles.append(round(most / 2 * (1 + share)) * math.atan2(right, ahead))
    return angles


def image_of_world(pose: Tensor, aspect: float) -> Tensor:
    """(4, 4): a camera's picture has width 1 and height 1; its axes are right, down, ahead."""
    stands = torch.eye(4, dtype=torch.float64)
    stands[:3, :3], stands[:3, 3] = pose[:9].view(3, 3), pose[9:] / METRES
    axes = torch.tensor([[0, 1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    focal = 0.5 / math.tan(math.radians(FIELD_DEG / 2))
    lens = torch.diag(torch.tensor([focal, focal * aspect, 1, 1], dtype=torch.float64))
    return lens @ axes @ torch.linalg.inv(stands)


def matrix_pairs(head: int) -> range:
    """Pairs of a head's channels that the matrices take: the slowest of time."""
    groups = max(1, head // 16)
    time = head // 2 - 2 * (head // 6)
    first = max(0, time - 2 * groups)
    return range(first, first + 2 * groups)


def multiplied(x: Tensor, heads: int, matrices: Sequence[Tensor]) -> Tensor:
    """`x` (l, d): in every head of token i, groups of four channels multiplied by `matrices[i]`."""
    head = x.shape[1] // heads
    own = [h * head + 2 * pair for h in range(heads) for pair in matrix_pairs(head)[::2]]
    rows = []
    for token, matrix in zip(x, matrices, strict=True):
        out = token.clone()
        for first in own:
            out[first : first + 4] = matrix @ token[first : first + 4]
        rows.append(out)
    return torch.stack(rows)
