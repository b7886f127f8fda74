"""One transformer block and the head, of the Wan 2.1 shape (study.md section 4).

Tokens are (b, f, n, d): `f` frames, target first and memory slots after them, `n` tokens a frame. Six
vectors a block modulate it: shift, scale and gate of self-attention, then of the feed-forward; they are a
learned part plus a projection of the timestep, the same for all tokens of a sample.

Names in Wan 2.1 (diffusers): `modulation` = scale_shift_table; `self_attention`, `text_attention` = attn1,
attn2; `text_norm` = norm2; `widen`, `narrow` = ffn.net.0.proj, ffn.net.2.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.initial_values import Rule, given
from workloads.memory.interface import Address, Positions, Stored, float32
from workloads.model.action import ActionMap
from workloads.model.attention import EPSILON, CrossAttention, SelfAttention

Modulation = tuple[Tensor, ...]
"""Six tensors (b, 1, 1, d): shift, scale, gate of self-attention, shift, scale, gate of the feed-forward."""


class TransformerBlock(nn.Module):
    """Self-attention with actions, text attention, feed-forward; recurrences and read-outs go in between."""

    def __init__(self, width: int, heads: int, feed_forward: int, site: str) -> None:
        super().__init__()
        self.width, self.site = width, site
        self.modulation = nn.Parameter(torch.empty(1, 6, width))
        self.action = ActionMap(width, site)
        self.self_attention = SelfAttention(width, heads)
        self.text_norm = nn.LayerNorm(width, eps=EPSILON)
        self.text_attention = CrossAttention(width, heads)
        self.widen = nn.Linear(width, feed_forward)
        self.narrow = nn.Linear(feed_forward, width)

    def initial_rules(self) -> Mapping[str, Rule]:
        """Gates at 1, shifts and scales at 0."""
        start = torch.zeros(1, 6, self.width)
        start[:, 2::3] = 1
        return {"modulation": given(start)}

    def modulated(self, timestep: Tensor) -> Modulation:
        """The block's six vectors for the projected timestep (b, 6, d)."""
        return (self.modulation + timestep)[:, :, None, None].unbind(1)

    def attend(
        self,
        x: Tensor,
        modulation: Modulation,
        actions: Tensor,
        positions: Positions,
        bias: Tensor | None,
        queries: int,
        *,
        within_frames: bool = False,
    ) -> Tensor:
        """The first `queries` frames of `x` (b, f, n, d) after self-attention.

        Args:
            x: tokens before the block.
            modulation: from `modulated`.
            actions: (b, f, 12).
            positions: of the tokens that attend to each other.
            bias: (b, 1, 1, f n) on the logits, or None.
            queries: frames whose output is wanted; the others are only attended to.
            within_frames: each frame attends to itself alone.
        """
        b, f, n, d = x.shape
        shift, scale, gate = modulation[:3]
        a = self.action(actions)  # (b, f, 1, d)
        if self.site in ("pre_qkv", "pre_qkv_gated"):
            shift = shift + a
        y = F.layer_norm(float32(x + a if self.site == "pre_norm" else x), (d,), eps=EPSILON)
        y = torch.addcmul(shift, y, 1 + scale)
        if within_frames:
            y = self.self_attention(y.view(b * f, n, d), positions, None, n).view(b, f, n, d)[:, :queries]
        else:
            y = self.self_attention(y.view(b, f * n, d), positions, bias, queries * n).view(b, queries, n, d)
        if self.site == "post_attention":
            y = y + a[:, :queries]
        return torch.addcmul(x[:, :queries], gate, y)

    def read_text(
        self, x: Tensor, text: Tensor, beside: Stored | None = None, address: Address | None = None, looks: Any = None
    ) -> Tensor:
        """`x` (b, f, n, d) after text attention over `text` (b, m, d), what stands `beside` it included."""
        y: Tensor = self.text_attention(self.text_norm(float32(x)).flatten(1, 2), text, beside, address, looks)
        return x + y.view_as(x)

    def feed(self, x: Tensor, modulation: Modulation) -> Tensor:
        """`x` (b, f, n, d) after the feed-forward."""
        shift, scale, gate = modulation[3:]
        y = torch.addcmul(shift, F.layer_norm(float32(x), (self.width,), eps=EPSILON), 1 + scale)
        y = self.narrow(F.gelu(self.widen(y), approximate="tanh"))
        return torch.addcmul(x, gate, float32(y))


class Head(nn.Module):
    """From tokens to the values of their patches; zero at the start."""

    def __init__(self, width: int, values: int) -> None:
        super().__init__()
        self.width = width
        self.modulation = nn.Parameter(torch.empty(1, 2, width))
        self.out = nn.Linear(width, values)

    def initial_rules(self) -> Mapping[str, Rule]:
        """Everything at zero: the first prediction is 0."""
        zeros = torch.zeros(1, 2, self.width)
        return {"modulation": given(zeros), "out.weight": given(torch.zeros(self.out.weight.shape))}

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Patch values (b, f, n, v) of tokens `x` (b, f, n, d) at the embedded timestep (b, d)."""
        shift, scale = (self.modulation + timestep[:, None])[:, :, None, None].unbind(1)
        y: Tensor = self.out(torch.addcmul(shift, F.layer_norm(float32(x), (self.width,), eps=EPSILON), 1 + scale))
        return float32(y)
