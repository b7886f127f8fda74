r"""Write `cells`: evidence tokens averaged where they look, in cells of the whole circle.

A cell holds the mean of the evidence tokens of its row, each with its linear weight for the cell: no counts and no
learned mix, so that a cell stays a place. What no valid frame looked at is empty and is not read. No state crosses
chunks; bearings are relative to the segment. Source: study.md section 5, rows `spatial-bearing`, `spatial-place`.
"""

import math

import torch
from torch import Tensor

from workloads.memory.address.place import cell_weights
from workloads.memory.interface import Address, Sizes, Slots, Stored, TokenWrite
from workloads.memory.write.places import CellRows
from workloads.runtime.errors import BadInput
from workloads.study.memory.write.cells import CellsSpec

EMPTY = 1e-6
"""Weight at and below which a cell was not looked at."""


class Cells(TokenWrite):
    """Rows of cells around the circle, each the mean of the tokens that look there."""

    def __init__(self, spec: CellsSpec, sizes: Sizes) -> None:
        super().__init__()
        self.written, self.count = not spec.masked, spec.cells[1]
        self.rows = CellRows.of(sizes, spec.cells)

    def summary(self, slots: Slots) -> Tensor | None:
        """All evidence."""
        return slots.trimmed().latents if self.written else None

    def stored(self, tokens: Tensor, slots: Slots, address: Address) -> Stored:
        """Cells (b, kept rows * P, d) of the embedded evidence (b, k, n, d)."""
        slots = slots.trimmed()
        looks = address.looks(slots.actions)
        if not isinstance(looks, Tensor) or looks.shape != (*slots.valid.shape, self.rows.columns):
            raise BadInput(
                f"memory row: write cells needs bearings from its address, (b, f, {self.rows.columns}) in radians, "
                f"which {type(address).__name__}.looks does not give; remove cells from what it `finds`"
            )
        weight = cell_weights(looks, self.count) * slots.valid[:, :, None, None]  # (b, k, C, P)
        total = weight.sum((1, 2))  # (b, P)
        cells = torch.einsum("bkcp,bkrcd->brpd", weight, self.rows.averaged(tokens))
        cells = cells / total.clamp(min=EMPTY)[:, None, :, None]
        centres = (torch.arange(self.count, device=tokens.device) + 0.5) * (2 * math.pi / self.count)
        written = (total > EMPTY)[:, None].expand(-1, self.rows.kept, -1)
        return Stored(cells.flatten(1, 2), centres.expand(len(tokens), 1, -1), written.flatten(1))
