"""What writes of places share: how much of a frame goes to a cell of the world, and what is read of cells.

Letters beside those of `interface.py`: `C` token columns, `R` rows of cells, `P` cells around the circle, `g`
registers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workloads.memory.address.place import CellRows
from workloads.memory.interface import Sizes

UNWRITTEN = 1e-3
"""Count at and below which a cell has too little in it to be read (study.md section 5)."""


def rows_of(sizes: Sizes, cells: tuple[int, int]) -> CellRows:
    """Rows of cells for frames of a token grid; a frame of fewer rows has its own."""
    return CellRows(sizes.rows, sizes.columns, min(cells[0], sizes.rows))


@dataclass(frozen=True)
class Visits:
    """How frames reach cells."""

    mass: Tensor
    """(b, f, P) in 0..1: what of a frame is written to a cell, 1 where its columns cover the cell."""
    share: Tensor
    """(b, f, C, P): of each column in what is written; they sum to 1 over the columns, or are 0 where nothing is."""

    @staticmethod
    def of(looks: Tensor, valid: Tensor | None) -> "Visits":
        """Of weights (b, f, C, P) of an address; frames that are not `valid` (b, f) write nothing."""
        weight = looks if valid is None else looks * valid[:, :, None, None]
        total = weight.sum(2)  # (b, f, P)
        share = weight / torch.where(total > 0, total, 1.0)[:, :, None]
        return Visits(total.clamp(max=1.0), share)


def counted(values: Tensor, count: Tensor) -> Tensor:
    """A state: values (b, ..., R, P, d) with their count (b, ..., P) as one more channel, alike in all rows."""
    return torch.cat([values, count[..., None, :, None].expand(*values.shape[:-1], 1)], -1)


def parted(state: Tensor) -> tuple[Tensor, Tensor]:
    """Values (b, ..., R, P, d) and count (b, ..., P) of a state of `counted`; a count is of poses: nothing to learn."""
    return state[..., :-1], state[..., 0, :, -1].detach()
