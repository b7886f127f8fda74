"""Write `convolution` with address `place`: registers in cells of the world. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass
from workloads.study.memory.parts import cell_rows
from workloads.study.memory.write.convolution import ConvolutionSpec
from workloads.study.memory.write.places import flops_moved


@dataclass(frozen=True, kw_only=True)
class ConvolutionPlaceSpec(ConvolutionSpec):
    """Registers at every place of the world, with their occupancy; the parameters are those of image locations."""

    computation: ClassVar[str] = "workloads.memory.write.convolution_place:ConvolvedPlaces"

    cells: tuple[int, int]
    """Rows at most (a frame of fewer rows has its own), and cells of a row."""

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """The registers and their occupancy."""
        return (self.kernel - 1, cell_rows(self.cells, s.rows), self.cells[1], self.expand * s.width + 1)

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """Evidence: the first linear map, and each register of its cells; target frames: both maps, and theirs."""
        past, rows, around, _ = self.state_shape(s)
        inner = self.expand * s.width
        moved = 2 * at.frames * s.columns * around * rows * inner * (past if at.write else 1)
        maps = 2 * at.tokens * inner * s.width * (1 if at.write else 2)
        return maps + moved + flops_moved(s, rows, at.frames, inner)

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input, where the block's next part does not keep it, and its norm; then what is kept of cells or tokens."""
        d, inner, tokens, (past, rows, around, _) = s.width, self.expand * s.width, at.tokens, self.state_shape(s)
        if at.write:
            weights = at.frames * s.columns * around * past * FLOAT
            return tokens * d * (wide + (FLOAT if at.last else 0)) + weights
        total = at.stream * d * FLOAT + tokens * d * (wide + FLOAT)
        return total + tokens * inner * (FLOAT + wide) + past * rows * around * inner * FLOAT

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int | None:
        """A state has a storage of its own."""
        return None
