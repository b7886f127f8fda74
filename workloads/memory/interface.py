"""Interface of memory mechanisms: evidence in; context tokens, stored tokens or a recurrence out.

One interface, two operations (study.md section 5): `M_i = write(M_{i-1}, evidence_i)` once per
chunk and `U_i = read(M_i)`. The world model calls the hooks of `Mechanism`; a hook that a family
does not override does nothing, so that the base class *is* the anchor-only row `context-k1`.

| hook | when | who overrides it |
|---|---|---|
| `context` | before patches are embedded | context, compress |
| `summary`, `store` | beside the patch embedding | spatial |
| `beside_text` | once per forward | spatial, read: text |
| `read_stored` | in recurrent blocks, after text attention | spatial, read: readout |
| `write_block`, `recur` | in recurrent blocks, after self-attention | ssm |

Letters: `b` batch, `k` evidence slots, `t` target latents, `n` tokens of one latent frame, `d`
width, `m` stored tokens. Evidence is read-only: no hook changes a tensor that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Rule = Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[np.float32]]
"""How a parameter starts: its own generator and its shape in, its values out."""

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

    def trimmed(self) -> Slots:
        """Without the slots that are empty in the whole batch; the anchor's slot always stays."""
        used = self.valid.any(0)
        if bool(used[-1]):
            return self
        count = max(1, int(used.nonzero().max()) + 1 if bool(used.any()) else 1)
        return Slots(self.latents[:, :count], self.actions[:, :count], self.valid[:, :count])

    def anchor(self) -> Slots:
        """Slot 0 alone."""
        return Slots(self.latents[:, :1], self.actions[:, :1], self.valid[:, :1])

    @staticmethod
    def joined(parts: list[Slots]) -> Slots:
        """All slots of `parts`, one after the other; no longer in the order of one segment."""
        if len(parts) == 1:
            return parts[0]
        return Slots(
            torch.cat([part.latents for part in parts], 1),
            torch.cat([part.actions for part in parts], 1),
            torch.cat([part.valid for part in parts], 1),
        )


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


class Mechanism(nn.Module):
    """The anchor as a token and nothing else; families override what they add."""

    recurrent: tuple[int, ...] = ()
    """Blocks in which this mechanism writes a state or reads stored tokens."""
    carries_state: bool = False
    reads_stored: bool = False
    """Whether `read_stored` does anything."""

    def context(self, slots: Slots) -> ContextTokens:
        """The slots that enter self-attention beside the target."""
        anchor = slots.anchor()
        return ContextTokens(anchor.latents, anchor.actions, anchor.valid)

    def summary(self, slots: Slots) -> Tensor | None:
        """Latents (b, s, c, h, w) to embed for `store`, or None: nothing is stored."""
        return None

    def store(self, tokens: Tensor) -> Tensor:
        """Stored tokens (b, m, d) of the embedded summary (b, s, n, d)."""
        return tokens.flatten(1, 2)

    def beside_text(self, stored: Tensor) -> Tensor | None:
        """Tokens (b, m, d) appended to the text in every block, or None."""
        return None

    def read_stored(self, block: int, x: Tensor, stored: Tensor) -> Tensor:
        """Target tokens (b, t, n, d) with what the stored tokens (b, m, d) add to them."""
        return x

    def state_shapes(self, batch: int) -> list[tuple[int, ...]]:
        """Shape of every tensor of the state; its size does not depend on how much was written."""
        return []

    def recur(self, block: int, x: Tensor, state: Tensor | None) -> Tensor:
        """Target tokens (b, t, n, d) with the recurrence's residual, run on from `state`, which stays as it is."""
        return x

    def write_block(
        self, block: int, x: Tensor, state: Tensor | None, valid: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor]:
        """Evidence tokens (b, f, n, d) with the residual, and the block's state after them.

        Args:
            block: which recurrent block.
            x: evidence tokens, oldest first.
            state: before the first of them; None is the empty state.
            valid: (b, f) bool; a sample's valid frames stand at the end. None: all are valid.
            last: nothing follows, so the residual need not be computed.
        """
        return x, x

    def readings(self) -> dict[str, float]:
        """Values for people: gates, decays, shares of the last forward."""
        return {}


def float32(x: Tensor) -> Tensor:
    """`x` in float32: gates, decays, norms and recurrences are computed there under autocast."""
    return x if x.dtype == torch.float32 else x.float()


def constant(value: float) -> Rule:
    """Every element starts at `value`."""
    return lambda generator, shape: np.full(shape, value, dtype=np.float32)


def given(values: Tensor) -> Rule:
    """Starts at `values`, whatever the seed."""
    return lambda generator, shape: values.detach().numpy().astype(np.float32).reshape(shape)


def uniform(bound: float) -> Rule:
    """Uniform between `-bound` and `bound`."""
    return lambda generator, shape: (2 * generator.random(shape, dtype=np.float32) - 1) * np.float32(bound)


def normal(deviation: float) -> Rule:
    """Normal around 0."""
    return lambda generator, shape: generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)


def xavier(parts: int = 1) -> Rule:
    """Xavier uniform of a linear map (out, in); a fused map of `parts` equal maps is drawn as that many."""
    return lambda generator, shape: uniform((6 / (shape[0] / parts + shape[1])) ** 0.5)(generator, shape)
