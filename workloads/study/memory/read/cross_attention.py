"""Read `readout`: cross-attention of its own, in the recurrent blocks. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass, linear
from workloads.study.memory.parts import ReadSpec


@dataclass(frozen=True, kw_only=True)
class ReadoutSpec(ReadSpec):
    """Target tokens ask stored tokens, after text attention, times tanh(g)."""

    name: ClassVar[str] = "readout"
    computation: ClassVar[str] = "workloads.memory.read.cross_attention:ReadByCrossAttention"
    controls: ClassVar[tuple[str, ...]] = ("backbone.recurrent_every",)
    recurrent: ClassVar[bool] = True
    stored: ClassVar[bool] = True

    addressed: bool = False
    """Queries and keys are turned by the address, which adds what it has to turn and the sharpness of the logits."""

    def parameters(self, s: BackboneSizes) -> int:
        """Per block: norm, query, key and value, output, gate; addressed also two vectors and a sharpness a head."""
        d = s.width
        one = 2 * d + linear(d, d) + linear(d, 2 * d) + linear(d, d) + 1
        return len(s.recurrent_blocks) * (one + (2 * d + s.heads if self.addressed else 0))

    def flops_block(self, s: BackboneSizes, at: BlockPass, stored: int) -> int:
        """Query and output of the target, key and value of the stored tokens, attention."""
        d, m = s.width, stored
        return 4 * at.tokens * d * d + 4 * m * d * d + 4 * at.tokens * m * d if m else 0

    def activations_block(self, s: BackboneSizes, at: BlockPass, stored: int, wide: int) -> int:
        """Input and its norm; query, what attention gives, what the gate multiplies; of stored tokens key and value.

        Addressed also: both before and the query after they are normalised, norms, turns, a copy of what was read.
        """
        d, m, turns = s.width, stored, s.width // s.heads * FLOAT
        total = at.stream * d * FLOAT + at.tokens * d * wide + at.tokens * d * (2 * wide + FLOAT)
        total += m * d * (2 * wide + (wide if wide != FLOAT else 0))  # under autocast the tokens again
        if not self.addressed or not m:
            return total
        norms = 2 * s.heads * FLOAT
        asked = at.tokens * (d * (2 * FLOAT + wide) + norms + turns)
        return total + asked + m * (d * (FLOAT + wide) + norms + turns)
