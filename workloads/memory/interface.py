"""Interface of memory mechanisms: evidence in; context tokens, stored tokens or a recurrence out.

One interface, two operations (study.md section 5): `M_i = write(M_{i-1}, evidence_i)` once per
chunk and `U_i = read(M_i)`. The world model calls the hooks of `Mechanism`; a hook that is not overridden does
nothing, so that the base class *is* the anchor-only row `context-k1`.

A shipped mechanism is three choices, each a small class: `write/` (what is kept), `address/` (how a place in it is
found) and `read/` (where it enters the backbone). A read is a `Mechanism` that is given a write and an address:

| hook | when | overridden by |
|---|---|---|
| `looks` | once per forward or write | none: the address says it |
| `context`, `positions` | before the first block | `read/self_attention.py` |
| `summary`, `store` | beside the patch embedding | `read/text_attention.py`, `read/cross_attention.py` |
| `beside_text` | once per forward | `read/text_attention.py` |
| `read_stored` | in recurrent blocks, after text attention | `read/cross_attention.py` |
| `write_block`, `recur` | in recurrent blocks, after self-attention | `read/recurrence.py` |

Letters: `b` batch, `k` evidence slots, `t` target latents, `f` frames of either, `n` tokens of one latent frame, `d`
width, `m` stored tokens, `e` width of a head. Evidence is read-only: no hook changes a tensor that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workloads.study.memory.parts import AddressSpec

State = tuple[Tensor, ...]
"""What a state-space row carries across chunks: one float32 tensor per recurrent block."""


@dataclass
class Slots:
    """The evidence of one segment: slot 0 is the anchor, retrieved frames follow oldest first.

    Missing slots are at the end with `valid` False; what they hold has no influence. In the
    evidence of a segment that does not exist, the anchor is invalid too.
    """

    latents: Tensor
    """(b, k, c, h, w) float32, clean, one latent a frame."""
    actions: Tensor
    """(b, k, 12) poses relative to the first frame of the segment (study.md section 3)."""
    valid: Tensor
    """(b, k) bool."""
    base: Tensor | None = None
    """(b, 12) pose of the segment's first frame relative to the first frame that was ever written; None: it is that."""
    fixed: bool = False
    """Every shape, and what is masked, follows `k` alone and not `valid`: then no sample's bits depend on which others
    share its batch. Slots that are empty in all of them are computed too.
    """

    def trimmed(self) -> Slots:
        """Without the slots that are empty in the whole batch, unless shapes are `fixed`; the anchor's always stays."""
        if self.fixed:
            return self
        used = self.valid.any(0)
        if bool(used[-1]):
            return self
        count = max(1, int(used.nonzero().max()) + 1 if bool(used.any()) else 1)
        return replace(
            self, latents=self.latents[:, :count], actions=self.actions[:, :count], valid=self.valid[:, :count]
        )

    def anchor(self) -> Slots:
        """Slot 0 alone."""
        return replace(self, latents=self.latents[:, :1], actions=self.actions[:, :1], valid=self.valid[:, :1])


@dataclass(frozen=True)
class ContextTokens:
    """The slots that become tokens in self-attention, the anchor first."""

    latents: Tensor
    """(b, k, c, h, w)"""
    actions: Tensor
    """(b, k, 12)"""
    valid: Tensor
    """(b, k) bool"""
    log_weight: Tensor | None = None
    """(b, k), added to the attention logits of the slot's keys in every block."""
    scale: Tensor | None = None
    """(b, k), multiplied into the slot's tokens before the first block."""


@dataclass(frozen=True)
class Stored:
    """Tokens that are kept beside the sequence, for text attention or a read-out."""

    tokens: Tensor
    """(b, m, d)"""
    looks: Any = None
    """Where each of them looks, in the form of the row's address; None: they are found by content."""
    valid: Tensor | None = None
    """(b, m) bool, False where nothing was ever written; None: all are valid."""


