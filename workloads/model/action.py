"""Action encoding: how a camera pose enters a block, at one of four sites (study.md section 3).

A linear map with bias takes the 12 numbers of a frame's relative pose to the model's width, once per
block and alike for target and memory tokens. With `n` the norm, `m` the modulation and `g` its gate:

| site | self-attention becomes |
|---|---|
| `post_attention` | x += g (Attn(m(n(x))) + a) |
| `pre_norm` | x += g Attn(m(n(x + a))) |
| `pre_qkv` | x += g Attn(m(n(x)) + a) |
| `pre_qkv_gated` | x += g Attn(m(n(x)) + tanh(gamma) a) |

The map starts at zero where it is not gated; where it is, its weights are drawn and gamma starts at
zero (with both at zero neither would ever receive a gradient).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.initial_values import Rule, constant, normal
from workloads.memory.interface import float32
from workloads.study.sizes import ACTION_WIDTH

SITES = ("post_attention", "pre_norm", "pre_qkv", "pre_qkv_gated")


class ActionMap(nn.Module):
    """One block's map from actions (b, f, 12) to what is added, (b, f, 1, d)."""

    def __init__(self, width: int, site: str) -> None:
        super().__init__()
        self.site = site
        self.weight = nn.Parameter(torch.empty(width, ACTION_WIDTH))
        self.bias = nn.Parameter(torch.empty(width))
        self.gate = nn.Parameter(torch.empty(1)) if site == "pre_qkv_gated" else None

    def initial_rules(self) -> Mapping[str, Rule]:
        """Either the map or its gate starts at zero, so that every site starts at the same numbers."""
        if self.gate is None:
            return {"weight": constant(0.0)}
        return {"weight": normal(0.02), "gate": constant(0.0)}

    def forward(self, actions: Tensor) -> Tensor:
        """The vector of each frame, times tanh(gamma) at the gated site."""
        a = float32(F.linear(actions, self.weight, self.bias))
        return (a if self.gate is None else self.gate.tanh() * a).unsqueeze(2)
