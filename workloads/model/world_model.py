"""The action world model: a video diffusion transformer of the Wan 2.1 shape with a memory mechanism.

Sequence: target latents, then memory tokens; the anchor is memory slot 0, retrieved frames follow oldest
first. All tokens of a sample carry its timestep (1000 sigma). Memory tokens are conditioning: they attend and
are attended to, read the text, and are dropped from the output; in the last block they are keys and values
only, since nothing reads what would follow. Source: study.md sections 3 to 5.

Shapes: `b` batch, `t` target latents, `k` evidence slots, `c, h, w` one latent, `l` text tokens, `n` tokens of a
latent frame, `d` width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from workloads.memory.initial_values import Rule
from workloads.memory.interface import Mechanism, Positions, Sizes, Slots, State, Stored, float32, placed
from workloads.memory.mechanisms import make_mechanism
from workloads.memory.rotary import Rotary, rotary_table
from workloads.model.blocks import Head, TransformerBlock
from workloads.model.initial import initialise
from workloads.model.shapes import LatentShape, check_sizes
from workloads.study.memory.base import PATCH, MemoryRow
from workloads.study.memory.families import row_from

TIMESTEPS = 1000.0
"""Timestep of pure noise."""


class WorldModel(nn.Module):
    """Says the velocity of noisy target latents from actions, text and evidence."""

    def __init__(
        self, backbone: Mapping[str, Any], action: Mapping[str, Any], row: MemoryRow, shape: LatentShape
    ) -> None:
        super().__init__()
        width, heads = int(backbone["width"]), int(backbone["heads"])
        check_sizes(backbone, action, shape)
        self.shape, self.row = shape, row
        self.controls, self.site = dict(backbone), str(action["site"])
        self.rows, self.columns = shape.height // PATCH, shape.width // PATCH
        self.width, self.heads = width, heads
        self.feed_forward = int(backbone["feed_forward"])
        self.frequency_width = int(backbone["frequency_width"])
        values = shape.channels * PATCH * PATCH
        self.patch_embedding = nn.Linear(values, width)
        self.text_embedding = nn.Sequential(
            nn.Linear(shape.text_width, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.time_embedding = nn.Sequential(nn.Linear(self.frequency_width, width), nn.SiLU(), nn.Linear(width, width))
        self.time_projection = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(
            [TransformerBlock(width, heads, self.feed_forward, self.site) for _ in range(int(backbone["blocks"]))]
        )
        self.head = Head(width, values)
        sizes = Sizes(
            width=width,
            blocks=len(self.blocks),
            heads=heads,
            rows=self.rows,
            columns=self.columns,
            controls=backbone,
        )
        self.mechanism: Mechanism = make_mechanism(row, sizes)
        self.checkpointed = False
        """Whether a block keeps only its input for the backward, which computes the rest once more."""
        self._tables: dict[tuple[int, str], Positions] = {}

    def forward(
        self,
        noisy: Tensor,
        sigma: Tensor,
        actions: Tensor,
        text: Tensor,
        slots: Slots,
        history: Sequence[Slots] = (),
    ) -> Tensor:
        """Velocity (b, t, c, h, w) in training: what a state row carries is written first, then read.

        Args:
            noisy: target latents (b, t, c, h, w) at noise level `sigma`.
            sigma: (b,) in 0..1.
            actions: (b, t, 12).
            text: (b, l, text width).
            slots: this segment's evidence.
            history: evidence of the segments before, oldest first. Rows without a state do not look at it.

        Raises:
            ValueError: a tensor of another shape.
        """
        state: State | None = None
        if self.mechanism.carries_state:
            self.shape.check_evidence(noisy.shape[0], text, [*history, slots])
            state = self._written(None, [*history, slots], self._text(text))
        return self.denoise(noisy, sigma, actions, text, slots, state)

    def write(self, state: State | None, slots: Slots, text: Tensor) -> State | None:
        """The state after the evidence of one more segment; None in rows that carry none.

        Args:
            state: what was carried, or None at the beginning. It is not changed.
            slots: evidence, poses relative to this segment's first frame.
            text: (b, l, text width).

        Raises:
            ValueError: a tensor of another shape.
        """
        if not self.mechanism.carries_state:
            return None
        self.shape.check_evidence(text.shape[0], text, [slots])
        return self._written(state, [slots], self._text(text))

    def denoise(
        self, noisy: Tensor, sigma: Tensor, actions: Tensor, text: Tensor, slots: Slots, state: State | None
    ) -> Tensor:
        """Velocity (b, t, c, h, w) from this segment's evidence and the written state, which stays as it is.

        Raises:
            ValueError: a tensor of another shape.
        """
        b, t = noisy.shape[:2]
        self.shape.check_target(noisy, sigma, actions)
        self.shape.check_evidence(b, text, [slots])
        memory = self.mechanism.context(slots)
        summary = self.mechanism.summary(slots)
        frames = [noisy, memory.latents] if summary is None else [noisy, memory.latents, summary]
        x = self._embedded(torch.cat(frames, 1))
        words = self._text(text)
        count = t + memory.latents.shape[1]
        stored = beside = None
        if summary is not None:
            stored = self.mechanism.store(x[:, count:], slots)
            beside = self.mechanism.beside_text(stored)
            words = words if beside is None else torch.cat([words, beside.tokens], 1)
            x = x[:, :count]
        if memory.scale is not None:
            x = torch.cat([x[:, :t], x[:, t:] * memory.scale[:, :, None, None]], 1)
        poses = torch.cat([actions, memory.actions], 1)
        bias = self._bias(t, memory.valid, memory.log_weight, slots.fixed)
        looks = self.mechanism.looks(poses, slots.base)
        positions = self.mechanism.positions(self._rotary(count, x.device), looks)
        embedded, projected = self._timestep(sigma * TIMESTEPS)

        carried = dict(zip(self.mechanism.recurrent, state, strict=True)) if state is not None else {}
        for index in range(len(self.blocks)):
            x = self._kept_or_again(
                self._denoise_block, index, x, projected, poses, positions, bias, words, beside, stored, looks,
                carried.get(index), t,
            )  # fmt: skip
        return self._unpatched(self.head(x, embedded))

    def diagnostics(self) -> dict[str, float]:
        """Values of the mechanism for people: gates, decays, and shares of the last forward."""
        return self.mechanism.readings()

    def initial_rules(self) -> Mapping[str, Rule]:
        """Nothing of its own: see the modules."""
        return {}

    def _written(self, state: State | None, segments: Sequence[Slots], words: Tensor) -> State:
        """A clean pass over the evidence at timestep 0, each frame attending to itself, oldest first, the anchor last.

        Several segments are one pass: the recurrence runs straight on from one to the next.
        """
        latents, actions, looks, valid = self._in_time(segments)
        x = self._embedded(latents)
        positions = self._rotary(1, x.device)
        _, projected = self._timestep(torch.zeros(1, device=x.device))
        carried = dict(zip(self.mechanism.recurrent, state, strict=True)) if state is not None else {}
        written: list[Tensor] = []
        for index in range(self.mechanism.recurrent[-1] + 1):
            x, after = self._kept_or_again(
                self._write_block, index, x, projected, actions, positions, words, carried.get(index), valid, looks
            )
            if after is not None:
                written.append(after)
        return tuple(written)

    def _in_time(self, segments: Sequence[Slots]) -> tuple[Tensor, Tensor, Any, Tensor | None]:
        """Evidence as it is written: oldest first, the anchor after the retrieved frames of its segment.

        Returns latents (b, f, c, h, w), actions (b, f, 12), where the frames look, and valid (b, f), each sample's
        valid frames moved to the end in their order; None for valid where nothing is missing, or could be if shapes are
        fixed.
        """
        fixed = any(slots.fixed for slots in segments)
        turned: list[tuple[Tensor, ...]] = []
        for slots in segments:
            slots = slots.trimmed()
            origin = slots.actions if slots.base is None else placed(slots.base, slots.actions)
            turned.append(tuple(x.roll(-1, 1) for x in (slots.latents, slots.actions, origin, slots.valid)))
        latents, actions, origin, valid = (torch.cat(parts, 1) for parts in zip(*turned, strict=True))
        masked = valid.shape[1] > 1 if fixed else not bool(valid.all())
        if masked:
            count = valid.shape[1] if fixed else max(1, int(valid.sum(1).max()))
            # A stable sort keeps the order in time among the valid frames; only the last `count` places are used.
            order = valid.to(torch.uint8).sort(dim=1, stable=True).indices[:, -count:]
            sample = torch.arange(order.shape[0], device=order.device)[:, None]
            latents, actions, origin, valid = (x[sample, order] for x in (latents, actions, origin, valid))
            masked = fixed or not bool(valid.all())
        # An address of a state tells poses by the first frame that was ever written.
        return latents, actions, self.mechanism.looks(origin, None), valid if masked else None

    def _denoise_block(
        self,
        index: int,
        x: Tensor,
        projected: Tensor,
        poses: Tensor,
        positions: Positions,
        bias: Tensor | None,
        words: Tensor,
        beside: Stored | None,
        stored: Stored | None,
        looks: Any,
        state: Tensor | None,
        t: int,
    ) -> Tensor:
        """One block of `denoise`; the last one computes the `t` target frames alone."""
        block, mechanism = self._blocks()[index], self.mechanism
        modulation = block.modulated(projected)
        x = block.attend(x, modulation, poses, positions, bias, t if index == len(self.blocks) - 1 else x.shape[1])
        recurs = index in mechanism.recurrent
        if recurs and mechanism.carries_state:
            x = _with_target(x, mechanism.recur(index, x[:, :t], state, _first(looks, t)))
        x = block.read_text(x, words, beside, mechanism.address, _first(looks, x.shape[1]))
        if recurs and stored is not None and mechanism.reads_stored:
            x = _with_target(x, mechanism.read_stored(index, x[:, :t], stored, _first(looks, t)))
        return block.feed(x, modulation)

    def _write_block(
        self,
        index: int,
        x: Tensor,
        projected: Tensor,
        actions: Tensor,
        positions: Positions,
        words: Tensor,
        state: Tensor | None,
        valid: Tensor | None,
        looks: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """One block of a write: the tokens, and its state if it is a recurrent one. The last gives its state alone."""
        block, final = self._blocks()[index], self.mechanism.recurrent[-1]
        modulation = block.modulated(projected)
        x = block.attend(x, modulation, actions, positions, None, x.shape[1], within_frames=True)
        after: Tensor | None = None
        if index in self.mechanism.recurrent:
            x, after = self.mechanism.write_block(index, x, state, valid, looks, index == final)
        return (x if index == final else block.feed(block.read_text(x, words), modulation)), after

    def _kept_or_again(self, part: Callable[..., Any], *given: Any) -> Any:
        """`part(*given)`; what its backward needs is kept, or computed again from `given` (`checkpointed`).

        Nothing is drawn inside a block, so no random state is restored.
        """
        if self.checkpointed and torch.is_grad_enabled():
            return checkpoint(part, *given, use_reentrant=False, preserve_rng_state=False)
        return part(*given)

    def _blocks(self) -> list[TransformerBlock]:
        return list(self.blocks)  # type: ignore[arg-type]

    def _embedded(self, latents: Tensor) -> Tensor:
        """Tokens (b, f, n, d) of latents (b, f, c, h, w): one per patch, row by row."""
        b, f, c = latents.shape[:3]
        patches = latents.view(b, f, c, self.rows, PATCH, self.columns, PATCH).permute(0, 1, 3, 5, 2, 4, 6)
        return float32(self.patch_embedding(patches.reshape(b, f, self.rows * self.columns, c * PATCH * PATCH)))

    def _unpatched(self, values: Tensor) -> Tensor:
        b, f = values.shape[:2]
        shape = self.shape
        patches = values.view(b, f, self.rows, self.columns, shape.channels, PATCH, PATCH)
        return patches.permute(0, 1, 4, 2, 5, 3, 6).reshape(b, f, shape.channels, shape.height, shape.width)

    def _text(self, text: Tensor) -> Tensor:
        return float32(self.text_embedding(text))

    def _timestep(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (b, d) of timesteps (b,) and its projection (b, 6, d), in float32 also under autocast."""
        half = self.frequency_width // 2
        rate = torch.exp(-_LOG_BASE * torch.arange(half, dtype=torch.float64, device=timestep.device) / half)
        angle = timestep.double()[:, None] * rate
        with torch.autocast(timestep.device.type, enabled=False):
            embedded = self.time_embedding(torch.cat([angle.cos(), angle.sin()], -1).float())
            return embedded, self.time_projection(F.silu(embedded)).view(-1, 6, self.width)

    def _bias(self, target: int, valid: Tensor, log_weight: Tensor | None, fixed: bool) -> Tensor | None:
        """(b, 1, 1, tokens) for the attention logits; None: nothing is masked (if `fixed`: can be) or weighted."""
        masked = valid.shape[1] > 1 if fixed else not bool(valid.all())
        if not masked and log_weight is None:
            return None
        bias = torch.zeros(valid.shape, device=valid.device) if log_weight is None else log_weight
        if masked:
            bias = bias.masked_fill(~valid, -torch.inf)
        return F.pad(bias, (target, 0)).repeat_interleave(self.rows * self.columns, 1)[:, None, None]

    def _rotary(self, frames: int, device: torch.device) -> Positions:
        key = (frames, str(device))
        if key not in self._tables:
            table = rotary_table(frames, self.rows, self.columns, self.width // self.heads)
            self._tables[key] = Rotary(table.to(device))
        return self._tables[key]


_LOG_BASE = 9.210340371976184
"""Natural logarithm of 10000, the longest wavelength of the timestep's sinusoids over 2 pi."""


def build_model(
    backbone: Mapping[str, Any], action: Mapping[str, Any], row: Mapping[str, Any], shape: LatentShape, seed: int
) -> WorldModel:
    """A model of `row` (in its resolved form) on the CPU in float32, every parameter at its first value.

    Raises:
        BadInput: sizes that do not fit together; the message names the key.
        RowError: a row that cannot be.
    """
    memory = row_from(row)
    model = WorldModel(backbone, action, memory, shape)
    initialise(model, seed, memory.init_stream)
    return model


def _first(looks: Any, frames: int) -> Any:
    """Where the first `frames` frames look."""
    return None if looks is None else looks[:, :frames]


def _with_target(x: Tensor, target: Tensor) -> Tensor:
    """`x` (b, f, n, d) with its first frames replaced by `target`."""
    count = target.shape[1]
    return target if count == x.shape[1] else torch.cat([target, x[:, count:]], 1)
