"""Read `text`: stored tokens beside the text, in every block. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes
from workloads.study.memory.parts import ReadSpec


@dataclass(frozen=True, kw_only=True)
class TextSpec(ReadSpec):
    """Keys and values of text attention; no parameter is added."""

    name: ClassVar[str] = "text"
    computation: ClassVar[str] = "workloads.memory.read.text_attention:ReadBesideText"
    stored: ClassVar[bool] = True

    addressed: bool = False
    """Stored tokens are found by the address: queries, keys and values are twice as wide."""

    def beside_text(self, stored: int) -> int:
        """All of them."""
        return stored

    def flops_text(self, s: BackboneSizes, tokens: int, stored: int) -> int:
        """The second half of logits and values."""
        return 4 * tokens * (s.text_tokens + stored) * s.width if self.addressed and stored else 0

    def activations_text(self, s: BackboneSizes, tokens: int, stored: int, wide: int) -> int:
        """The second half of query and of what attention gives, whose first half is copied; of keys and values."""
        if not self.addressed or not stored:
            return 0
        d, turns = s.width, s.width // s.heads * FLOAT  # cosine and sine of a token
        asked = tokens * (3 * d * wide + turns)
        return asked + (s.text_tokens + stored) * 3 * d * wide + stored * turns
