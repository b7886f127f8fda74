"""Read `recurrence`: a residual of target tokens in the recurrent blocks. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import ReadSpec
from workloads.study.memory.write.tokens import TokensSpec


@dataclass(frozen=True, kw_only=True)
class RecurrenceSpec(ReadSpec):
    """What it costs is counted with the state that it reads."""

    name: ClassVar[str] = "recurrence"
    computation: ClassVar[str] = "workloads.memory.read.recurrence:ReadByRecurrence"
    recurrent: ClassVar[bool] = True

    context: TokensSpec | None = None
    """Frames that are context tokens too; None: only the anchor is one."""

    def context_slots(self, slots: int) -> int:
        """Of these frames."""
        return 1 if self.context is None else self.context.context_slots(slots)
