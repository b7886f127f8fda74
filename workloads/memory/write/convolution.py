r"""Write `convolution`: the last inputs of a short convolution over time, at every image location.

Layer norm, $d \to e$, depthwise causal convolution over time, $e \to d$, residual times
$\tanh(g)$, $g = 0$ at the start. State: the last `kernel - 1` inputs of the convolution,
`(b, kernel - 1, n, e)` per recurrent block. What is further back is forgotten: not a long memory.
Source: study.md section 5, row `ssm-hybrid`.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.memory.initial_values import Rule, constant, uniform
from workloads.memory.interface import Sizes, StatePass, StateWrite, float32
from workloads.study.memory.write.convolution import ConvolutionSpec


class ShortConvolution(StateWrite):
    """Depthwise causal convolution over time between two linear maps, behind a gate."""

    def __init__(self, spec: ConvolutionSpec, sizes: Sizes) -> None:
        super().__init__()
        width, kernel = sizes.width, spec.kernel
        self.kernel, self.inner = kernel, spec.expand * width
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

    def run(self, x: Tensor, state: Tensor | None, at: StatePass) -> tuple[Tensor, Tensor]:
        """Residual added to `x` (b, f, n, d), and the inputs that the next frames will see."""
        past = self.kernel - 1
        inputs = float32(self.widen(self.norm(float32(x))))  # (b, f, n, e)
        if at.valid is not None:
            inputs = inputs * at.valid[:, :, None, None]
        if state is None:
            inputs = F.pad(inputs, (0, 0, 0, 0, past, 0))
        else:
            inputs = torch.cat([state, inputs], 1)
            if at.valid is not None:
                inputs = _beside_valid(inputs, at.valid, past)
        after = inputs[:, inputs.shape[1] - past :]
        if at.last:
            return x, after
        f = x.shape[1]
        mixed = torch.addcmul(self.bias, self.taps[0], inputs[:, :f])
        for tap in range(1, self.kernel):
            mixed = torch.addcmul(mixed, self.taps[tap], inputs[:, tap : tap + f])
        residual = self.gate.tanh() * float32(self.narrow(mixed))
        return self.added(x, residual, at), after

    def readings(self) -> dict[str, float]:
        """tanh(g)."""
        return {"gate": float(self.gate.detach().tanh())}


def _beside_valid(inputs: Tensor, valid: Tensor, past: int) -> Tensor:
    """Bring the `past` carried inputs at the front of `inputs` next to each sample's first valid frame."""
    missing = (~valid).sum(1)[:, None]  # (b, 1)
    place = torch.arange(inputs.shape[1], device=inputs.device)[None]  # (1, past + f)
    source = torch.where(place >= missing + past, place, (place - missing).clamp(min=0))
    return inputs.gather(1, source[:, :, None, None].expand_as(inputs))
