r"""State-space memory: a recurrence along time at every image location, in the recurrent blocks.

Both kinds run after self-attention and before text attention, are written by a clean pass over the
evidence (`WorldModel.write`) and continue over the target frames from the written state, which
that does not change. So history reaches the target through the recurrence alone.

*Hybrid*: layer norm, $d \to e$, depthwise causal convolution over time, $e \to d$, residual times
$\tanh(g)$, $g = 0$ at the start. State: the last `kernel - 1` inputs of the convolution,
`(b, kernel - 1, n, e)` per recurrent block. What is further back is forgotten: not a long memory.

*Block-wise*: with $(u, o)$ a projection of the normalised tokens,

$$ h_t = a\,h_{t-1} + (1 - a)\tanh(u_t), \quad a = e^{-1/\tau}, \qquad
   x_t \mathrel{+}= \rho\, W(h_t\,\sigma(o_t)), \quad \rho = \rho_0 + (\rho_1 - \rho_0)\,\sigma(\lambda) $$

with one $\tau$ per channel, in frames, log-spaced at the start and learned through $\log\tau$; $W = 0$
and $\lambda = 0$ at the start. State: `h`, `(b, n, d)` per recurrent block. Not selective: $a$ does
not depend on the input, which is what allows the scan in closed form.

States are float32 whatever the model's precision, and their size does not depend on how much was
written. Source: study.md section 5, rows `ssm-hybrid`, `ssm-blockwise` and "State-space write".
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.interface import Mechanism, Rule, Sizes, constant, float32, given, uniform, xavier
from workloads.study.memory.ssm import Ssm


class StateSpace(Mechanism):
    """A recurrence in every recurrent block."""

    carries_state = True

    def __init__(self, row: Ssm, sizes: Sizes) -> None:
        super().__init__()
        self.recurrent = sizes.recurrent()
        self.tokens = sizes.tokens
        self.cells = nn.ModuleDict({str(block): _cell(row, sizes.width) for block in self.recurrent})

    def state_shapes(self, batch: int) -> list[tuple[int, ...]]:
        """One tensor per recurrent block, whatever was written."""
        return [self._cell(block).state_shape(batch, self.tokens) for block in self.recurrent]

    def recur(self, block: int, x: Tensor, state: Tensor | None) -> Tensor:
        """Target tokens with the residual."""
        return self._cell(block).run(x, state, None, last=False)[0]

    def write_block(
        self, block: int, x: Tensor, state: Tensor | None, valid: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor]:
        """Evidence tokens with the residual, and the block's state after them."""
        return self._cell(block).run(x, state, valid, last=last)

    def _cell(self, block: int) -> "ShortConvolution | DecayingState":
        cell = self.cells[str(block)]
        assert isinstance(cell, ShortConvolution | DecayingState)
        return cell

    def readings(self) -> dict[str, float]:
        """Gates or weights and time constants per block; `recurrence_share` is their mean |residual| / |x|."""
        values: dict[str, float] = {}
        cells = {block: self._cell(block) for block in self.recurrent}
        shares = [cell.share for cell in cells.values() if cell.share is not None]
        if shares:
            values["recurrence_share"] = float(torch.stack(shares).mean())
        for block, cell in cells.items():
            values.update({f"{name}_{block}": value for name, value in cell.readings().items()})
        return values


class Recurrence(nn.Module):
    """What the two recurrences share: the measured share of the residual in its last forward."""

    share: Tensor | None = None

    def added(self, x: Tensor, residual: Tensor, measured: bool) -> Tensor:
        """`x + residual`, remembering how large the residual was if `measured`."""
        if measured:
            with torch.no_grad():
                self.share = residual.norm() / x.norm().clamp(min=1e-12)
        return x + residual


