r"""Address `place`: a store has cells that are fixed in the world, around the whole circle.

A column that looks along $\theta$ belongs to the two cells between whose centres it lies, with linear weights. Cells
outlive the chunk, so bearings are relative to the first frame that was ever written. Turning the whole world, that
frame included, changes nothing. Source: study.md section 5, `place`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workloads.memory.address.bearing import bearings, column_offsets
from workloads.memory.interface import Address, Sizes
from workloads.study.memory.address.place import PlaceSpec


class WorldCells(Address):
    """`looks`: weights (b, f, C, P) of the cells of a row for a frame's columns."""

    outlives = True

    def __init__(self, spec: PlaceSpec, sizes: Sizes) -> None:
        super().__init__(spec, sizes)
        self.yaw, self.cells = spec.yaw, spec.cells
        self.offsets: Tensor
        self.register_buffer("offsets", column_offsets(sizes.columns), persistent=False)

    def looks(self, poses: Tensor) -> Tensor:
        """Weights in float32; each column's sum to 1."""
        return cell_weights(bearings(poses, self.offsets, yaw=self.yaw), self.cells[1])


def cell_weights(looks: Tensor, cells: int) -> Tensor:
    """Linear weights (..., P) of the two cells around each bearing (...); cell i has its centre at (i + 1/2) widths."""
    place = looks / (2 * math.pi / cells) - 0.5
    low = place.floor()
    share = (place - low)[..., None]
    index = torch.arange(cells, device=looks.device)
    first = index == low.remainder(cells)[..., None]
    second = index == (low + 1).remainder(cells)[..., None]
    return first * (1 - share) + second * share


@dataclass(frozen=True)
class CellRows:
    """Rows of tokens that share a row of cells: token row r of `rows` belongs to cell row floor(r · kept / rows)."""

    rows: int
    columns: int
    kept: int

    def summed(self, x: Tensor) -> Tensor:
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
