"""Write `weighted`: older slots count less, of single frames or of pooled ones. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from workloads.study.memory.parts import WriteSpec
from workloads.study.memory.write.pooled import PooledSpec


@dataclass(frozen=True, kw_only=True)
class WeightedSpec(WriteSpec):
    """A slot weighs decay ** age, age in slots, newest 0."""

    name: ClassVar[str] = "weighted"
    computation: ClassVar[str] = "workloads.memory.write.weighted:Weighted"
    controls: ClassVar[tuple[str, ...]] = ("evidence.frames",)

    decay: float
    scale: Literal["logits", "latents"]
    pooled: PooledSpec | None = None
    """What pools the slots first; None: single frames are weighted."""

    @property
    def factor(self) -> str:
        """With pooling it is another one."""
        return self.name if self.pooled is None else f"{self.pooled.name} and {self.name}"

    def context_slots(self, slots: int) -> int:
        """As many as there are to weigh."""
        return slots if self.pooled is None else self.pooled.context_slots(slots)

    def remedies(self) -> tuple[str, ...]:
        """Of the pooling."""
        return () if self.pooled is None else self.pooled.remedies()
