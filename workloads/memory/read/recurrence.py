"""Read `recurrence`: a residual of target tokens in the recurrent blocks, from a state that evidence was written to.

It runs after self-attention and before text attention. The state is written by a clean pass over the
evidence (`WorldModel.write`) and continued over the target frames, which does not change it. So history
reaches the target through the recurrence alone. States are float32 whatever the model's precision, and their size
does not depend on how much was written. Source: study.md section 5, rows `ssm-*` and "State-space write".
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from workloads.memory.interface import Address, ContextTokens, Mechanism, Sizes, Slots, StatePass, StateWrite
from workloads.memory.write.tokens import Tokens
from workloads.study.memory.read.recurrence import RecurrenceSpec


class ReadByRecurrence(Mechanism):
    """A state in every recurrent block."""

    address: Address

    carries_state = True

    def __init__(self, write: Callable[[], StateWrite], address: Address, spec: RecurrenceSpec, sizes: Sizes) -> None:
        super().__init__()
        self.recurrent = sizes.recurrent()
        self.tokens = sizes.tokens
        self.address = address
        address.outlives = True  # as the state does
        self.beside = None if spec.context is None else Tokens(spec.context, sizes)
        self.cells = nn.ModuleDict({str(block): write() for block in self.recurrent})

    def context(self, slots: Slots) -> ContextTokens:
        """The anchor, or the frames that are tokens too."""
        if self.beside is None:
            return super().context(slots)
        return self.beside.context(slots)

    def state_shapes(self, batch: int) -> list[tuple[int, ...]]:
        """One tensor per recurrent block, whatever was written."""
        return [self._cell(block).state_shape(batch, self.tokens) for block in self.recurrent]

    def recur(self, block: int, x: Tensor, state: Tensor | None, looks: Any) -> Tensor:
        """Target tokens with the residual."""
        return self._cell(block).run(x, state, StatePass(address=self.address, looks=looks, writes=False))[0]

    def write_block(
        self, block: int, x: Tensor, state: Tensor | None, valid: Tensor | None, looks: Any, last: bool
    ) -> tuple[Tensor, Tensor]:
        """Evidence tokens with the residual, and the block's state after them."""
        at = StatePass(address=self.address, looks=looks, valid=valid, writes=True, last=last)
        return self._cell(block).run(x, state, at)

    def _cell(self, block: int) -> StateWrite:
        cell = self.cells[str(block)]
        assert isinstance(cell, StateWrite)
        return cell

    def readings(self) -> dict[str, float]:
        """Gates or weights and time constants per block; `recurrence_share` is their mean |residual| / |x|."""
        values: dict[str, float] = {}
        cells = {block: self._cell(block) for block in self.recurrent}
        shares = [cell.share for cell in cells.values() if cell.share is not None]
        if shares:
            values["recurrence_share"] = float(torch.stack(shares).mean())
        for block, cell in cells.items():
            values.update({f"{name}_{block}": value for name, value in cell.readings().items()})
        return values
