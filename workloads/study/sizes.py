"""Model sizes: tokens, parameters and matrix FLOPs of a row, without torch.

A multiply-add is two operations; norms, rotations and other elementwise work are not counted. A
training step is three forwards' worth. That this equals the real model, parameter for parameter and FLOP
for FLOP, is tested for every row of matrix.yaml (tests/model/test_sizes.py).

Letters: `d` width, `n` tokens of one latent frame, `v` values of a patch, `f` feed-forward width, `m`
stored tokens. Source: study.md sections 4 and 5 ("Each row reports"). Standard library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.study.memory.base import PATCH, BackboneSizes, BlockPass, MemoryRow, linear

ACTION_WIDTH = 12
"""9 rotation entries, row-major, then 3 of translation in metres."""
STEP_FORWARDS = 3
"""A backward costs two forwards."""
RGB = 3
POOL_FRAMES = 7601
"""Of a scene of the published pool."""
WAN_CHANNELS, WAN_TIME_FACTOR = 16, 4
"""Of the Wan 2.1 VAE: channels of a latent, and frames of one after the first."""


@dataclass(frozen=True, kw_only=True)
class ModelSizes(BackboneSizes):
    """All that sizes one row's model."""

    row: MemoryRow
    """As it is trained."""
    slots: int
    """K, evidence frames of a segment, anchor included."""
    streamed: tuple[int, int] | None = None
    """Of a state that every frame is written into: frames written for one chunk, and at most in one training sample."""

    @property
    def written(self) -> int:
        """Frames that are written for one chunk."""
        return self.slots if self.streamed is None else self.streamed[0]

    @property
    def trained(self) -> int:
        """Frames that are written in a sample of training: the evidence of two segments, or of a stream's longest."""
        return 2 * self.slots if self.streamed is None else self.streamed[1]

    @property
    def recurrent(self) -> tuple[int, ...]:
        """Blocks in which the row has something of its own; () where it has not."""
        return self.row.recurrent(self)


PAPER = BackboneSizes(
    width=1536,
    blocks=30,
    heads=12,
    feed_forward=8960,
    frequency_width=256,
    recurrent_every=4,
    grid=8,
    grid_tokens=64,
    site="pre_qkv",
    channels=WAN_CHANNELS,
    rows=22,
    columns=40,
    frames=21,
    text_tokens=512,
    text_width=4096,
)
"""Of the profile `paper`: what a row remembers is compared at this size, whatever profile is run."""
PAPER_HISTORY = 241
"""Frames that may be evidence of the fourth chunk of the branch loop at that size: three of 80, and the first."""


def remembered(row: MemoryRow, slots: int) -> dict[str, float]:
    """`floats_read` and `floats_kept` of a row at the paper's size, with `slots` evidence frames, anchor included."""
    return {
        "floats_read": row.floats_read(PAPER, slots),
        "floats_kept": row.floats_kept(PAPER, slots, PAPER_HISTORY),
    }


