"""What a row's model is by its sizes alone: tokens, parameters and matrix FLOPs. Pure arithmetic, no torch.

A multiply-add is two operations; norms, rotations and other elementwise work are not counted. A
training step is three forwards' worth. That this equals the real model, parameter for parameter and FLOP
for FLOP, is tested for every row of matrix.yaml (tests/model/test_sizes.py).

Letters: `d` width, `n` tokens of one latent frame, `v` values of a patch, `f` feed-forward width, `m`
stored tokens. Source: study.md sections 4 and 5 ("Each row reports"). Standard library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.study.memory.base import MemoryRow
from workloads.study.memory.compress import Compress
from workloads.study.memory.context import Context
from workloads.study.memory.spatial import Spatial
from workloads.study.memory.ssm import Ssm

PATCH = 2
"""Side of a patch in latent pixels; a patch is one latent long in time."""
ACTION_WIDTH = 12
"""9 rotation entries and 3 of translation."""
STEP_FORWARDS = 3
"""A backward costs two forwards."""
RGB = 3
WAN_CHANNELS, WAN_TIME_FACTOR = 16, 4
"""Of the Wan 2.1 VAE."""


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """All that sizes one row's model."""

    row: MemoryRow
    """As it is trained."""
    slots: int
    """K, evidence frames of a segment, anchor included."""
    width: int
    blocks: int
    heads: int
    feed_forward: int
    frequency_width: int
    recurrent_every: int
    """0 in rows that have no recurrent block."""
    grid: int
    grid_tokens: int
    """0 in rows without a spatial store."""
    site: str
    channels: int
    rows: int
    """Tokens of one latent frame, top to bottom."""
    columns: int
    frames: int
    """Target latents of a chunk."""
    text_tokens: int
    text_width: int

    @property
    def frame_tokens(self) -> int:
        """`n`."""
        return self.rows * self.columns

    @property
    def patch_values(self) -> int:
        """`v`."""
        return self.channels * PATCH * PATCH

    @property
    def recurrent(self) -> tuple[int, ...]:
        """Blocks in which the row has something of its own; () where it has not."""
        has = isinstance(self.row, Ssm) or (isinstance(self.row, Spatial) and self.row.read == "readout")
        return tuple(range(0, self.blocks, self.recurrent_every)) if has else ()

    @property
    def stored(self) -> int:
        """`m`, tokens of the spatial store that are read; 0 where there is none."""
        row = self.row
        return self.grid_tokens if isinstance(row, Spatial) and row.read != "none" and not row.masked else 0

    @property
    def beside_text(self) -> int:
        """Stored tokens that stand beside the text in every block."""
        return self.stored if isinstance(self.row, Spatial) and self.row.read == "text" else 0

    def context_slots(self, slots: int) -> int:
        """Slots that become context tokens when `slots` are valid."""
        if isinstance(self.row, Context):
            return slots
        if isinstance(self.row, Compress):
            return slots if self.row.ratio is None else 1 + -(-(slots - 1) // self.row.ratio)
        return 1


def model_sizes(controls: Mapping[str, Mapping[str, Any]], row: MemoryRow) -> ModelSizes:
    """Sizes of `row`, as it is trained, under resolved `controls` (data, codec, evidence, action, backbone)."""
    backbone, codec = controls["backbone"], controls["codec"]
    latent = latent_shape(controls["data"], codec)
    return ModelSizes(
        row=row,
        slots=row.frames if isinstance(row, Context) else int(controls["evidence"]["frames"]),
        width=int(backbone["width"]),
        blocks=int(backbone["blocks"]),
        heads=int(backbone["heads"]),
        feed_forward=int(backbone["feed_forward"]),
        frequency_width=int(backbone["frequency_width"]),
        recurrent_every=int(backbone.get("recurrent_every", 0)),
        grid=int(backbone.get("grid", 0)),
        grid_tokens=int(backbone.get("grid_tokens", 0)),
        site=str(controls["action"]["site"]),
        channels=latent[1],
        rows=latent[2] // PATCH,
        columns=latent[3] // PATCH,
        frames=latent[0],
        text_tokens=int(codec["text_tokens"]),
        text_width=int(codec["text_width"]),
    )


def latent_shape(data: Mapping[str, Any], codec: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Target latents of one chunk: (frames, channels, height, width)."""
    factor, frames = int(codec["factor"]), int(data["chunk_frames"])
    wan = codec["kind"] == "wan"
    return (
        (frames - 1) // WAN_TIME_FACTOR + 1 if wan else frames,
        WAN_CHANNELS if wan else RGB * factor * factor,
        int(data["height"]) // factor,
        int(data["width"]) // factor,
    )


def parameters_shared(s: ModelSizes) -> int:
    """Parameters of the backbone and the action maps, equal in every row."""
    embedded = _linear(s.patch_values, s.width) + _linear(s.text_width, s.width) + _linear(s.width, s.width)
    timestep = _linear(s.frequency_width, s.width) + _linear(s.width, s.width) + _linear(s.width, 6 * s.width)
    head = 2 * s.width + _linear(s.width, s.patch_values)
    return embedded + timestep + head + s.blocks * parameters_block(s)


def parameters_block(s: ModelSizes) -> int:
    """Parameters of one block of the backbone, its action map included."""
    d = s.width
    action = _linear(ACTION_WIDTH, d) + (s.site == "pre_qkv_gated")
    self_attention = _linear(d, 3 * d) + 2 * d + _linear(d, d)
    text_attention = 2 * d + _linear(d, d) + _linear(d, 2 * d) + 2 * d + _linear(d, d)
    return 6 * d + action + self_attention + text_attention + _linear(d, s.feed_forward) + _linear(s.feed_forward, d)


def parameters_added(s: ModelSizes) -> int:
    """Parameters that the row's mechanism adds."""
    d, row, count = s.width, s.row, len(s.recurrent)
    if isinstance(row, Spatial):
        readout = 2 * d + _linear(d, d) + _linear(d, 2 * d) + _linear(d, d) + 1
        return s.grid * s.grid * s.grid_tokens + count * readout
    if isinstance(row, Ssm):
        if row.kernel is not None and row.expand is not None:
            inner = row.expand * d
            return count * (2 * d + _linear(d, inner) + (row.kernel + 1) * inner + _linear(inner, d) + 1)
        return count * (2 * d + _linear(d, 2 * d) + d + 1 + _linear(d, d))
    return 0


def tokens_forward(s: ModelSizes, slots: int) -> int:
    """Tokens of one sample in self-attention, target and memory, with `slots` valid evidence slots."""
    return s.frame_tokens * (s.frames + s.context_slots(slots))


def tokens_written(s: ModelSizes, slots: int) -> int:
    """Tokens of one sample that pass the blocks in a write of `slots` valid slots; 0 in rows without a state."""
    return s.frame_tokens * slots if s.row.carries_state else 0


def flops_denoise(s: ModelSizes, batch: int, slots: int) -> int:
    """FLOPs of one `denoise` with `slots` valid evidence slots a sample."""
    d, n, v, m = s.width, s.frame_tokens, s.patch_values, s.stored
    frames = s.frames + s.context_slots(slots)
    target, every = n * s.frames, n * frames
    total = 2 * every * v * d + _flops_prompt(s) + 2 * target * d * v
    if m:  # one more frame is embedded, pooled and mixed; pooling and mixing are one matrix
        total += 2 * n * v * d + 2 * m * s.grid * s.grid * n + 2 * m * n * d
    text = s.text_tokens + s.beside_text
    for index in range(s.blocks):
        queries = target if index == s.blocks - 1 else every
        total += _flops_attention(s, frames, every, queries, every) + _flops_rest(s, queries, text)
        if index in s.recurrent:
            total += _flops_recurrent(s, target)
    return batch * total


def flops_write(s: ModelSizes, batch: int, slots: int) -> int:
    """FLOPs of one `write` of `slots` valid slots a sample; 0 in rows without a state."""
    if not s.row.carries_state or slots == 0:
        return 0
    n = s.frame_tokens
    tokens, final = n * slots, s.recurrent[-1]
    total = 2 * tokens * s.patch_values * s.width + _flops_prompt(s)
    for index in range(final + 1):
        total += _flops_attention(s, slots, tokens, tokens, n)
        if index in s.recurrent:
            total += _flops_recurrent(s, tokens, last=index == final)
        if index < final:
            total += _flops_rest(s, tokens, s.text_tokens)
    return batch * total


def flops_step(s: ModelSizes, batch: int, slots: int, history: Sequence[int] = ()) -> int:
    """FLOPs of one training step: forward and backward over the evidence of `history` and the segment's own."""
    written = sum(flops_write(s, batch, count) for count in [*history, slots])
    return STEP_FORWARDS * (flops_denoise(s, batch, slots) + written)


def full_step(s: ModelSizes, batch: int) -> int:
    """`flops_step` with every evidence slot filled, of the segment before too in rows that write it."""
    return flops_step(s, batch, s.slots, (s.slots,) if s.row.carries_state else ())


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _flops_prompt(s: ModelSizes) -> int:
    """Text and timestep embedding."""
    d = s.width
    return 2 * s.text_tokens * (s.text_width * d + d * d) + 2 * d * (s.frequency_width + d + 6 * d)


def _flops_attention(s: ModelSizes, frames: int, tokens: int, queries: int, keys: int) -> int:
    """Self-attention of one block: action, qkv, logits and values over `keys` keys a query, output."""
    d = s.width
    return 2 * frames * ACTION_WIDTH * d + 6 * tokens * d * d + 4 * queries * keys * d + 2 * queries * d * d


def _flops_rest(s: ModelSizes, tokens: int, text: int) -> int:
    """Text attention and feed-forward of one block."""
    d = s.width
    attention = 4 * tokens * d * d + 4 * text * d * d + 4 * tokens * text * d
    return attention + 4 * tokens * d * s.feed_forward


def _flops_recurrent(s: ModelSizes, tokens: int, *, last: bool = False) -> int:
    """A recurrence's two linear maps, of which a write's last block needs only the first, or a read-out."""
    d, row, m = s.width, s.row, s.stored
    if isinstance(row, Ssm):
        if row.expand is not None:
            return 2 * tokens * row.expand * d * d * (1 if last else 2)
        return 2 * tokens * d * d * (2 if last else 3)
    return 4 * tokens * d * d + 4 * m * d * d + 4 * tokens * m * d if m else 0
