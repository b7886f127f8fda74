"""Rotary positions against a slow twin written from the definition."""

import math

import torch
from torch import Tensor

from workloads.memory.rotary import rotary_table, rotated


def turned_slowly(x: Tensor, frames: int, rows: int, columns: int) -> Tensor:
    """`x` (frames * rows * columns, e), pair by pair."""
    e = x.shape[-1]
    space = 2 * (e // 6)
    out = x.clone()
    for index in range(x.shape[0]):
        position = (index // (rows * columns), index // columns % rows, index % columns)
        channel = 0
        for axis, width in enumerate((e - 2 * space, space, space)):
            for pair in range(width // 2):
                angle = position[axis] / 10000 ** (2 * pair / width)
                a, b = float(x[index, channel]), float(x[index, channel + 1])
                out[index, channel] = a * math.cos(angle) - b * math.sin(angle)
                out[index, channel + 1] = a * math.sin(angle) + b * math.cos(angle)
                channel += 2
    return out


def test_rotary_positions_turn_neighbouring_pairs_by_time_row_and_column() -> None:
    for e in (12, 32):
        x = torch.randn(3 * 2 * 4, e, generator=torch.Generator().manual_seed(0))
        fast = rotated(x, rotary_table(3, 2, 4, e))
        torch.testing.assert_close(fast, turned_slowly(x, 3, 2, 4), atol=1e-5, rtol=0)


def test_the_written_out_rotation_of_a_compiler_is_the_same_rotation() -> None:
    x = torch.randn(2, 3 * 2 * 4, 2, 12, generator=torch.Generator().manual_seed(0))
    table = rotary_table(3, 2, 4, 12)[:, None]
    compiled = torch.compile(rotated, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, table), rotated(x, table), atol=1e-6, rtol=0)


def test_a_table_of_more_frames_begins_with_the_table_of_fewer() -> None:
    assert torch.equal(rotary_table(5, 2, 3, 12)[: 2 * 6], rotary_table(2, 2, 3, 12))


def test_wan_sizes_give_44_channels_to_time_and_42_to_each_side() -> None:
    table = rotary_table(2, 2, 2, 128)
    moved = [int((table[index] != table[0]).any(-1).sum()) * 2 for index in (4, 2, 1)]
    assert moved == [44, 42, 42]
