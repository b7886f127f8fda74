"""Write `diagonal` with address `place`: a decaying average in cells of the world. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass
from workloads.study.memory.parts import cell_rows
from workloads.study.memory.write.diagonal import DiagonalSpec
from workloads.study.memory.write.places import flops_moved


@dataclass(frozen=True, kw_only=True)
class DiagonalPlaceSpec(DiagonalSpec):
    """An average at every place of the world, with its count; the parameters are those of image locations."""

    computation: ClassVar[str] = "workloads.memory.write.diagonal_place:DecayingPlaces"

    cells: tuple[int, int]
    """Rows at most (a frame of fewer rows has its own), and cells of a row."""

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """The averages and their count."""
        return (cell_rows(self.cells, s.rows), self.cells[1], s.width + 1)

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """Evidence: one linear map, and its cells; target frames: two maps, and theirs."""
        rows, around, _ = self.state_shape(s)
        moved = 2 * at.frames * s.columns * around * rows * s.width + flops_moved(s, rows, at.frames, s.width)
        return 2 * at.tokens * s.width * s.width * (1 if at.write else 2) + moved

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input, where the block's next part does not keep it, and its norm; then what is kept of cells or tokens."""
        d, tokens, (rows, around, _) = s.width, at.tokens, self.state_shape(s)
        if not at.write:
            # input and norm; sigmoid(o), what is found, what the map reads, what the weight multiplies; the state and
            # what each cell is divided by
            cells = around * (rows * (d + 1) + 3 * d) * FLOAT
            return at.stream * d * FLOAT + tokens * d * (2 * wide + 3 * FLOAT) + cells
        # tanh(u); of a frame and cell: two powers, their product and what was seen; the shares
        cells = at.frames * around * (d * (3 + rows) + s.columns) * FLOAT
        return tokens * d * (wide + FLOAT + (FLOAT if at.last else 0)) + cells

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int | None:
        """A state has a storage of its own."""
        return None
