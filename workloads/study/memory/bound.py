"""Ceiling, floors and reference lines: known frames instead of generated ones. Source: study.md section 7."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.context import Context

Shows = Literal[
    "truth",
    "anchor",
    "fades",
    "jumps",
    "half",
    "waits",
    "mean-colour",
    "other-world",
    "late",
    "pan",
    "backwards",
    "stops",
]


@dataclass(frozen=True, kw_only=True)
class Bound(MemoryRow):
    """No mechanism: known frames, scored by the same code as what the rows generate."""

    family: ClassVar[str] = "bound"
    order: ClassVar[int] = 99
    reference: ClassVar[bool] = True

    shows: Shows
    """Which frames, by the names of `workloads.evaluation.adversaries`.

    The ceiling is `truth`. Floors: `anchor` stands still; `fades` and `jumps` end on the first frame; `half` turns half
    as far, `waits` goes half way, `late` is a chunk late; `mean-colour`; `other-world`. Reference lines, which move as
    commanded: `pan` turns the first frame, `backwards` repeats the first chunk there and back, `stops` stops where the
    first chunk ends.
    """

    def __post_init__(self) -> None:
        if self.shows not in get_args(Shows):
            raise RowError("shows", f"shows is {self.shows!r}; allowed: {', '.join(get_args(Shows))}")

    @property
    def known_frames(self) -> Shows:
        """What it shows."""
        return self.shows

    def trained(self) -> MemoryRow:
        """Nothing of its own; a cell holds the controls of this row, so that those of all bounds are equal."""
        return Context(frames=1)
