"""Compression a second time, from study.md section 5: lists of what is there, loops over pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workloads.study.memory.compress import Compress


@dataclass(frozen=True)
class Seen:
    """One frame of evidence."""

    latent: Tensor
    """(c, h, w)"""
    action: Tensor
    """(12,)"""
    weight: float = 1.0
    """Factor of the attention its keys get."""


def packed(group: Sequence[Tensor]) -> Tensor:
    """0.60 of the group's mean, 0.25 and 0.15 of its 2 x 2 and 4 x 4 averages, enlarged linearly."""
    mean = torch.stack(list(group)).mean(0)
    return 0.60 * mean + 0.25 * blurred(mean, 2) + 0.15 * blurred(mean, 4)


def blurred(x: Tensor, stride: int) -> Tensor:
    """`x` (c, h, w) averaged over cells of `stride`, short at the end, and enlarged pixel by pixel."""
    _, height, width = x.shape
    tops, lefts = range(0, height, stride), range(0, width, stride)
    coarse = torch.stack(
        [
            torch.stack([x[:, top : top + stride, left : left + stride].mean((1, 2)) for left in lefts], -1)
            for top in tops
        ],
        1,
    )
    out = torch.empty_like(x)
    for row in range(height):
        for column in range(width):
            out[:, row, column] = 0
            for i, share_i in between(row, height, len(tops)):
                for j, share_j in between(column, width, len(lefts)):
                    out[:, row, column] += share_i * share_j * coarse[:, i, j]
    return out


def between(place: int, length: int, cells: int) -> list[tuple[int, float]]:
    """The two cells whose centres enclose the centre of pixel `place`, and their shares; the edge is continued."""
    at = max(0.0, (place + 0.5) * cells / length - 0.5)
    low = min(int(at), cells - 1)
    return [(low, 1 - (at - low)), (min(low + 1, cells - 1), at - low)]


def mean_pose(actions: Sequence[Tensor]) -> Tensor:
    """Mean position and circular mean of yaw."""
    yaws = [math.atan2(float(a[3]), float(a[0])) for a in actions]
    yaw = math.atan2(sum(map(math.sin, yaws)), sum(map(math.cos, yaws)))
    c, s = math.cos(yaw), math.sin(yaw)
    place = torch.stack([a[9:] for a in actions]).mean(0)
    return torch.cat([torch.tensor([c, -s, 0, s, c, 0, 0, 0, 1], dtype=place.dtype), place])


def compressed(row: Compress, retrieved: Sequence[Seen]) -> list[Seen]:
    """Groups from the newest end, then weights by age."""
    kept = list(retrieved)
    if row.ratio is not None:
        groups: list[list[Seen]] = []
        while kept:
            groups.insert(0, kept[-row.ratio :])
            kept = kept[: -row.ratio]
        kept = [Seen(packed([g.latent for g in group]), mean_pose([g.action for g in group])) for group in groups]
    if row.decay is not None:
        newest = len(kept) - 1
        kept = [Seen(s.latent, s.action, row.decay ** (newest - slot)) for slot, s in enumerate(kept)]
    return kept
