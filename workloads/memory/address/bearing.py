r"""Address `bearing`: queries and keys are turned by where their tokens look.

Column $c$ of a frame with yaw $\psi$ looks along $\theta = \psi + \mathrm{atan}((2(c+\tfrac12)/C - 1)\tan 26.335°)$.
A quarter of the channel pairs is turned by the token's row, by $\mathrm{row}\cdot(\pi/2)(i+1)/n_r$, the others by
$m_j\theta$ with whole numbers $m_j$ from 1 to $M$, so that there is no seam at ±180°; $M$ turns once over the width
of two columns. In self-attention, time and row keep their pairs, and those of the column take $m_j\theta$ instead.

Turning the whole world changes no difference of bearings, and so no result. Not for cameras that move: what is near
shifts. Source: study.md section 5, `bearing`.
"""

import math

import torch
from torch import Tensor

from workloads.data.geometry import FIELD_OF_VIEW_DEG, HALF_VIEW_DEG
from workloads.memory.interface import Address, Positions, Sizes
from workloads.memory.rotary import Rotary, rotated
from workloads.study.memory.parts import AddressSpec


class Bearing(Address):
    """`looks`: bearings (b, f, C) of a frame's columns, in radians."""

    def __init__(self, spec: AddressSpec, sizes: Sizes) -> None:
        super().__init__(spec, sizes)
        self.yaw = spec.yaw
        self.rows, self.columns, self.head = sizes.rows, sizes.columns, sizes.width // sizes.heads
        self.offsets: Tensor
        self.register_buffer("offsets", column_offsets(sizes.columns), persistent=False)

    def looks(self, poses: Tensor) -> Tensor:
        """Yaw and the column's place in the view, in float32."""
        return bearings(poses, self.offsets, yaw=self.yaw)

    def positions(self, rotary: Positions, looks: Tensor) -> Positions:
        """The table with the column's pairs turned by bearing, (b, l, e / 2, 2)."""
        assert isinstance(rotary, Rotary)
        pairs = self.head // 6
        angle = looks[..., None] * whole_turns(pairs, self.columns).to(looks)  # (b, f, C, pairs)
        turns = torch.stack([angle.cos(), angle.sin()], -1)[:, :, None]
        turns = turns.expand(-1, -1, self.rows, -1, -1, -1).flatten(1, 3)  # (b, l, pairs, 2)
        kept = rotary.table[..., : self.head // 2 - pairs, :].expand(len(turns), -1, -1, -1)
        return Rotary(torch.cat([kept, turns], 2))

    def turned(self, x: Tensor, looks: Tensor) -> Tensor:
        """Tokens (b, heads, f R C, e), of all rows of the columns that look along `looks` (b, f, C)."""
        rows = x.shape[2] // looks[0].numel()
        return rotated(x.contiguous(), self.table(looks, rows)[:, None])

    def table(self, looks: Tensor, rows: int) -> Tensor:
        """Cosine and sine (b, f rows C, e / 2, 2); `rows` may be fewer than a frame's, which they then share."""
        every = self.head // 2
        by_row = every // 4
        place = (torch.arange(rows, device=looks.device) + 0.5) * self.rows / rows - 0.5
        step = torch.arange(1, by_row + 1, device=looks.device) * (math.pi / 2 / max(1, by_row))
        b, f, c = looks.shape
        turns = looks[..., None] * whole_turns(every - by_row, self.columns).to(looks)  # (b, f, C, pairs)
        angle = torch.cat(
            [
                (place[:, None] * step)[None, None, :, None].expand(b, f, rows, c, by_row),
                turns[:, :, None].expand(b, f, rows, c, every - by_row),
            ],
            -1,
        ).flatten(1, 3)
        return torch.stack([angle.cos(), angle.sin()], -1)


def bearings(poses: Tensor, offsets: Tensor, *, yaw: bool) -> Tensor:
    """Where columns of frames look, (b, f, C) radians, for `poses` (b, f, 12); without `yaw` as if all looked ahead."""
    if not yaw:
        return offsets.expand(*poses.shape[:2], -1)
    # A relative pose is Rz(yaw), row-major. Missing slots are zeros, of which atan2 and its gradient are defined as 0.
    return torch.atan2(poses[..., 3], poses[..., 0])[..., None] + offsets


def column_offsets(columns: int) -> Tensor:
    """Bearing of each column's centre in the view, (C,) radians, right positive."""
    across = (2 * (torch.arange(columns, dtype=torch.float64) + 0.5) / columns - 1) * math.tan(
        math.radians(HALF_VIEW_DEG)
    )
    return across.atan().float()


def whole_turns(pairs: int, columns: int) -> Tensor:
    """Turns of each channel pair in one turn of the camera, (pairs,), whole: 1 to one every two columns."""
    most = max(1, round(180 / (FIELD_OF_VIEW_DEG / columns)))
    return torch.linspace(1, most, pairs, dtype=torch.float64).round().float()
