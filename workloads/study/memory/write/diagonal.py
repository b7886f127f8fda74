"""Write `diagonal`: one exponentially forgetting average per channel. Source: study.md section 5."""

from dataclasses import dataclass
from math import ceil, log2
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass, linear
from workloads.study.memory.parts import WriteSpec


@dataclass(frozen=True, kw_only=True)
class DiagonalSpec(WriteSpec):
    """An average at every image location."""

    name: ClassVar[str] = "diagonal"
    computation: ClassVar[str] = "workloads.memory.write.diagonal:DecayingState"
    controls: ClassVar[tuple[str, ...]] = ("evidence.frames", "backbone.recurrent_every")
    carries_state: ClassVar[bool] = True

    tau: tuple[float, float]
    rho: tuple[float, float]

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """The average."""
        return (s.frame_tokens, s.width)

    def parameters(self, s: BackboneSizes) -> int:
        """Per block: norm, two linear maps, time constants and weight."""
        d = s.width
        return len(s.recurrent_blocks) * (2 * d + linear(d, 2 * d) + d + 1 + linear(d, d))

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """Two linear maps, of which a write's last block needs only the first."""
        return 2 * at.tokens * s.width * s.width * (2 if at.last else 3)

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input, which the block's next part replaces, and its norm; then what the recurrence keeps."""
        d, tokens = s.width, at.tokens
        total = at.stream * d * FLOAT + tokens * d * wide
        if at.last:
            return total + tokens * d * 2 * FLOAT  # tanh(u), (1 - a) tanh(u)
        passes = ceil(log2(at.frames)) if at.frames > 1 else 0
        # tanh(u), sigmoid(o), each pass of the scan, the state, what the map reads, what its weight multiplies
        return total + tokens * d * (FLOAT * (4 + passes) + wide)

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int | None:
        """A state is a slice of the recurrence over all tokens."""
        return (s.frame_tokens if at.last else at.tokens) * s.width * FLOAT
