r"""Write `matrix`: a matrix of keys and values in every head, which forgets exponentially.

With queries and keys of norm 1 that the address has turned, over the $n$ tokens of frame $t$,

$$ S_t = a\,S_{t-1} + \sum_n \beta_n k_n v_n^\top, \quad a = e^{-1/\tau}, \quad \beta = \sigma(\cdot), \qquad
   y = q\,S_t, \quad x \mathrel{+}= W\bigl(y\,(\overline{y^2} + 0.05)^{-1/2}\; 2\sigma(o)\bigr) $$

with one $\tau$ a head, in frames; $W = 0$ at the start. Target frames are written to the copy that they read, as
evidence is. State: `S`, `(b, heads, e, e)` per recurrent block: of no place in particular, so that it can be as
small as its width. Bearings are relative to the first frame that was ever written.
Source: study.md section 5, "matrix states".
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workloads.memory.address.turned import Turned
from workloads.memory.initial_values import Rule, constant, given
from workloads.memory.interface import Sizes, StatePass, StateWrite, float32
from workloads.memory.write.diagonal import decaying_sum
from workloads.study.memory.write.matrix import MatrixSpec

FLOOR = 0.05
"""Added to the mean square of what is read before its root is divided by (study.md section 5)."""


class Written(NamedTuple):
    """What is written of frames."""

    key: Tensor
    """(b, heads, f, n, e), turned, of norm 1."""
    value: Tensor
    """(b, heads, f, n, e)"""
    beta: Tensor
    """(b, heads, f, n), 0 where nothing is written."""
    valid: Tensor | None
    """(b, f) bool; None: all are valid."""


class MatrixState(StateWrite):
    """Keys and values of everything that was written, added up."""

    keeps_targets: bool = True
    """Whether target frames are written to the copy that they read."""

    def __init__(self, spec: MatrixSpec, sizes: Sizes) -> None:
        super().__init__()
        self.width, self.heads, self.tau = sizes.width, sizes.heads, spec.tau
        self.norm = nn.LayerNorm(sizes.width)
        self.project = nn.Linear(sizes.width, 4 * sizes.width + sizes.heads)
        self.turns = Turned(sizes.width, sizes.heads, sharpened=False)
        self.log_tau = nn.Parameter(torch.empty(sizes.heads))
        self.out = nn.Linear(sizes.width, sizes.width)

    def initial_rules(self) -> Mapping[str, Rule]:
        """Time constants spread over heads; nothing is read at the start."""
        spread = torch.linspace(math.log(self.tau[0]), math.log(self.tau[1]), self.heads)
        return {"log_tau": given(spread), "out.weight": constant(0.0)}

    def state_shape(self, batch: int, tokens: int) -> tuple[int, ...]:
        """(b, heads, e, e)."""
        return (batch, self.heads, self.width // self.heads, self.width // self.heads)

    def run(self, x: Tensor, state: Tensor | None, at: StatePass) -> tuple[Tensor, Tensor]:
        """Residual added to `x` (b, f, n, d), and the state after the last frame."""
        n, d = x.shape[2:]
        query, key, value, opened, weight = self.project(self.norm(float32(x))).split((d, d, d, d, self.heads), -1)
        written = None
        if at.writes or self.keeps_targets:
            beta = float32(weight).sigmoid().permute(0, 3, 1, 2)  # (b, heads, f, n)
            beta = beta if at.valid is None else beta * at.valid[:, None, :, None]
            key = self.turns.keys(self._by_head(key), at.address, at.looks)
            written = Written(self._by_frame(key, n), self._by_frame(self._by_head(value), n), beta, at.valid)
        asked = None if at.last else self._by_frame(self.turns.queries(self._by_head(query), at.address, at.looks), n)
        if state is None:
            state = self.empty(x)
        with torch.autocast(x.device.type, enabled=False):
            read, after = self._recurred(asked, written, state)
        if read is None:
            return x, after
        read = read * torch.rsqrt(read.square().mean(-1, keepdim=True) + FLOOR)
        read = 2 * (read.permute(0, 2, 3, 1, 4).flatten(3) * float32(opened).sigmoid())
        return self.added(x, float32(self.out(read)), at), after

    def _by_head(self, x: Tensor) -> Tensor:
        """(b, f, n, d) as (b, heads, f n, e)."""
        return x.reshape(len(x), -1, self.heads, self.width // self.heads).transpose(1, 2)

    def _by_frame(self, x: Tensor, tokens: int) -> Tensor:
        """(b, heads, f n, e) as (b, heads, f, n, e), float32."""
        b, heads, _, e = x.shape
        return float32(x).view(b, heads, -1, tokens, e)

    def _recurred(self, query: Tensor | None, written: Written | None, state: Tensor) -> tuple[Tensor | None, Tensor]:
        """What each token (b, heads, f, n, e) reads after its frame was written, and the state after the last."""
        assert written is not None  # evidence and target frames are
        frames = written.key.shape[2]
        rate = -torch.exp(-self.log_tau)[:, None, None]  # log a, (heads, 1, 1)
        added = torch.einsum("bhfne,bhfnv->bfhev", written.beta[..., None] * written.key, written.value)
        every = torch.arange(1, frames + 1, device=state.device)[None]
        seen = every if written.valid is None else written.valid.cumsum(1)  # (1 or b, f)
        held = decaying_sum(added, rate) + torch.exp(seen[:, :, None, None, None] * rate) * state[:, None]
        # Cloned: a slice would keep what is held after every frame.
        after = held[:, -1].clone()
        return (None if query is None else torch.einsum("bhfne,bfhev->bhfnv", query, held)), after

    def readings(self) -> dict[str, float]:
        """The spread of time constants, in frames."""
        tau = self.log_tau.detach().exp()
        return {"tau_least": float(tau.min()), "tau_most": float(tau.max())}
