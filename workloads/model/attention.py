"""Self- and cross-attention of the Wan 2.1 shape, fused for speed.

Queries and keys are RMS-normalised over the full width, before they are split into heads. Fused
here and separate in Wan: `qkv` = to_q, to_k, to_v stacked; `key_value` = to_k, to_v stacked; `norm` of
self-attention (2, d) = norm_q, norm_k stacked.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.initial_values import Rule, constant, xavier
from workloads.memory.interface import Address, Positions, Stored, float32
from workloads.model.norm import rms_norm

EPSILON = 1e-6
"""Of every norm (Wan 2.1)."""


class SelfAttention(nn.Module):
    """Joint attention over target and memory tokens, with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_qk = nn.Parameter(torch.empty(2, width))
        self.out = nn.Linear(width, width)

    def initial_rules(self) -> Mapping[str, Rule]:
        """Each of the fused maps as if it stood alone."""
        return {"qkv.weight": xavier(3), "norm_qk": constant(1.0)}

    def forward(self, x: Tensor, positions: Positions, bias: Tensor | None, queries: int) -> Tensor:
        """Attend among `x` (b, l, d); only the first `queries` tokens ask, so (b, queries, d) comes out.

        Args:
            x: normalised tokens.
            positions: of all tokens.
            bias: (b, 1, 1, l) added to the logits of the keys, or None.
            queries: tokens whose output is wanted.
        """
        b, length, d = x.shape
        qkv = self.qkv(x)
        qk, value = qkv.split((2 * d, d), -1)
        qk = float32(qk).view(b, length, 2, d)
        qk = rms_norm(qk, self.norm_qk, EPSILON).view(b, length, 2, self.heads, -1)
        qk = positions.turned(qk).to(qkv.dtype)
        query, key = qk.permute(2, 0, 3, 1, 4)
        value = positions.values(value.view(b, length, self.heads, -1)).transpose(1, 2)
        if bias is not None:
            bias = bias.to(query.dtype)
        y = F.scaled_dot_product_attention(query[:, :, :queries], key, value, attn_mask=bias)
        y = self.out(positions.outputs(y.transpose(1, 2)).reshape(b, queries, d))
        return float32(y)


class CrossAttention(nn.Module):
    """Attention of all tokens to the text, and to what a spatial row puts beside it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.norm_query = nn.Parameter(torch.empty(width))
        self.norm_key = nn.Parameter(torch.empty(width))
        self.out = nn.Linear(width, width)

    def initial_rules(self) -> Mapping[str, Rule]:
        """Each of the fused maps as if it stood alone."""
        return {"key_value.weight": xavier(2), "norm_query": constant(1.0), "norm_key": constant(1.0)}

    def forward(
        self, x: Tensor, text: Tensor, beside: Stored | None = None, address: Address | None = None, looks: Any = None
    ) -> Tensor:
        """`x` (b, l, d), normalised, reads `text` (b, m, d), the tokens that stand `beside` it at the end.

        Those that are found by an address have logits of their own, from queries and keys that it has turned, in the
        same softmax. `looks`: where the tokens of `x` look.
        """
        b, length, d = x.shape
        words = text.shape[1] - (0 if beside is None else beside.tokens.shape[1])
        found = beside is not None and beside.looks is not None
        q = self.query(x)
        key, value = self.key_value(text).chunk(2, -1)
        query = rms_norm(float32(q), self.norm_query, EPSILON).to(q.dtype)
        key = rms_norm(float32(key), self.norm_key, EPSILON).to(q.dtype)
        query, key, value = (y.reshape(b, -1, self.heads, d // self.heads).transpose(1, 2) for y in (query, key, value))
        mask, scale = None, None
        if beside is not None and beside.valid is not None:
            mask = F.pad(beside.valid, (words, 0), value=True)[:, None, None]
        if found:
            assert beside is not None and address is not None
            # Twice as wide: the first half meets text keys, the second, turned, stored ones. Values too, since the
            # fused kernels of CPUs take one width alone; without them every logit would be kept for the backward.
            asked = address.turned(float32(query), looks).to(q.dtype)
            stored = address.turned(float32(key[:, :, words:]), beside.looks).to(q.dtype)
            query, scale = torch.cat([query, asked], -1), (d // self.heads) ** -0.5
            wide = (0, d // self.heads)
            key = torch.cat([F.pad(key[:, :, :words], wide), F.pad(stored, wide[::-1])], 2)
            value = F.pad(value, wide)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)[..., : d // self.heads]
        y = self.out(y.transpose(1, 2).reshape(b, length, d))
        return float32(y)
