"""A row as a write, an address and a read: its costs are theirs, and what cannot be combined is refused.

Source: study.md section 5, "Write, address, read". Standard library only.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Annotated, NamedTuple

from workloads.contract.fields import LATER
from workloads.contract.rows import RowError
from workloads.study.memory import address
from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass, MemoryRow
from workloads.study.memory.parts import ADDRESSES, AddressSpec, ReadSpec, WriteSpec

for _module in pkgutil.iter_modules(address.__path__):
    importlib.import_module(f"{address.__name__}.{_module.name}")


def check_cells(cells: tuple[int, ...]) -> None:
    """Refuse what are no rows of cells.

    Raises:
        RowError: another number of values, or too small ones.
    """
    if len(cells) != 2 or cells[0] < 1 or cells[1] < 2:
        raise RowError("cells", f"cells is {list(cells)}; allowed: rows (1 and more) and cells of a row (2 and more)")


NOTHING_STORED: Mapping[str, str] = {"write": "none", "address": "none", "read": "none"}
"""Factors of a row that has the anchor alone."""


class Parts(NamedTuple):
    """The three choices of a row."""

    write: WriteSpec
    address: AddressSpec
    read: ReadSpec


@dataclass(frozen=True, kw_only=True)
class ComposedRow(MemoryRow):
    """A row of a family that is made of the three choices."""

    address: Annotated[str, LATER] = "none"
    """How a place in the store is found: none, or the name of an address."""
    yaw: Annotated[bool, LATER] = True
    """False: the address is told that every camera looks straight ahead; it shows what the address does."""

    def __post_init__(self) -> None:
        self._check_address()
        write, found = self.parts.write.name, ADDRESSES[self.address]
        if write not in found.finds:
            fitting = sorted(name for name, kind in ADDRESSES.items() if write in kind.finds)
            raise RowError(
                "address",
                f"address: {self.address} finds nothing in what write {write} keeps; "
                f"allowed with it: {', '.join(fitting)}",
            )

    def _check_address(self) -> None:
        if self.address not in ADDRESSES:
            raise RowError("address", f"address is {self.address!r}; allowed: {', '.join(sorted(ADDRESSES))}")
        if not self.yaw and self.address == "none":
            raise RowError("yaw", "yaw: false changes nothing, for address is none; give the row an address")

    @property
    def parts(self) -> Parts:
        """Its write, address and read."""
        raise NotImplementedError

    def _address(self) -> AddressSpec:
        """With what it takes of the row's parameters."""
        kind = ADDRESSES[self.address]
        taken = {field.name: getattr(self, field.name) for field in fields(kind) if hasattr(self, field.name)}
        return kind(**taken)

    @property
    def factors(self) -> Mapping[str, str]:
        """What the three choices are called."""
        return dict(zip(("write", "address", "read"), (part.factor for part in self.parts), strict=True))

    @property
    def reads(self) -> tuple[str, ...]:
        """Controls that size one of the three."""
        return tuple(dict.fromkeys(key for part in self.parts for key in part.controls))

    def stored(self, s: BackboneSizes) -> int:
        """`m`, stored tokens that are read."""
        return self.parts.write.stored(s) if self.parts.read.stored else 0

    def stored_floats(self, s: BackboneSizes) -> int:
        """Its states, and its stored tokens, once for all blocks that read them."""
        states = len(self.recurrent(s)) * prod(self.state_shape(s)) if self.carries_state else 0
        return states + self.stored(s) * s.width

    def context_slots(self, slots: int) -> int:
        """Frames of context tokens."""
        write, _, read = self.parts
        return max(write.context_slots(slots), read.context_slots(slots))

    def beside_text(self, s: BackboneSizes) -> int:
        """Stored tokens that stand beside the text."""
        return self.parts.read.beside_text(self.stored(s))

    def recurrent(self, s: BackboneSizes) -> tuple[int, ...]:
        """The recurrent blocks, where its read has a part in them."""
        return s.recurrent_blocks if self.parts.read.recurrent else ()

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """Of its write."""
        return self.parts.write.state_shape(s)

    def parameters(self, s: BackboneSizes) -> int:
        """Those of the three together."""
        return sum(part.parameters(s) for part in self.parts)

    def flops_store(self, s: BackboneSizes, slots: int) -> int:
        """Of its write."""
        return self.parts.write.flops_store(s, slots)

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """Of its write and its read."""
        write, _, read = self.parts
        return write.flops_block(s, at) + read.flops_block(s, at, self.stored(s))

    def flops_looks(self, s: BackboneSizes, tokens: int) -> int:
        """Of its address."""
        return self.parts.address.flops_looks(s, tokens)

    def flops_text(self, s: BackboneSizes, tokens: int) -> int:
        """Of its read."""
        return self.parts.read.flops_text(s, tokens, self.stored(s))

    def activations_looks(self, s: BackboneSizes, tokens: int, wide: int) -> int:
        """Of its address."""
        return self.parts.address.activations_looks(s, tokens, wide)

    def activations_text(self, s: BackboneSizes, tokens: int, wide: int) -> int:
        """Of its read."""
        return self.parts.read.activations_text(s, tokens, self.stored(s), wide)

    def activations_store(self, s: BackboneSizes, slots: int, wide: int) -> int:
        """Of its write."""
        return self.parts.write.activations_store(s, slots, wide)

    def activations_attention(self, s: BackboneSizes, keys: int, queries: int, wide: int) -> int:
        """Of its address."""
        return self.parts.address.activations_attention(s, keys, queries, wide)

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Of its write and its read."""
        write, _, read = self.parts
        return write.activations_block(s, at, wide) + read.activations_block(s, at, self.stored(s), wide)

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int:
        """Of its write."""
        kept = self.parts.write.activations_state(s, at)
        return prod(self.state_shape(s)) * FLOAT if kept is None else kept

    def remedies(self) -> tuple[str, ...]:
        """Of its write."""
        return self.parts.write.remedies()
