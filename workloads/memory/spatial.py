r"""Spatial store: one grid of tokens, the average of all evidence seen at each place of the image.

Write: patch-embedded evidence is averaged over time, pooled in two dimensions to $G \times G$ cells
and mixed to $M$ tokens,

$$ u_j = \sum_c \mathrm{softmax}_c(L_{cj})\, \bar x_c , \qquad L = 5 \cdot \mathbf 1_{c=j} \text{ at the start.} $$

Averaging and embedding are both linear, so the latents are averaged before they are embedded and
a write costs the embedding of one frame. Read `text`: the tokens are appended to the text's keys
and values in every block. Read `readout`: in the recurrent blocks, after text attention, target
tokens attend to them on their own, times $\tanh(g)$ with $g = 0$ at the start.

Not a map of the scene: cells are places in the image, whatever the camera looked at. No state crosses
chunks; what is stored has M tokens however much was written.

Source: study.md section 5, rows `spatial*`.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.interface import Mechanism, Rule, Sizes, Slots, constant, float32, given, xavier
from workloads.study.memory.spatial import Spatial

DIAGONAL = 5.0
"""Mixing logit of cell j in token j at the start; the others are 0 (study.md section 5)."""


class SpatialStore(Mechanism):
    """A G x G grid of averaged evidence, mixed to M tokens and read in one of two ways."""

    def __init__(self, row: Spatial, sizes: Sizes) -> None:
        super().__init__()
        side, tokens = int(sizes.controls["grid"]), int(sizes.controls["grid_tokens"])
        self.written = row.write == "grid" and row.read != "none" and not row.masked
        self.read, self.width = row.read, sizes.width
        cells = torch.eye(sizes.tokens).view(sizes.tokens, 1, sizes.rows, sizes.columns)
        pooling = F.adaptive_avg_pool2d(cells, side).flatten(1).T.contiguous()
        self.pooling: Tensor
        self.register_buffer("pooling", pooling, persistent=False)  # (cells, n)
        self.mixing = nn.Parameter(torch.empty(side * side, tokens))
        self.readers = nn.ModuleDict()
        if row.read == "readout":
            self.recurrent = sizes.recurrent()
            self.readers.update({str(block): Readout(sizes.width, sizes.heads) for block in self.recurrent})
        self.reads_stored = self.read == "readout" and self.written

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

    def store(self, tokens: Tensor) -> Tensor:
        """M tokens (b, m, d) of the averaged frame (b, 1, n, d)."""
        return (self.mixing.softmax(0).T @ self.pooling) @ tokens[:, 0]

    def beside_text(self, stored: Tensor) -> Tensor | None:
        """All of them, in the rows that read them with the text."""
        return stored if self.read == "text" else None

    def read_stored(self, block: int, x: Tensor, stored: Tensor) -> Tensor:
        """Target tokens after the block's own read-out."""
        y: Tensor = self.readers[str(block)](x, stored)
        return y

    def readings(self) -> dict[str, float]:
        """The gates, and how strongly a token keeps to its own cell."""
        values = {f"gate_{block}": float(gate.detach().tanh()) for block, gate in self._gates()}
        values["mixing_peak"] = float(self.mixing.detach().softmax(0).amax(0).mean())
        return values

    def _gates(self) -> list[tuple[str, Tensor]]:
        return [(block, reader.gate) for block, reader in self.readers.items() if isinstance(reader, Readout)]


class Readout(nn.Module):
    """Gated cross-attention of target tokens to stored tokens: x + tanh(g) W attention(q(LN x), k, v)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.empty(1))

    def initial_rules(self) -> Mapping[str, Rule]:
        """Closed at the start: the row begins as the anchor-only row."""
        return {"gate": constant(0.0), "key_value.weight": xavier(2)}

    def forward(self, x: Tensor, stored: Tensor) -> Tensor:
        """`x` (b, t, n, d) reads `stored` (b, m, d)."""
        b, t, n, d = x.shape
        query = self.query(self.norm(float32(x))).view(b, t * n, self.heads, -1).transpose(1, 2)
        key, value = self.key_value(stored).view(b, -1, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(query, key, value)
        read = self.out(read.transpose(1, 2).reshape(b, t, n, d))
        return x + self.gate.tanh() * float32(read)
