"""Raw context: K frames of evidence as tokens. Source: study.md section 5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from workloads.contract.rows import RowError
from workloads.study.memory.composed import NOTHING_STORED, ComposedRow, Parts
from workloads.study.memory.read.self_attention import SelfAttentionSpec
from workloads.study.memory.write.tokens import TokensSpec


@dataclass(frozen=True, kw_only=True)
class Context(ComposedRow):
    """Raw context: the anchor and `frames - 1` retrieved frames, as tokens in self-attention."""

    family: ClassVar[str] = "context"
    order: ClassVar[int] = 1

    frames: int
    """K, the anchor included; stands in place of `controls.evidence.frames`."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise RowError("frames", f"frames is {self.frames}; the anchor is one frame, so at least 1")
        super().__post_init__()

    @property
    def parts(self) -> Parts:
        """Tokens in self-attention."""
        return Parts(TokensSpec(frames=self.frames), self._address(), SelfAttentionSpec())

    @property
    def factors(self) -> Mapping[str, str]:
        """The anchor alone is no store, unless it is found by an address."""
        return NOTHING_STORED if self.frames == 1 and self.address == "none" else super().factors

    def evidence_frames(self, evidence: Mapping[str, Any]) -> int:
        """Its own K."""
        return self.frames
