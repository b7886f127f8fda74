r"""Queries and keys that an address turns, for stores that are asked by more than content.

Turned are $0.3\,q + b_q$ and $0.3\,k + b_k$ with learned vectors that start at 1: an address alone has nothing to turn.
Both are normalised after the turn; for a softmax their product is sharpened by $e^s$, one $s$ a head, which starts
at $\log 8$. Source: study.md section 5, `bearing`.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.initial_values import Rule, constant
from workloads.memory.interface import Address, float32

CONTENT = 0.3
"""Share of the content in what is turned (study.md section 5)."""
SHARPNESS = 8.0
"""Of the logits at the start."""


class Turned(nn.Module):
    """Shifts, turns and normalises queries and keys."""

    def __init__(self, width: int, heads: int, *, sharpened: bool) -> None:
        super().__init__()
        self.query_bias = nn.Parameter(torch.empty(heads, 1, width // heads))
        self.key_bias = nn.Parameter(torch.empty(heads, 1, width // heads))
        self.log_sharpness = nn.Parameter(torch.empty(heads, 1, 1)) if sharpened else None

    def initial_rules(self) -> Mapping[str, Rule]:
        """An address alone has something to turn."""
        rules = {"query_bias": constant(1.0), "key_bias": constant(1.0)}
        return rules if self.log_sharpness is None else rules | {"log_sharpness": constant(math.log(SHARPNESS))}

    def queries(self, x: Tensor, address: Address, looks: Any) -> Tensor:
        """Queries (b, heads, q, e) of tokens that look along `looks`, float32, of norm 1, or e^s if sharpened."""
        asked = F.normalize(address.turned(CONTENT * float32(x) + self.query_bias, looks), dim=-1)
        return asked if self.log_sharpness is None else asked * self.log_sharpness.exp()

    def keys(self, x: Tensor, address: Address, looks: Any) -> Tensor:
        """Keys (b, heads, m, e) of tokens that look along `looks`, float32, of norm 1."""
        return F.normalize(address.turned(CONTENT * float32(x) + self.key_bias, looks), dim=-1)
