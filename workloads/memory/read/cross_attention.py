r"""Read `readout`: cross-attention of target tokens to stored ones, in the recurrent blocks, after text attention.

$$ x \mathrel{+}= \tanh(g)\, W\,\mathrm{attention}(q(\mathrm{LN}\,x), k, v), \qquad g = 0 \text{ at the start.} $$

With an address, queries and keys are turned as in `address/turned.py`, and the logits are sharpened. Source:
study.md section 5, rows `spatial-readout`, `spatial-place`.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.address.turned import Turned
from workloads.memory.initial_values import Rule, constant, xavier
from workloads.memory.interface import Address, Mechanism, Sizes, Slots, Stored, TokenWrite, float32
from workloads.study.memory.read.cross_attention import ReadoutSpec


class ReadByCrossAttention(Mechanism):
    """A read-out in every recurrent block."""

    address: Address

    reads_stored = True

    def __init__(self, write: TokenWrite, address: Address, spec: ReadoutSpec, sizes: Sizes) -> None:
        super().__init__()
        self.memory, self.address = write, address
        self.recurrent = sizes.recurrent()
        self.readers = nn.ModuleDict(
            {str(block): Readout(sizes.width, sizes.heads, addressed=spec.addressed) for block in self.recurrent}
        )

    def summary(self, slots: Slots) -> Tensor | None:
        """Of its write."""
        return self.memory.summary(slots)

    def store(self, tokens: Tensor, slots: Slots) -> Stored:
        """Of its write."""
        return self.memory.stored(tokens, slots, self.address)

    def read_stored(self, block: int, x: Tensor, stored: Stored, looks: Any) -> Tensor:
        """Target tokens after the block's own read-out."""
        y: Tensor = self.readers[str(block)](x, stored, self.address, looks)
        return y

    def readings(self) -> dict[str, float]:
        """The gates, and what the write says."""
        gates = {block: reader.gate for block, reader in self.readers.items() if isinstance(reader, Readout)}
        return {f"gate_{block}": float(gate.detach().tanh()) for block, gate in gates.items()} | self.memory.readings()


class Readout(nn.Module):
    """The read-out of one block."""

    def __init__(self, width: int, heads: int, *, addressed: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.empty(1))
        self.turns = Turned(width, heads, sharpened=True) if addressed else None

    def initial_rules(self) -> Mapping[str, Rule]:
        """Closed at the start: the row begins as the anchor-only row."""
        return {"gate": constant(0.0), "key_value.weight": xavier(2)}

    def forward(self, x: Tensor, stored: Stored, address: Address, looks: Any) -> Tensor:
        """`x` (b, t, n, d) reads `stored`."""
        b, t, n, d = x.shape
        query = self.query(self.norm(float32(x))).view(b, t * n, self.heads, -1).transpose(1, 2)
        key, value = self.key_value(stored.tokens).view(b, -1, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mask = None if stored.valid is None else stored.valid[:, None, None]
        scale = None
        if self.turns is not None:
            query = self.turns.queries(query, address, looks).to(value.dtype)
            key = self.turns.keys(key, address, stored.looks).to(value.dtype)
            scale = 1.0
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        read = self.out(read.transpose(1, 2).reshape(b, t, n, d))
        return x + self.gate.tanh() * float32(read)
