r"""Write `convolution` with address `place`: the last inputs of a short convolution, at every place of the world.

A cell has `kernel - 1` registers, the newest first. A frame that writes to it with mass $m$ shifts them by $m$ places:

$$ r_1 \leftarrow (1 - m)\,r_1 + m\,\bar v, \qquad r_j \leftarrow (1 - m)\,r_j + m\,r_{j-1} \text{ (of before)}, $$

with $\bar v$ the mean of the widened tokens by their weights for the cell. Occupancies shift alike, from 0 to 1, and
registers are read divided by them. The tap of the newest input meets the target token itself, the others what its
registers hold. Target frames write nothing, and evidence frames read nothing. State: registers with their occupancy,
`(b, kernel - 1, R, P, e + 1)` per recurrent block. Parameters are those of the same write without an address.
Source: study.md section 5, row `ssm-hybrid-place`.
"""

import torch
from torch import Tensor

from workloads.memory.interface import Sizes, StatePass, float32
from workloads.memory.write.convolution import ShortConvolution
from workloads.memory.write.places import UNWRITTEN, CellRows, Visits, counted, parted
from workloads.study.memory.write.convolution_place import ConvolutionPlaceSpec


class ConvolvedPlaces(ShortConvolution):
    """Registers in cells that are fixed in the world."""

    def __init__(self, spec: ConvolutionPlaceSpec, sizes: Sizes) -> None:
        super().__init__(spec, sizes)
        self.rows, self.around = CellRows.of(sizes, spec.cells), spec.cells[1]

    def state_shape(self, batch: int, tokens: int) -> tuple[int, ...]:
        """(b, kernel - 1, R, P, e + 1), the newest first, the occupancy last."""
        return (batch, self.kernel - 1, self.rows.kept, self.around, self.inner + 1)

    def run(self, x: Tensor, state: Tensor | None, at: StatePass) -> tuple[Tensor, Tensor]:
        """Evidence as it is and the registers after it, or target frames with the residual and the state as it is."""
        inputs = float32(self.widen(self.norm(float32(x))))  # (b, f, n, e)
        if at.writes:
            return x, self._written(inputs, state, Visits.of(at.looks, at.valid))
        state = self.empty(x) if state is None else state
        mixed = torch.addcmul(self.bias, self.taps[-1], inputs) + self._read(state, at.looks)
        residual = self.gate.tanh() * float32(self.narrow(mixed))
        return self.added(x, residual, at), state

    def _written(self, inputs: Tensor, state: Tensor | None, visits: Visits) -> Tensor:
        """The registers after frames (b, f, n, e)."""
        with torch.autocast(inputs.device.type, enabled=False):
            past = self.kernel - 1
            kept, whole = shifts(visits.mass, past)
            weight = visits.mass[..., None] * kept  # (b, f, P, g): of a frame in each register
            columns = (visits.share[..., None] * weight[:, :, None]).flatten(3).flatten(1, 2)  # (b, f C, P g)
            tokens = self.rows.averaged(inputs).transpose(2, 3).flatten(3).flatten(1, 2)  # (b, f C, R e)
            written = (columns.mT @ tokens).view(len(inputs), self.around, past, self.rows.kept, self.inner)
            written = written.permute(0, 2, 3, 1, 4)
            occupied = weight.sum(1).transpose(1, 2)  # (b, g, P)
            if state is not None:
                before, already = parted(state)
                moved = moving(whole)
                written = written + torch.einsum("bpgh,bhrpe->bgrpe", moved, before)
                occupied = occupied + torch.einsum("bpgh,bhp->bgp", moved, already)
            return counted(written, occupied)

    def _read(self, state: Tensor, looks: Tensor) -> Tensor:
        """What the taps of earlier inputs give for frames that look along `looks` (b, f, C, P), (b, f, n, e)."""
        with torch.autocast(looks.device.type, enabled=False):
            values, count = parted(state)
            there = count > UNWRITTEN
            mean = values * (there / torch.where(there, count, 1.0))[:, :, None, :, None]
            mixed = (self.taps[:-1].flip(0)[:, None, None] * mean).sum(1)
            return self.rows.spread(torch.einsum("bfcp,brpe->bfrce", looks, mixed))


def shifts(mass: Tensor, registers: int) -> tuple[Tensor, Tensor]:
    """By how much registers are shifted after each frame of masses (b, f, P), and by all frames.

    A shift by m keeps 1 - m of a register in its place and moves m of it one further, so several shifts move it by the
    coefficients of the product of (1 - m) + m z. Returned are the coefficients of z^0, z^1, ... of the product over
    the frames after each, (b, f, P, registers), and over all, (b, P, registers). The product over the frames from each
    on is formed by doubling, as in `decaying_sum`.
    """
    one = torch.zeros(*mass.shape, registers, dtype=mass.dtype, device=mass.device)
    one[..., 0] = 1
    kept = one.clone()
    kept[..., 0] -= mass
    if registers > 1:
        kept[..., 1] = mass
    stride = 1
    while stride < mass.shape[1]:
        kept = torch.cat([multiplied(kept[:, :-stride], kept[:, stride:]), kept[:, -stride:]], 1)
        stride *= 2
    return torch.cat([kept[:, 1:], one[:, :1]], 1), kept[:, 0]


def multiplied(a: Tensor, b: Tensor) -> Tensor:
    """Products of polynomials (..., g), without the powers from g on."""
    g = a.shape[-1]
    return torch.stack([sum((a[..., i] * b[..., k - i] for i in range(k + 1)), torch.zeros(())) for k in range(g)], -1)


def moving(shift: Tensor) -> Tensor:
    """Matrices (..., new, old) of a shift by coefficients (..., g)."""
    g = shift.shape[-1]
    index = torch.arange(g, device=shift.device)[:, None] - torch.arange(g, device=shift.device)
    return shift[..., index.clamp(min=0)] * (index >= 0)
