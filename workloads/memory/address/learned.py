"""Address `learned`: a small network says from bearing and row what is added to queries and keys.

A reference for what is built in elsewhere: it has to learn what a turn is, and what it says depends on
where bearings are counted from. Source: study.md section 5, row `ssm-matrix-learned`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.address.bearing import bearings, column_offsets
from workloads.memory.interface import Address, Sizes
from workloads.study.memory.address.learned import TOLD
from workloads.study.memory.parts import AddressSpec


class Learned(Address):
    """`looks`: what is added to the tokens of each frame, (b, f, n, d)."""

    def __init__(self, spec: AddressSpec, sizes: Sizes) -> None:
        super().__init__(spec, sizes)
        self.yaw, self.heads, self.rows = spec.yaw, sizes.heads, sizes.rows
        self.offsets: Tensor
        self.register_buffer("offsets", column_offsets(sizes.columns), persistent=False)
        self.widen = nn.Linear(TOLD, sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)

    def looks(self, poses: Tensor) -> Tensor:
        """Cosine and sine of the bearing and the row, through two layers."""
        bearing = bearings(poses, self.offsets, yaw=self.yaw)[:, :, None].expand(-1, -1, self.rows, -1)
        row = (torch.arange(self.rows, device=poses.device) + 0.5) / self.rows
        told = torch.stack([bearing.cos(), bearing.sin(), row[:, None].expand_as(bearing)], -1)
        added: Tensor = self.out(F.gelu(self.widen(told.flatten(2, 3)), approximate="tanh"))
        return added

    def turned(self, x: Tensor, looks: Tensor) -> Tensor:
        """Tokens (b, heads, f n, e) with what was learned for their places."""
        return x + looks.reshape(len(x), -1, self.heads, x.shape[-1]).transpose(1, 2).to(x.dtype)
