"""A spatial store of tokens, and the way it is read. Source: study.md section 5."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from workloads.contract.fields import LATER
from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.composed import NOTHING_STORED, ComposedRow, Parts, check_cells
from workloads.study.memory.context import Context
from workloads.study.memory.parts import CELLS, ReadSpec, WriteSpec
from workloads.study.memory.read.cross_attention import ReadoutSpec
from workloads.study.memory.read.text_attention import TextSpec
from workloads.study.memory.write.cells import CellsSpec
from workloads.study.memory.write.grid import GridSpec


@dataclass(frozen=True, kw_only=True)
class Spatial(ComposedRow):
    """Tokens written from all evidence, and the way they are read."""

    family: ClassVar[str] = "spatial"
    order: ClassVar[int] = 3
    needs_deviation: ClassVar[tuple[str, ...]] = ("masked",)

    write: Literal["grid", "cells", "none"]
    """grid: all evidence is pooled to a grid of the image and mixed to tokens; cells: averaged where it looks,
    in cells around the whole circle; none: nothing is stored."""
    read: Literal["text", "readout", "none"]
    """text: appended to the text keys and values; readout: own cross-attention; none: withheld."""
    masked: bool = False
    """Trained as if False; its tokens are masked at generation. Needs a line under `deviations`."""
    cells: Annotated[tuple[int, int], LATER] = CELLS
    """Of write: cells: rows at most, and cells around the circle."""

    def __post_init__(self) -> None:
        if self.write not in ("grid", "cells", "none"):
            raise RowError("write", f"write is {self.write!r}; allowed: grid, cells, none")
        if self.read not in ("text", "readout", "none"):
            raise RowError("read", f"read is {self.read!r}; allowed: text, readout, none")
        if self.write == "none" and self.read != "none":
            raise RowError(
                "read",
                f"read: {self.read} reads nothing, for write is none; allowed: write: grid or cells, or read: none",
            )
        if self.masked and self.read == "none":
            raise RowError("masked", "masked: true masks nothing, for read is none")
        if self.cells != CELLS and self.write != "cells":
            raise RowError(
                "cells", f"cells is {list(self.cells)}, but write is {self.write}; allowed: with write: cells"
            )
        check_cells(self.cells)
        if self.read == "none":
            self._check_address()
            if self.address != "none":
                raise RowError("address", f"address: {self.address} finds nothing, for read is none")
            return
        super().__post_init__()

    @property
    def parts(self) -> Parts:
        """The store and its read; those of the anchor-only row where nothing is read."""
        if self.read == "none":
            return Context(frames=1).parts
        write: WriteSpec = GridSpec(masked=self.masked)
        if self.write == "cells":
            write = CellsSpec(cells=self.cells, masked=self.masked)
        addressed = self.address != "none"
        read: ReadSpec = TextSpec(addressed=addressed) if self.read == "text" else ReadoutSpec(addressed=addressed)
        return Parts(write, self._address(), read)

    @property
    def factors(self) -> Mapping[str, str]:
        """A store that is not read is none; of a trained reader whose store is masked there are none to compare."""
        if self.masked:
            return {}
        return NOTHING_STORED if self.read == "none" else super().factors

    def evaluated(self) -> MemoryRow:
        """A row that reads nothing is the anchor-only row."""
        return Context(frames=1, init_stream=self.init_stream) if self.read == "none" else self

    def trained(self) -> MemoryRow:
        """Masking happens at generation only."""
        row = self.evaluated()
        return replace(row, masked=False) if isinstance(row, Spatial) and row.masked else row
