r"""Write `diagonal`: one exponentially forgetting average per channel, at every image location.

With $(u, o)$ a projection of the normalised tokens,

$$ h_t = a\,h_{t-1} + (1 - a)\tanh(u_t), \quad a = e^{-1/\tau}, \qquad
   x_t \mathrel{+}= \rho\, W(h_t\,\sigma(o_t)), \quad \rho = \rho_0 + (\rho_1 - \rho_0)\,\sigma(\lambda) $$

with one $\tau$ per channel, in frames, log-spaced at the start and learned through $\log\tau$; $W = 0$
and $\lambda = 0$ at the start. State: `h`, `(b, n, d)` per recurrent block. Not selective: $a$ does
not depend on the input, which is what allows the scan in closed form. Source: study.md section 5, row `ssm-blockwise`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from workloads.memory.initial_values import Rule, constant, given, xavier
from workloads.memory.interface import Sizes, StatePass, StateWrite, float32
from workloads.study.memory.write.diagonal import DiagonalSpec


class DecayingState(StateWrite):
    """One exponentially forgetting average per channel and location, gated on its way out."""

    def __init__(self, spec: DiagonalSpec, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.width, self.tau, self.rho = width, spec.tau, spec.rho
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 2 * width)
        self.log_tau = nn.Parameter(torch.empty(width))
        self.weight_logit = nn.Parameter(torch.empty(1))
        self.out = nn.Linear(width, width)

    def initial_rules(self) -> Mapping[str, Rule]:
        """Time constants spread over channels; nothing is read at the start."""
        spread = torch.linspace(math.log(self.tau[0]), math.log(self.tau[1]), self.width)
        return {
            "log_tau": given(spread),
            "weight_logit": constant(0.0),
            "project.weight": xavier(2),
            "out.weight": constant(0.0),
        }

    def state_shape(self, batch: int, tokens: int) -> tuple[int, ...]:
        """(b, n, d)."""
        return (batch, tokens, self.width)

    def run(self, x: Tensor, state: Tensor | None, at: StatePass) -> tuple[Tensor, Tensor]:
        """Residual added to `x` (b, f, n, d), and the state after the last frame."""
        u, o = self.project(self.norm(float32(x))).chunk(2, -1)
        rate = -torch.exp(-self.log_tau)  # log a, (d,)
        inputs = -torch.expm1(rate) * float32(u).tanh()  # (1 - a) tanh(u)
        if at.valid is not None:
            inputs = inputs * at.valid[:, :, None, None]
        h = _final(inputs, rate) if at.last else decaying_sum(inputs, rate)
        if state is not None:
            h = h + self._faded(state, rate, at, x.shape[1])
        if at.last:
            return x, h
        low, high = self.rho
        weight = low + (high - low) * self.weight_logit.sigmoid()
        residual = weight * float32(self.out(h * float32(o).sigmoid()))
        return self.added(x, residual, at), h[:, -1]

    def _faded(self, state: Tensor, rate: Tensor, at: StatePass, frames: int) -> Tensor:
        """What is left of `state` (b, n, d) after each frame, or after the last."""
        every = torch.arange(1, frames + 1, device=state.device)[None]
        seen = every if at.valid is None else at.valid.cumsum(1)  # (1 or b, f)
        if at.last:
            return torch.exp(seen[:, -1, None, None] * rate) * state
        return torch.exp(seen[:, :, None, None] * rate) * state[:, None]

    def readings(self) -> dict[str, float]:
        """The residual's weight and the spread of time constants, in frames."""
        low, high = self.rho
        tau = self.log_tau.detach().exp()
        return {
            "rho": float(low + (high - low) * self.weight_logit.detach().sigmoid()),
            "tau_least": float(tau.min()),
            "tau_most": float(tau.max()),
        }


def decaying_sum(inputs: Tensor, rate: Tensor) -> Tensor:
    r"""$h_t = e^{rate} h_{t-1} + inputs_t$ from zero, over dimension 1 of (b, f, n, d), `rate` (d,).

    By doubling: after the pass of stride s every frame holds the sum over the last 2 s, so the number of
    passes grows with the logarithm of the frames. Equal to the loop to rounding (tests/model/test_ssm.py).
    """
    h, stride = inputs, 1
    while stride < inputs.shape[1]:
        h = torch.cat([h[:, :stride], torch.addcmul(h[:, stride:], torch.exp(stride * rate), h[:, :-stride])], 1)
        stride *= 2
    return h


def _final(inputs: Tensor, rate: Tensor) -> Tensor:
    """The last frame of `decaying_sum`, (b, n, d)."""
    age = torch.arange(inputs.shape[1] - 1, -1, -1, device=inputs.device)
    return (torch.exp(age[:, None, None] * rate) * inputs).sum(1)
