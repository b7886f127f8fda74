r"""Address `place`: a store has cells that are fixed in the world, around the whole circle.

A column that looks along $\theta$ belongs to the two cells between whose centres it lies, with linear weights. Cells
outlive the chunk, so bearings are relative to the first frame that was ever written. Turning the whole world, that
frame included, changes nothing. Source: study.md section 5, `place`.
"""

import math

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
