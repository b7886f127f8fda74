"""Write `pooled`: neighbours in time averaged into one slot. Source: study.md section 5; reference.md a.3."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import WriteSpec


@dataclass(frozen=True, kw_only=True)
class PooledSpec(WriteSpec):
    """The anchor, and one slot for every `ratio` retrieved frames."""

    name: ClassVar[str] = "pooled"
    computation: ClassVar[str] = "workloads.memory.write.pooled:Pooled"
    controls: ClassVar[tuple[str, ...]] = ("evidence.frames",)

    ratio: int

    def context_slots(self, slots: int) -> int:
        """The oldest group may be short."""
        return 1 + -(-(slots - 1) // self.ratio)

    def remedies(self) -> tuple[str, ...]:
        """Fewer tokens."""
        return ("a larger ratio",)
