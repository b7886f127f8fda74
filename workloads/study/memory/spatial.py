"""A spatial grid of tokens, and the way it is read. Source: study.md section 5."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.context import Context


@dataclass(frozen=True, kw_only=True)
class Spatial(MemoryRow):
    """A grid of tokens written from all evidence, and the way it is read."""

    family: ClassVar[str] = "spatial"
    declared: ClassVar[tuple[str, ...]] = ("masked",)
    computation: ClassVar[str] = "workloads.memory.spatial:SpatialStore"

    write: Literal["grid", "none"]
    read: Literal["text", "readout", "none"]
    """text: appended to the text keys and values; readout: own cross-attention; none: withheld."""
    masked: bool = False
    """Trained as if False; its tokens are masked at generation. Needs a line under `deviations`."""

    def __post_init__(self) -> None:
        if self.write not in ("grid", "none"):
            raise RowError("write", f"write is {self.write!r}; allowed: grid, none")
        if self.read not in ("text", "readout", "none"):
            raise RowError("read", f"read is {self.read!r}; allowed: text, readout, none")
        if self.write == "none" and self.read != "none":
            raise RowError(
                "read", f"read: {self.read} reads nothing, for write is none; allowed: write: grid, or read: none"
            )
        if self.masked and self.read == "none":
            raise RowError("masked", "masked: true masks nothing, for read is none")

    @property
    def reads(self) -> tuple[str, ...]:
        """Controls that this row's computation is sized by."""
        grid = ("evidence.frames", "backbone.grid", "backbone.grid_tokens")
        return (*grid, "backbone.recurrent_every") if self.read == "readout" else grid

    def evaluated(self) -> MemoryRow:
        """A row that reads nothing is the anchor-only row."""
        return Context(frames=1) if self.read == "none" else self

    def trained(self) -> MemoryRow:
        """Masking happens at generation only."""
        row = self.evaluated()
        return replace(row, masked=False) if isinstance(row, Spatial) and row.masked else row
