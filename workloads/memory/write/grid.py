r"""Write `grid`: one grid of tokens, the average of all evidence seen at each place of the image.

Patch-embedded evidence is averaged over time, pooled in two dimensions to $G \times G$ cells
and mixed to $M$ tokens,

$$ u_j = \sum_c \mathrm{softmax}_c(L_{cj})\, \bar x_c , \qquad L = 5 \cdot \mathbf 1_{c=j} \text{ at the start.} $$

Averaging and embedding are both linear, so the latents are averaged before they are embedded and
a write costs the embedding of one frame.

Not a map of the scene: cells are places in the image, whatever the camera looked at. No state crosses
chunks; what is stored has M tokens however much was written. Source: study.md section 5, rows `spatial*`.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.initial_values import Rule, given
from workloads.memory.interface import Address, Sizes, Slots, Stored, TokenWrite
from workloads.study.memory.write.grid import GridSpec

DIAGONAL = 5.0
"""Mixing logit of cell j in token j at the start; the others are 0 (study.md section 5)."""


class Grid(TokenWrite):
    """A G x G grid of averaged evidence, mixed to M tokens."""

    def __init__(self, spec: GridSpec, sizes: Sizes) -> None:
        super().__init__()
        side, tokens = int(sizes.controls["grid"]), int(sizes.controls["grid_tokens"])
        self.written = not spec.masked
        cells = torch.eye(sizes.tokens).view(sizes.tokens, 1, sizes.rows, sizes.columns)
        pooling = F.adaptive_avg_pool2d(cells, side).flatten(1).T.contiguous()
        self.pooling: Tensor
        self.register_buffer("pooling", pooling, persistent=False)  # (cells, n)
        self.mixing = nn.Parameter(torch.empty(side * side, tokens))

    def initial_rules(self) -> Mapping[str, Rule]:
        """Token j starts as cell j, nearly."""
        return {"mixing": given(DIAGONAL * torch.eye(*self.mixing.shape))}

    def summary(self, slots: Slots) -> Tensor | None:
        """The average over the valid evidence, anchor included, as one frame."""
        if not self.written:
            return None
        slots = slots.trimmed()
        share = slots.valid / slots.valid.sum(1, keepdim=True).clamp(min=1)  # (b, k)
        return (share[:, :, None, None, None] * slots.latents).sum(1, keepdim=True)

    def stored(self, tokens: Tensor, slots: Slots, address: Address) -> Stored:
        """M tokens (b, m, d) of the averaged frame (b, 1, n, d)."""
        return Stored((self.mixing.softmax(0).T @ self.pooling) @ tokens[:, 0])

    def readings(self) -> dict[str, float]:
        """How strongly a token keeps to its own cell."""
        return {"mixing_peak": float(self.mixing.detach().softmax(0).amax(0).mean())}
