"""3-D rotary positions: time, row and column of a token turn pairs of query and key channels.

Of a head's `e` channels, `e - 4 (e // 6)` belong to time and `2 (e // 6)` to each of row and column, neighbouring
channels form a pair, and pair i of an axis with `w` channels turns by position / 10000^(2i/w): the
layout of Wan 2.1 (study.md section 4), so that its weights fit.
"""

import torch
from torch import Tensor

BASE = 10000.0


def rotary_table(frames: int, rows: int, columns: int, head_width: int) -> Tensor:
    """Cosine and sine (frames * rows * columns, head_width / 2, 2) for tokens in time, row, column order.

    Frames are numbered from 0; target frames come first and memory slots after them.
    """
    space = 2 * (head_width // 6)
    widths = (head_width - 2 * space, space, space)
    turns = []
    for axis, (length, width) in enumerate(zip((frames, rows, columns), widths, strict=True)):
        rate = BASE ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
        angle = torch.arange(length, dtype=torch.float64)[:, None] * rate  # (length, width / 2)
        shape = [1, 1, 1, width // 2]
        shape[axis] = length
        turns.append(angle.view(shape).expand(frames, rows, columns, width // 2))
    angles = torch.cat(turns, -1).reshape(frames * rows * columns, head_width // 2)
    return torch.stack([angles.cos(), angles.sin()], -1).float()


class Rotary:
    """Positions of a table: queries and keys are turned, values stay."""

    def __init__(self, table: Tensor) -> None:
        """Take a `table` (l, e / 2, 2) for all samples or (b, l, e / 2, 2), cosine and sine."""
        self.table = table

    def turned(self, x: Tensor) -> Tensor:
        """Queries and keys (b, l, 2, heads, e)."""
        return rotated(x, self.table.unsqueeze(-3).unsqueeze(-3))

    def values(self, x: Tensor) -> Tensor:
        """As they are."""
        return x

    def outputs(self, x: Tensor) -> Tensor:
        """As they are."""
        return x


def rotated(x: Tensor, table: Tensor) -> Tensor:
    """`x` (..., e) float32 with neighbouring channels turned by `table`, broadcast over (..., e / 2, 2)."""
    if torch.compiler.is_compiling():
        # Inductor makes no code for complex numbers: written out, the rotation is fused with its neighbours.
        cosine, sine = table.unbind(-1)
        even, odd = x.view(*x.shape[:-1], -1, 2).unbind(-1)
        return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * torch.view_as_complex(table)).flatten(-2)
