"""Address `place`: a state for each cell of the whole circle. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import CELLS, AddressSpec


@dataclass(frozen=True, kw_only=True)
class PlaceSpec(AddressSpec):
    """Cells that are fixed in the world; what looks there writes and reads."""

    cells: tuple[int, int] = CELLS
    """Rows at most (a frame of fewer rows has its own), and cells of a row."""

    name: ClassVar[str] = "place"
    computation: ClassVar[str] = "workloads.memory.address.place:WorldCells"
    finds: ClassVar[tuple[str, ...]] = ("diagonal", "convolution")
