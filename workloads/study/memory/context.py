"""Raw context: K frames of evidence as tokens. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow


@dataclass(frozen=True, kw_only=True)
class Context(MemoryRow):
    """Raw context: the anchor and `frames - 1` retrieved frames, as tokens in self-attention."""

    family: ClassVar[str] = "context"
    computation: ClassVar[str] = "workloads.memory.context:RawContext"

    frames: int
    """K, the anchor included; stands in place of `controls.evidence.frames`."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise RowError("frames", f"frames is {self.frames}; the anchor is one frame, so at least 1")
