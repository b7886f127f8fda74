r"""Write `diagonal` with address `place`: one forgetting average per channel, at every place of the world.

A frame whose columns have the weights $w$ for a cell writes to it with $m = \min(1, \sum w)$, as if it were $m$ of a
frame:

$$ H \leftarrow a^m H + (1 - a^m)\,\bar u, \quad \bar u = \frac{\sum w \tanh(u)}{\sum w}, \quad n \leftarrow n + m . $$

Target frames read $\sum_p w_p\, H_p / (1 - a^{n_p})$, the weighted mean of what was written: without the division a
place that was seen once would be read as nearly empty by slow channels. They write nothing, and evidence frames read
nothing. State: `H` with its count `n`, `(b, R, P, d + 1)` per recurrent block. Parameters are those of the same write
without an address. Source: study.md section 5, row `ssm-place`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.memory.interface import Sizes, StatePass, float32
from workloads.memory.write.diagonal import DecayingState
from workloads.memory.write.places import UNWRITTEN, CellRows, Visits, counted, parted
from workloads.study.memory.write.diagonal_place import DiagonalPlaceSpec


class DecayingPlaces(DecayingState):
    """A decaying state in cells that are fixed in the world."""

    def __init__(self, spec: DiagonalPlaceSpec, sizes: Sizes) -> None:
        super().__init__(spec, sizes)
        self.rows, self.around = CellRows.of(sizes, spec.cells), spec.cells[1]

    def state_shape(self, batch: int, tokens: int) -> tuple[int, ...]:
        """(b, R, P, d + 1), the count last."""
        return (batch, self.rows.kept, self.around, self.width + 1)

    def run(self, x: Tensor, state: Tensor | None, at: StatePass) -> tuple[Tensor, Tensor]:
        """Evidence as it is and the state after it, or target frames with the residual and the state as it is."""
        y = self.norm(float32(x))
        u, o = self.project.weight.chunk(2), self.project.bias.chunk(2)
        if at.writes:
            return x, self._written(F.linear(y, u[0], o[0]), state, Visits.of(at.looks, at.valid))
        state = self.empty(x) if state is None else state
        gate = float32(F.linear(y, u[1], o[1])).sigmoid()
        low, high = self.rho
        weight = low + (high - low) * self.weight_logit.sigmoid()
        residual = weight * float32(self.out(self._read(state, at.looks) * gate))
        return self.added(x, residual, at), state

    def _written(self, u: Tensor, state: Tensor | None, visits: Visits) -> Tensor:
        """The state after frames (b, f, n, d), in closed form: what is written fades by what is written later."""
        rate = -torch.exp(-self.log_tau)
        with torch.autocast(u.device.type, enabled=False):
            seen = torch.einsum("bfcp,bfrcd->bfrpd", visits.share, self.rows.averaged(float32(u).tanh()))
            mass, count = visits.mass, visits.mass.sum(1)
            later = mass.flip(1).cumsum(1).flip(1) - mass
            negative = torch.exp(later[..., None] * rate) * torch.expm1(mass[..., None] * rate)  # (b, f, P, d)
            values = -(negative[:, :, None] * seen).sum(1)
            if state is not None:
                before, already = parted(state)
                values = values + torch.exp(count[:, None, :, None] * rate) * before
                count = count + already
            return counted(values, count)

    def _read(self, state: Tensor, looks: Tensor) -> Tensor:
        """What frames that look along `looks` (b, f, C, P) find, (b, f, n, d)."""
        rate = -torch.exp(-self.log_tau)
        with torch.autocast(looks.device.type, enabled=False):
            values, count = parted(state)
            there = count > UNWRITTEN
            full = -torch.expm1(torch.where(there, count, 1.0)[..., None] * rate)  # (b, P, d)
            mean = values * (there[..., None] / full)[:, None]
            return self.rows.spread(torch.einsum("bfcp,brpd->bfrcd", looks, mean))
