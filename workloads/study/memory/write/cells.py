"""Write `cells`: evidence tokens averaged where they look, in cells of the whole circle. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes
from workloads.study.memory.parts import WriteSpec, cell_rows
from workloads.study.memory.write.places import flops_moved


@dataclass(frozen=True, kw_only=True)
class CellsSpec(WriteSpec):
    """Rows of cells around the whole circle; a cell that nothing looked at is empty."""

    name: ClassVar[str] = "cells"
    computation: ClassVar[str] = "workloads.memory.write.cells:Cells"
    controls: ClassVar[tuple[str, ...]] = ("evidence.frames",)

    cells: tuple[int, int]
    """Rows at most (a frame of fewer rows has its own), and cells of a row."""

    masked: bool = False
    """Nothing is kept: what a trained reader does without it."""

    def stored(self, s: BackboneSizes) -> int:
        """All cells, empty ones too."""
        return 0 if self.masked else cell_rows(self.cells, s.rows) * self.cells[1]

    def flops_store(self, s: BackboneSizes, slots: int) -> int:
        """Every evidence frame is embedded, its tokens are brought together in rows, and these added to their cells."""
        d, n, v = s.width, s.frame_tokens, s.patch_values
        rows, around = cell_rows(self.cells, s.rows), self.cells[1]
        added = 2 * slots * (n * v * d + rows * s.columns * around * d)
        return 0 if self.masked else added + flops_moved(s, rows, slots, d)

    def activations_store(self, s: BackboneSizes, slots: int, wide: int) -> int:
        """The embedded frames, the weights of their columns, and the averages."""
        n, d, v = s.frame_tokens, s.width, s.patch_values
        weights = slots * s.columns * self.cells[1] * wide
        return 0 if self.masked else slots * n * (d * FLOAT + v * wide) + weights + self.stored(s) * d * FLOAT
