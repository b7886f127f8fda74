"""Write `delta`: keys and values in a matrix a head, corrected by the delta rule. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass
from workloads.study.memory.write.matrix import MatrixSpec


@dataclass(frozen=True, kw_only=True)
class DeltaSpec(MatrixSpec):
    """As a matrix in size."""

    name: ClassVar[str] = "delta"
    computation: ClassVar[str] = "workloads.memory.write.delta:DeltaState"

    def _flops_written(self, s: BackboneSizes, at: BlockPass) -> int:
        """What the state gives for a key, and the regression's two products; its solution is not counted."""
        d, e = s.width, s.width // s.heads
        return 2 * at.tokens * d * (2 * e + min(s.frame_tokens, e)) if at.write else 0

    def _written(self, s: BackboneSizes, at: BlockPass) -> int:
        """Keys, weights, what the state gives wrong; of the regression its factors and solution."""
        if not at.write:
            return 0
        d, e = s.width, s.width // s.heads
        solved = s.heads * min(s.frame_tokens, e) ** 2
        return at.tokens * (7 * d + e + 6 * s.heads) * FLOAT + at.frames * (2 * solved + 2 * d * e) * FLOAT

    def _held(self, s: BackboneSizes, at: BlockPass) -> int:
        """The state after each frame of a write; target frames read one state."""
        return super()._held(s, at) if at.write else 0
