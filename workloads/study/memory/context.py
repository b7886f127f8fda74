"""Raw context: K frames of evidence as tokens. Source: study.md section 5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow


@dataclass(frozen=True, kw_only=True)
class Context(MemoryRow):
    """Raw context: the anchor and `frames - 1` retrieved frames, as tokens in self-attention."""

    family: ClassVar[str] = "context"
    order: ClassVar[int] = 1
    computation: ClassVar[str] = "workloads.memory.context:RawContext"

    frames: int
    """K, the anchor included; stands in place of `controls.evidence.frames`."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise RowError("frames", f"frames is {self.frames}; the anchor is one frame, so at least 1")

    def evidence_frames(self, evidence: Mapping[str, Any]) -> int:
        """Its own K."""
        return self.frames

    def context_slots(self, slots: int) -> int:
        """Every frame becomes tokens."""
        return slots
