"""Ceiling and floor: known frames instead of generated ones. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.context import Context


@dataclass(frozen=True, kw_only=True)
class Bound(MemoryRow):
    """No mechanism: known frames, scored by the same code as what the rows generate, as ceiling and floor."""

    family: ClassVar[str] = "bound"
    order: ClassVar[int] = 99
    reference: ClassVar[bool] = True

    shows: Literal["truth", "anchor"]
    """truth: the true frames of every case, none where nobody knows them; anchor: the first frame, standing still."""

    def __post_init__(self) -> None:
        if self.shows not in ("truth", "anchor"):
            raise RowError("shows", f"shows is {self.shows!r}; allowed: truth, anchor")

    @property
    def known_frames(self) -> Literal["", "truth", "anchor"]:
        """What it shows."""
        return self.shows

    def trained(self) -> MemoryRow:
        """Nothing of its own: evaluation needs a training only to know what it was trained on."""
        return Context(frames=1)