def model_sizes(controls: Mapping[str, Mapping[str, Any]], row: MemoryRow) -> ModelSizes:
    """Sizes of `row`, as it is trained, under resolved `controls` (data, codec, evidence, action, backbone)."""
    backbone, codec = controls["backbone"], controls["codec"]
    latent = latent_shape(controls["data"], codec)
    slots, chunk, scene = row.evidence_frames(controls["evidence"]), int(controls["data"]["chunk_frames"]), 0
    if row.streams:
        scene = scene_frames(controls["data"])
    return ModelSizes(
        row=row,
        slots=slots,
        streamed=(row.frames_written(slots, chunk), row.frames_trained(slots, chunk, scene)) if row.streams else None,
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


def scene_frames(data: Mapping[str, Any]) -> int:
    """Frames of a scene, at most: four chunks of a rendered one; those of the published pool."""
    return 4 * (int(data["chunk_frames"]) - 1) + 1 if data["source"] == "worlds" else POOL_FRAMES


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
    embedded = linear(s.patch_values, s.width) + linear(s.text_width, s.width) + linear(s.width, s.width)
    timestep = linear(s.frequency_width, s.width) + linear(s.width, s.width) + linear(s.width, 6 * s.width)
    head = 2 * s.width + linear(s.width, s.patch_values)
    return embedded + timestep + head + s.blocks * parameters_block(s)


def parameters_block(s: ModelSizes) -> int:
    """Parameters of one block of the backbone, its action map included."""
    d = s.width
    action = linear(ACTION_WIDTH, d) + (s.site == "pre_qkv_gated")
    self_attention = linear(d, 3 * d) + 2 * d + linear(d, d)
    text_attention = 2 * d + linear(d, d) + linear(d, 2 * d) + 2 * d + linear(d, d)
    return 6 * d + action + self_attention + text_attention + linear(d, s.feed_forward) + linear(s.feed_forward, d)


def parameters_added(s: ModelSizes) -> int:
    """Parameters that the row's mechanism adds."""
    return s.row.parameters(s)


def tokens_forward(s: ModelSizes, slots: int) -> int:
    """Tokens of one sample in self-attention, target and memory, with `slots` valid evidence slots."""
    return s.frame_tokens * (s.frames + s.row.context_slots(slots))


def tokens_written(s: ModelSizes, slots: int) -> int:
    """Tokens of one sample that pass the blocks in a write of `slots` valid slots; 0 in rows without a state."""
    return s.frame_tokens * slots if s.row.carries_state else 0


def flops_denoise(s: ModelSizes, batch: int, slots: int) -> int:
    """FLOPs of one `denoise` with `slots` valid evidence slots a sample."""
    d, n, v = s.width, s.frame_tokens, s.patch_values
    frames = s.frames + s.row.context_slots(slots)
    target, every = n * s.frames, n * frames
    total = 2 * every * v * d + _flops_prompt(s) + 2 * target * d * v
    total += s.row.flops_store(s, slots) + s.row.flops_looks(s, every)
    text, own = s.text_tokens + s.row.beside_text(s), s.recurrent
    for index in range(s.blocks):
        queries = target if index == s.blocks - 1 else every
        total += _flops_attention(s, frames, every, queries, every) + _flops_rest(s, queries, text)
        total += s.row.flops_text(s, queries)
        if index in own:
            total += s.row.flops_block(s, BlockPass(tokens=target, frames=s.frames, stream=queries))
    return batch * total


def flops_write(s: ModelSizes, batch: int, slots: int) -> int:
    """FLOPs of one `write` of `slots` valid slots a sample; 0 in rows without a state."""
    if not s.row.carries_state or slots == 0:
        return 0
    n = s.frame_tokens
    tokens, own = n * slots, s.recurrent
    final = own[-1]
    total = 2 * tokens * s.patch_values * s.width + _flops_prompt(s) + s.row.flops_looks(s, tokens)
    for index in range(final + 1):
        total += _flops_attention(s, slots, tokens, tokens, n)
        if index in own:
            at = BlockPass(tokens=tokens, frames=slots, stream=tokens, write=True, last=index == final)
            total += s.row.flops_block(s, at)
        if index < final:
            total += _flops_rest(s, tokens, s.text_tokens)
    return batch * total


def flops_step(s: ModelSizes, batch: int, slots: int, history: Sequence[int] = ()) -> int:
    """FLOPs of one training step: forward and backward over the evidence of `history` and the segment's own."""
    written = sum(flops_write(s, batch, count) for count in [*history, slots])
    return STEP_FORWARDS * (flops_denoise(s, batch, slots) + written)


def full_step(s: ModelSizes, batch: int) -> int:
    """`flops_step` with every evidence slot filled, of the segment before too in rows that write it."""
    return flops_step(s, batch, s.slots, (s.trained - s.slots,) if s.row.carries_state else ())


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
