"""Write `matrix`: keys and values added up in a matrix a head. Source: study.md section 5, "matrix states"."""

from dataclasses import dataclass
from math import ceil, log2, prod
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
        into = 2 * at.tokens * d * (4 * d + s.heads) + self._flops_written(s, at)
        return into if at.last else into + 2 * at.tokens * d * e + 2 * at.tokens * d * d

    def _flops_written(self, s: BackboneSizes, at: BlockPass) -> int:
        """Target frames are written too, to a copy."""
        return 2 * at.tokens * s.width * (s.width // s.heads)

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input, which the block's next part replaces, and its norm; then what is written, and what is read.

        Of a query or key: it before and after it is normalised, its norm, the turn. Then what is read, the same
        normalised, the gate, and what the map out reads.
        """
        d, tokens, e = s.width, at.tokens, s.width // s.heads
        total = at.stream * d * FLOAT + tokens * d * wide + self._written(s, at)
        return total if at.last else total + tokens * ((5 * d + e + 3 * s.heads) * FLOAT + d * wide) + self._held(s, at)

    def _written(self, s: BackboneSizes, at: BlockPass) -> int:
        """Keys, weighted keys and values, weights; each pass of the scan."""
        d, e = s.width, s.width // s.heads
        passes = ceil(log2(at.frames)) if at.frames > 1 else 0
        return at.tokens * (4 * d + e + 4 * s.heads) * FLOAT + at.frames * passes * d * e * FLOAT

    def _held(self, s: BackboneSizes, at: BlockPass) -> int:
        """The state after each frame, which is read."""
        return at.frames * prod(self.state_shape(s)) * FLOAT
