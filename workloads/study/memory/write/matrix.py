"""Write `matrix`: keys and values added up in a matrix a head. Source: study.md section 5, "matrix states"."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass, linear
from workloads.study.memory.parts import WriteSpec


@dataclass(frozen=True, kw_only=True)
class MatrixSpec(WriteSpec):
    """A matrix of no place in particular."""

    name: ClassVar[str] = "matrix"
    computation: ClassVar[str] = "workloads.memory.write.matrix:MatrixState"
    controls: ClassVar[tuple[str, ...]] = ("evidence.frames", "backbone.recurrent_every")
    carries_state: ClassVar[bool] = True

    tau: tuple[float, float]

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """One a head."""
        return (s.heads, s.width // s.heads, s.width // s.heads)

    def parameters(self, s: BackboneSizes) -> int:
        """Per block: norm, map to query, key, value, gate and weights, two vectors, time constants, map out."""
        d = s.width
        return len(s.recurrent_blocks) * (2 * d + linear(d, 4 * d + s.heads) + 2 * d + s.heads + linear(d, d))

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """The maps, and what is written and read a frame; a write's last block reads nothing."""
        d, e = s.width, s.width // s.heads
        into = 2 * at.tokens * d * (4 * d + s.heads) + 2 * at.tokens * d * e
        return into if at.last else into + 2 * at.tokens * d * e + 2 * at.tokens * d * d

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input, which the block's next part replaces, and its norm; then what the recurrence keeps."""
        d, tokens, e = s.width, at.tokens, s.width // s.heads
        total = at.stream * d * FLOAT + tokens * d * wide
        return total + tokens * 12 * d * FLOAT + at.frames * d * e * FLOAT
