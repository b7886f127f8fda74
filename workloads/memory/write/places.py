"""What writes of places share: rows of cells, how much of a frame goes to a cell, and what is read of cells.

Letters beside those of `interface.py`: `C` token columns, `R` rows of cells, `P` cells around the circle, `g`
registers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workloads.memory.interface import Sizes
from workloads.study.memory.parts import cell_rows

UNWRITTEN = 1e-3
"""Count at and below which a cell has too little in it to be read (study.md section 5)."""


@dataclass(frozen=True)
class CellRows:
    """Rows of tokens that share a row of cells: token row r of `rows` belongs to cell row floor(r · kept / rows)."""

    rows: int
    columns: int
    kept: int

    @staticmethod
    def of(sizes: Sizes, cells: tuple[int, int]) -> "CellRows":
        """For frames of a token grid, `cells[0]` rows at most; a frame of fewer rows has its own."""
        return CellRows(sizes.rows, sizes.columns, cell_rows(cells, sizes.rows))

    def averaged(self, x: Tensor) -> Tensor:
        """Tokens (b, f, n, d) as rows of cells (b, f, kept, C, d): the mean over the token rows of each."""
        x = x.view(*x.shape[:2], self.rows, self.columns, x.shape[-1])
        if self.kept == self.rows:
            return x
        member = self._member(x)
        return torch.einsum("kr,bfrcd->bfkcd", member / member.sum(1, keepdim=True), x)

    def spread(self, x: Tensor) -> Tensor:
        """Rows of cells (b, f, kept, C, d) back as tokens (b, f, n, d)."""
        if self.kept != self.rows:
            x = torch.einsum("kr,bfkcd->bfrcd", self._member(x), x)
        return x.flatten(2, 3)

    def _member(self, x: Tensor) -> Tensor:
        row = torch.arange(self.rows, device=x.device) * self.kept // self.rows
        return (row == torch.arange(self.kept, device=x.device)[:, None]).to(x.dtype)


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