class Positions(Protocol):
    """How self-attention tells its tokens apart."""

    def turned(self, x: Tensor) -> Tensor:
        """Queries and keys (b, l, 2, heads, e), float32, with their positions."""
        ...

    def values(self, x: Tensor) -> Tensor:
        """Values (b, l, heads, e) before attention."""
        ...

    def outputs(self, x: Tensor) -> Tensor:
        """What attention gives for the first tokens, (b, q, heads, e)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What sizes a mechanism: the backbone's numbers and the token grid of one latent frame."""

    width: int
    blocks: int
    heads: int
    rows: int
    """Tokens of one frame, top to bottom."""
    columns: int
    """Tokens of one frame, left to right."""
    controls: Mapping[str, Any]
    """The backbone's section; it holds `recurrent_every`, `grid`, `grid_tokens` where the row reads them."""

    @property
    def tokens(self) -> int:
        """`n`, tokens of one latent frame."""
        return self.rows * self.columns

    def recurrent(self) -> tuple[int, ...]:
        """The recurrent blocks: 0, n, 2n, ...."""
        return tuple(range(0, self.blocks, int(self.controls["recurrent_every"])))


class Address(nn.Module):
    """How a place in a store is found. This one, `none`: by its place in the image, or by content alone.

    `looks` is computed once for all blocks; what reads or writes a store hands it back to the methods of the address.
    """

    outlives: bool = False
    """Whether places are kept across chunks: poses are then relative to the first frame that was ever written."""

    def __init__(self, spec: AddressSpec, sizes: Sizes) -> None:
        super().__init__()

    def looks(self, poses: Tensor) -> Any:
        """Where frames look: of `poses` (b, f, 12), in the address's own form, first dimensions (b, f)."""
        return None

    def positions(self, rotary: Positions, looks: Any) -> Positions:
        """Positions in self-attention."""
        return rotary

    def turned(self, x: Tensor, looks: Any) -> Tensor:
        """Queries or keys (b, heads, tokens, e), float32, turned to where their tokens look."""
        return x


class FrameWrite(nn.Module):
    """A write whose store is frames of context tokens, made anew for each chunk."""

    def context(self, slots: Slots) -> ContextTokens:
        """The slots that become tokens, the anchor first."""
        raise NotImplementedError


class TokenWrite(nn.Module):
    """A write whose store is tokens beside the sequence, made anew for each chunk.

    No part has a `forward` that returns more than tensors: ZeRO 3 finds only in them what a backward will need.
    """

    def summary(self, slots: Slots) -> Tensor | None:
        """Latents (b, s, c, h, w) to embed, or None: nothing is stored."""
        raise NotImplementedError

    def stored(self, tokens: Tensor, slots: Slots, address: Address) -> Stored:
        """What is stored of the embedded summary (b, s, n, d) of `slots`."""
        raise NotImplementedError

    def readings(self) -> dict[str, float]:
        """Values for people."""
        return {}


@dataclass(frozen=True, kw_only=True)
class StatePass:
    """The frames that a recurrence runs over in one block."""

    address: Address
    """Finds the place of their tokens."""
    looks: Any
    """Where they look, in the form of the address."""
    valid: Tensor | None = None
    """(b, f) bool, as in `Mechanism.write_block`."""
    writes: bool
    """These are evidence frames; otherwise target frames."""
    last: bool = False
    """Nothing follows, so the residual need not be computed."""


class StateWrite(nn.Module):
    """A write whose store is a state in one recurrent block, carried across chunks; it also says how it is read."""

    share: Tensor | None = None
    """|residual| / |x| of the last forward over target frames."""

    def state_shape(self, batch: int, tokens: int) -> tuple[int, ...]:
        """Shape of the state, whatever was written; it is float32."""
        raise NotImplementedError

    def empty(self, x: Tensor) -> Tensor:
        """The state before anything was written, for tokens `x` (b, f, n, d)."""
        return x.new_zeros(self.state_shape(len(x), x.shape[2]), dtype=torch.float32)

    def run(self, x: Tensor, state: Tensor | None, at: StatePass) -> tuple[Tensor, Tensor]:
        """Tokens (b, f, n, d) with the residual, and the state after them.

        Args:
            x: tokens, oldest frame first.
            state: before the first of them, not changed; None is the empty state.
            at: which frames they are of.
        """
        raise NotImplementedError

    def added(self, x: Tensor, residual: Tensor, at: StatePass) -> Tensor:
        """`x + residual`, remembering how large the residual of target frames was."""
        if not at.writes:
            with torch.no_grad():
                self.share = residual.norm() / x.norm().clamp(min=1e-12)
        return x + residual

    def readings(self) -> dict[str, float]:
        """Values for people."""
        return {}


