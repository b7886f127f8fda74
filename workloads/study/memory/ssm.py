"""State-space recurrence: hybrid or block-wise. Source: study.md section 5."""

from dataclasses import dataclass
from math import ceil, log2
from typing import ClassVar

from workloads.contract.rows import RowError
from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass, MemoryRow, linear


@dataclass(frozen=True, kw_only=True)
class Ssm(MemoryRow):
    """A recurrence in the recurrent blocks: short convolution (hybrid) or decaying state (block-wise)."""

    family: ClassVar[str] = "ssm"
    order: ClassVar[int] = 4
    computation: ClassVar[str] = "workloads.memory.ssm:StateSpace"
    carries_state: ClassVar[bool] = True

    kernel: int | None = None
    """hybrid: taps of the depthwise causal convolution over time."""
    expand: int | None = None
    """hybrid: inner width over d."""
    tau: tuple[float, float] | None = None
    """block-wise: shortest and longest time constant at the start, in frames, log-spaced over channels."""
    rho: tuple[float, float] | None = None
    """block-wise: bounds of the residual's weight."""

    def __post_init__(self) -> None:
        convolution = self.kernel is not None or self.expand is not None
        decay = self.tau is not None or self.rho is not None
        if convolution and decay:
            raise RowError(
                "tau", "two recurrences in one row; allowed: kernel and expand (hybrid), or tau and rho (block-wise)"
            )
        if not convolution and not decay:
            raise RowError("family", "an ssm row needs kernel and expand (hybrid), or tau and rho (block-wise)")
        if convolution and (self.kernel is None or self.expand is None):
            raise RowError("kernel", "a hybrid recurrence needs both kernel and expand")
        if decay and (self.tau is None or self.rho is None):
            raise RowError("tau", "a block-wise recurrence needs both tau and rho")
        if self.kernel is not None and self.kernel < 2:
            raise RowError("kernel", f"kernel is {self.kernel}; one tap has no memory, so at least 2")
        if self.expand is not None and self.expand < 1:
            raise RowError("expand", f"expand is {self.expand}; allowed: 1 and more")
        for key, pair in (("tau", self.tau), ("rho", self.rho)):
            if pair is not None and not (len(pair) == 2 and 0 < pair[0] < pair[1]):
                raise RowError(key, f"{key} is {list(pair)}; allowed: two numbers above 0, the smaller first")

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """hybrid: the last inputs of the convolution; block-wise: the average."""
        if self.kernel is not None and self.expand is not None:
            return (self.kernel - 1, s.frame_tokens, self.expand * s.width)
        return (s.frame_tokens, s.width)

    def parameters(self, s: BackboneSizes) -> int:
        """Norm, two linear maps, and taps, bias and gate (hybrid), or time constants and weight (block-wise)."""
        d, count = s.width, len(self.recurrent(s))
        if self.kernel is not None and self.expand is not None:
            inner = self.expand * d
            return count * (2 * d + linear(d, inner) + (self.kernel + 1) * inner + linear(inner, d) + 1)
        return count * (2 * d + linear(d, 2 * d) + d + 1 + linear(d, d))

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """Two linear maps, of which a write's last block needs only the first."""
        d = s.width
        if self.expand is not None:
            return 2 * at.tokens * self.expand * d * d * (1 if at.last else 2)
        return 2 * at.tokens * d * d * (2 if at.last else 3)

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input and its norm, then what the recurrence keeps."""
        d, tokens = s.width, at.tokens
        total = at.stream * d * FLOAT + tokens * d * wide  # the input, which the block's next part replaces; its norm
        if self.kernel is not None and self.expand is not None:
            if at.last:
                return total
            inner = self.expand * d
            padded = tokens + (self.kernel - 1) * s.frame_tokens
            return total + padded * inner * FLOAT + tokens * (inner * wide + d * FLOAT)
        if at.last:
            return total + tokens * d * 2 * FLOAT  # tanh(u), (1 - a) tanh(u)
        passes = ceil(log2(at.frames)) if at.frames > 1 else 0
        # tanh(u), sigmoid(o), each pass of the scan, the state, what the map reads, what its weight multiplies
        return total + tokens * d * (FLOAT * (4 + passes) + wide)

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int:
        """A state is a slice of the recurrence over all tokens."""
        if self.kernel is not None and self.expand is not None:
            return (at.tokens + (self.kernel - 1) * s.frame_tokens) * self.expand * s.width * FLOAT
        return (s.frame_tokens if at.last else at.tokens) * s.width * FLOAT
