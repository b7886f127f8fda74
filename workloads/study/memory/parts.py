"""The three choices that a mechanism is made of, as declared: write, address, read. One file each in the folders below.

| choice | says | folder |
|---|---|---|
| write | what is kept of the evidence | `write/` |
| address | how a place in it is found | `address/` |
| read | where it enters the backbone | `read/` |

Each declares what it takes (its fields), what it costs and with what it cannot be combined; the class that
`computation` names computes it (`workloads/memory/write/`, `address/`, `read/`). A family (`context.py`,
`spatial.py`, ...) turns the parameters of a row into one of each. Letters as in `base.py`. Source: study.md section
5, "Write, address, read". Standard library only.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from workloads.study.memory.base import BackboneSizes, BlockPass

ADDRESSES: dict[str, type["AddressSpec"]] = {}
"""Name -> declaration, of every address that has been imported: ours and the user's."""

CELLS = (8, 28)
"""Rows of cells at most, and cells around the circle: a cell of 28 is about a token of the laptop's frames wide."""


def cell_rows(cells: tuple[int, int], rows: int) -> int:
    """Rows of cells of frames with `rows` rows of tokens: at most `cells[0]`."""
    return min(cells[0], rows)


@dataclass(frozen=True, kw_only=True)
class PartSpec:
    """One of the three choices. Every method has a neutral default: it costs nothing."""

    name: ClassVar[str] = ""
    """As in matrix.yaml, messages and the report's factors."""
    computation: ClassVar[str] = ""
    """`package.module:Class` of what computes it, imported in the job."""
    controls: ClassVar[tuple[str, ...]] = ()
    """Controls of `MEMORY_CONTROLS` that size it."""

    @property
    def factor(self) -> str:
        """What the report's factors call it. Default: its name."""
        return self.name

    def parameters(self, s: BackboneSizes) -> int:
        """Parameters of its own, all blocks together."""
        return 0


@dataclass(frozen=True, kw_only=True)
class WriteSpec(PartSpec):
    """What is kept."""

    carries_state: ClassVar[bool] = False
    """Whether it is a state in the recurrent blocks that crosses chunks."""

    def context_slots(self, slots: int) -> int:
        """Frames of context tokens that it makes of `slots` valid evidence frames. Default: the anchor."""
        return 1

    def stored(self, s: BackboneSizes) -> int:
        """`m`, tokens that it keeps beside the sequence."""
        return 0

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """Shape of the state in one recurrent block, without the batch."""
        return ()

    def flops_store(self, s: BackboneSizes, slots: int) -> int:
        """Once in every forward over `slots` evidence frames: what `summary` and `store` multiply."""
        return 0

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """In one recurrent block."""
        return 0

    def activations_store(self, s: BackboneSizes, slots: int, wide: int) -> int:
        """Bytes that autograd keeps of what `summary` and `store` compute."""
        return 0

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Bytes that autograd keeps of one recurrent block."""
        return 0

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int | None:
        """Bytes of one block's written state under activation checkpointing; None: those of the state's shape."""
        return None

    def remedies(self) -> tuple[str, ...]:
        """What would make a training smaller."""
        return ()


@dataclass(frozen=True, kw_only=True)
class AddressSpec(PartSpec):
    """How a place in the store is found. A subclass registers itself under its name."""

    finds: ClassVar[tuple[str, ...]] = ()
    """Names of the writes in which it finds a place."""

    yaw: bool = True
    """False: as if every camera looked straight ahead. The control that shows that it is the address."""

    def flops_looks(self, s: BackboneSizes, tokens: int) -> int:
        """Where `tokens` look, once in every forward or write."""
        return 0

    def activations_looks(self, s: BackboneSizes, tokens: int, wide: int) -> int:
        """Bytes that autograd keeps of where `tokens` look."""
        return 0

    @property
    def factor(self) -> str:
        """Without yaw it is another one."""
        return self.name if self.yaw else f"{self.name} without yaw"

    def activations_attention(self, s: BackboneSizes, keys: int, queries: int, wide: int) -> int:
        """Bytes that autograd keeps of self-attention in one block, beyond those that it keeps without an address."""
        return 0

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if not cls.name:
            raise TypeError(f"address {cls.__module__}.{cls.__qualname__} has no `name`: set its name in matrix.yaml")
        known = ADDRESSES.setdefault(cls.name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"address {cls.name!r} is declared twice, by {known.__module__} and {cls.__module__}")
        ADDRESSES[cls.name] = cls


@dataclass(frozen=True, kw_only=True)
class ReadSpec(PartSpec):
    """Where what is kept enters the backbone."""

    recurrent: ClassVar[bool] = False
    """Whether it has a part of its own in the recurrent blocks."""
    stored: ClassVar[bool] = False
    """Whether it reads stored tokens."""

    def context_slots(self, slots: int) -> int:
        """Frames of context tokens that it makes of `slots` valid evidence frames. Default: the anchor."""
        return 1

    def beside_text(self, stored: int) -> int:
        """Tokens that stand beside the text in every block, of `stored` ones."""
        return 0

    def flops_block(self, s: BackboneSizes, at: BlockPass, stored: int) -> int:
        """In one recurrent block, over `stored` tokens."""
        return 0

    def flops_text(self, s: BackboneSizes, tokens: int, stored: int) -> int:
        """In text attention of `tokens` in one block, beyond tokens that stand beside the text."""
        return 0

    def activations_text(self, s: BackboneSizes, tokens: int, stored: int, wide: int) -> int:
        """Bytes that autograd keeps of text attention of `tokens` in one block, beyond tokens beside the text."""
        return 0

    def activations_block(self, s: BackboneSizes, at: BlockPass, stored: int, wide: int) -> int:
        """Bytes that autograd keeps of one recurrent block."""
        return 0