class ShortConvolution(Recurrence):
    """Depthwise causal convolution over time between two linear maps, behind a gate."""

    def __init__(self, width: int, kernel: int, expand: int) -> None:
        super().__init__()
        self.kernel, self.inner = kernel, expand * width
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, self.inner)
        self.taps = nn.Parameter(torch.empty(kernel, self.inner))
        self.bias = nn.Parameter(torch.empty(self.inner))
        self.narrow = nn.Linear(self.inner, width)
        self.gate = nn.Parameter(torch.empty(1))

    def initial_rules(self) -> Mapping[str, Rule]:
        """Closed at the start; taps by Xavier with as many inputs as outputs: the kernel's length."""
        return {"gate": constant(0.0), "taps": uniform(math.sqrt(3 / self.kernel))}

    def state_shape(self, batch: int, tokens: int) -> tuple[int, ...]:
        """(b, kernel - 1, n, e), oldest first."""
        return (batch, self.kernel - 1, tokens, self.inner)

    def run(self, x: Tensor, state: Tensor | None, valid: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
        """Residual added to `x` (b, f, n, d), and the inputs that the next frames will see."""
        past = self.kernel - 1
        inputs = float32(self.widen(self.norm(float32(x))))  # (b, f, n, e)
        if valid is not None:
            inputs = inputs * valid[:, :, None, None]
        if state is None:
            inputs = F.pad(inputs, (0, 0, 0, 0, past, 0))
        else:
            inputs = torch.cat([state, inputs], 1)
            if valid is not None:
                inputs = _beside_valid(inputs, valid, past)
        after = inputs[:, inputs.shape[1] - past :]
        if last:
            return x, after
        f = x.shape[1]
        mixed = torch.addcmul(self.bias, self.taps[0], inputs[:, :f])
        for tap in range(1, self.kernel):
            mixed = torch.addcmul(mixed, self.taps[tap], inputs[:, tap : tap + f])
        residual = self.gate.tanh() * float32(self.narrow(mixed))
        return self.added(x, residual, valid is None), after

    def readings(self) -> dict[str, float]:
        """tanh(g)."""
        return {"gate": float(self.gate.detach().tanh())}


class DecayingState(Recurrence):
    """One exponentially forgetting average per channel and location, gated on its way out."""

    def __init__(self, width: int, tau: tuple[float, float], rho: tuple[float, float]) -> None:
        super().__init__()
        self.width, self.tau, self.rho = width, tau, rho
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

    def run(self, x: Tensor, state: Tensor | None, valid: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
        """Residual added to `x` (b, f, n, d), and the state after the last frame."""
        u, o = self.project(self.norm(float32(x))).chunk(2, -1)
        rate = -torch.exp(-self.log_tau)  # log a, (d,)
        inputs = -torch.expm1(rate) * float32(u).tanh()  # (1 - a) tanh(u)
        if valid is not None:
            inputs = inputs * valid[:, :, None, None]
        h = _final(inputs, rate) if last else decaying_sum(inputs, rate)
        if state is not None:
            h = h + self._faded(state, rate, valid, x.shape[1], last)
        if last:
            return x, h
        low, high = self.rho
        weight = low + (high - low) * self.weight_logit.sigmoid()
        residual = weight * float32(self.out(h * float32(o).sigmoid()))
        return self.added(x, residual, valid is None), h[:, -1]

    def _faded(self, state: Tensor, rate: Tensor, valid: Tensor | None, frames: int, last: bool) -> Tensor:
        """What is left of `state` (b, n, d) after each frame, or after the last."""
        every = torch.arange(1, frames + 1, device=state.device)[None]
        seen = every if valid is None else valid.cumsum(1)  # (1 or b, f)
        if last:
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


def _beside_valid(inputs: Tensor, valid: Tensor, past: int) -> Tensor:
    """Bring the `past` carried inputs at the front of `inputs` next to each sample's first valid frame."""
    missing = (~valid).sum(1)[:, None]  # (b, 1)
    place = torch.arange(inputs.shape[1], device=inputs.device)[None]  # (1, past + f)
    source = torch.where(place >= missing + past, place, (place - missing).clamp(min=0))
    return inputs.gather(1, source[:, :, None, None].expand_as(inputs))


def _cell(row: Ssm, width: int) -> ShortConvolution | DecayingState:
    if row.kernel is not None and row.expand is not None:
        return ShortConvolution(width, row.kernel, row.expand)
    assert row.tau is not None and row.rho is not None  # the row's own check
    return DecayingState(width, row.tau, row.rho)
