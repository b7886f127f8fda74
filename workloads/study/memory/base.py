"""What every memory mechanism declares, without torch: its parameters and what they cost. One family a file.

Source: study.md section 5. Standard library only.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from workloads.contract.rows import Row

REGISTERED: dict[str, type["MemoryRow"]] = {}
"""Family -> class, of every declaration that has been imported: ours, and those of a study of yours."""


@dataclass(frozen=True, kw_only=True)
class MemoryRow(Row):
    """A memory mechanism with its parameters: a row of the matrix."""

    computation: ClassVar[str] = ""
    """`package.module:Class` of what computes it, imported in the job; empty: nothing is computed."""
    carries_state: ClassVar[bool] = False
    """Whether it writes a state that crosses chunks."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        known = REGISTERED.setdefault(cls.family, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"family {cls.family!r} is declared twice, by {known.__module__} and {cls.__module__}")
        REGISTERED[cls.family] = cls

    def evaluated(self) -> "MemoryRow":
        """What generation computes. Another name of a computation returns the row that it is."""
        return self

    def trained(self) -> "MemoryRow":
        """What training computes."""
        return self.evaluated()