class Mechanism(nn.Module):
    """The anchor as a token and nothing else; reads override what they add."""

    recurrent: tuple[int, ...] = ()
    """Blocks in which this mechanism writes a state or reads stored tokens."""
    carries_state: bool = False
    reads_stored: bool = False
    """Whether `read_stored` does anything."""

    def __init__(self) -> None:
        super().__init__()
        self.address: Address | None = None
        """How it finds a place; None: it needs no poses for that."""

    def context(self, slots: Slots) -> ContextTokens:
        """The slots that enter self-attention beside the target."""
        anchor = slots.anchor()
        return ContextTokens(anchor.latents, anchor.actions, anchor.valid)

    def looks(self, poses: Tensor, base: Tensor | None) -> Any:
        """Where frames look, in the form of the row's address, first dimensions (b, f); None: nothing depends on it.

        Args:
            poses: (b, f, 12), relative to the segment's first frame.
            base: pose of that frame, as in `Slots`.
        """
        if self.address is None:
            return None
        moved = poses if base is None or not self.address.outlives else placed(base, poses)
        return self.address.looks(moved)

    def positions(self, rotary: Positions, looks: Any) -> Positions:
        """Positions of all tokens in self-attention; `rotary` has time, row and column."""
        return rotary

    def summary(self, slots: Slots) -> Tensor | None:
        """Latents (b, s, c, h, w) to embed for `store`, or None: nothing is stored."""
        return None

    def store(self, tokens: Tensor, slots: Slots) -> Stored:
        """What is stored of the embedded summary (b, s, n, d) of `slots`."""
        return Stored(tokens.flatten(1, 2))

    def beside_text(self, stored: Stored) -> Stored | None:
        """What stands beside the text in every block, or None."""
        return None

    def read_stored(self, block: int, x: Tensor, stored: Stored, looks: Any) -> Tensor:
        """Target tokens (b, t, n, d) with what the stored tokens add to them."""
        return x

    def state_shapes(self, batch: int) -> list[tuple[int, ...]]:
        """Shape of every tensor of the state; its size does not depend on how much was written."""
        return []

    def recur(self, block: int, x: Tensor, state: Tensor | None, looks: Any) -> Tensor:
        """Target tokens (b, t, n, d) with the recurrence's residual, run on from `state`, which stays as it is."""
        return x

    def write_block(
        self, block: int, x: Tensor, state: Tensor | None, valid: Tensor | None, looks: Any, last: bool
    ) -> tuple[Tensor, Tensor]:
        """Evidence tokens (b, f, n, d) with the residual, and the block's state after them.

        Args:
            block: which recurrent block.
            x: evidence tokens, oldest first.
            state: before the first of them; None is the empty state.
            valid: (b, f) bool; a sample's valid frames stand at the end. None: all are valid.
            looks: where the frames look.
            last: nothing follows, so the residual need not be computed.
        """
        return x, x

    def readings(self) -> dict[str, float]:
        """Values for people: gates, decays, shares of the last forward."""
        return {}


def placed(base: Tensor, poses: Tensor) -> Tensor:
    """Poses (b, f, 12) relative to where `base` (b, 12) is relative to; rotations row-major, then translations."""
    # Autocast would round the products to bfloat16: a yaw would be off by up to a quarter of a degree.
    with torch.autocast(poses.device.type, enabled=False):
        turn = base[:, :9].view(-1, 1, 3, 3)  # (b, 1, 3, 3)
        rotation = turn @ poses[..., :9].reshape(*poses.shape[:2], 3, 3)
        moved = (turn @ poses[..., 9:, None])[..., 0] + base[:, None, 9:]
        return torch.cat([rotation.flatten(-2), moved], -1)


def float32(x: Tensor) -> Tensor:
    """`x` in float32: gates, decays, norms and recurrences are computed there under autocast."""
    return x if x.dtype == torch.float32 else x.float()
