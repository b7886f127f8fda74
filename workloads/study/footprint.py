"""Memory and disk footprint of a training, estimated from sizes, without torch.

*Activations* are counted tensor by tensor: what autograd keeps between a block's forward and its backward, read
off `workloads/model/blocks.py`, and what a memory mechanism adds is declared by its row (`workloads/study/memory`).
tests/model/test_footprint.py compares the sum with what autograd really keeps (within 5 %). A storage that several
operations keep counts once. Under bfloat16 a linear map keeps its input and output in 2 bytes; norms, gates and
recurrences keep 4.

*States* are float32: parameters, gradients and AdamW's two moments, whole or in ZeRO shards. What is neither (buffers
of kernels and of the backward, the device's context, what the allocator cannot use) is an allowance; see
docs/explanation/sizes.md for how far the sum lies from what was measured. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.study.memory.base import FLOAT, BlockPass
from workloads.study.sizes import (
    POOL_FRAMES,
    ModelSizes,
    latent_shape,
    parameters_added,
    parameters_block,
    parameters_shared,
    tokens_forward,
)

GIB = 2**30
CONTEXT_GIB = 1.0
"""Allowance: CUDA context, NCCL, kernels; or on a CPU the interpreter with torch and DeepSpeed."""
SLACK = 0.03
"""Allowance: share of activations and states that the allocator holds and cannot use."""
BUCKET = 500_000_000
"""DeepSpeed's default `reduce_bucket_size`, in elements."""
MAX_LIVE = 1_000_000_000
"""DeepSpeed's default `stage3_max_live_parameters`."""
CHECKPOINTS_KEPT = 2
"""Newest training checkpoints that stay until the job is done."""
POOL_SCENES = 100
"""Of the published Context-as-Memory pool; assumed when the plan is made, for the pool is not opened."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Predicted bytes of one training on each device."""

    states: int
    """Parameters, gradients, moments and what ZeRO keeps beside them."""
    activations: int
    """Kept between forward and backward of one micro-batch."""
    working: int
    """The backward's own buffers, and one block's insides where they are computed again."""
    allowance: int
    host: int
    """Offloaded to the host's memory by this device's rank."""

    @property
    def total(self) -> int:
        """Predicted peak of the device."""
        return self.states + self.activations + self.working + self.allowance


def footprint(
    s: ModelSizes, *, micro_batch: int, ranks: int, precision: str, deepspeed: Mapping[str, Any]
) -> Footprint:
    """What one of `ranks` devices holds at its peak while `s` is trained in `precision` with `deepspeed` settings."""
    wide = 2 if precision == "bfloat16" else FLOAT
    states, host = _states(s, ranks, deepspeed.get("zero_optimization", {}))
    # Autocast keeps the linear maps' weights in bfloat16 until the backward is over.
    states += 2 * (parameters_shared(s) + parameters_added(s)) if wide == 2 else 0
    recomputed = deepspeed.get("activation_checkpointing") is not None
    kept = micro_batch * activations(s, wide, recomputed=recomputed)
    working = micro_batch * _working(s, wide)
    if recomputed:
        working += micro_batch * _largest_block(s, wide)
    return Footprint(
        states=states,
        activations=kept,
        working=working,
        allowance=round(CONTEXT_GIB * GIB + SLACK * (states + kept + working)),
        host=host,
    )


def activations(s: ModelSizes, wide: int, *, recomputed: bool) -> int:
    """Bytes that autograd keeps for one sample; `wide` bytes for what autocast computes in."""
    d, n, v = s.width, s.frame_tokens, s.patch_values
    every, target = tokens_forward(s, s.slots), n * s.frames
    text = s.text_tokens + s.row.beside_text(s)
    total = every * v * wide + s.row.activations_looks(s, every, wide)  # patches, and where tokens look
    total += s.text_tokens * (s.text_width * wide + 2 * d * wide)  # text, and both sides of its embedding's GELU
    total += target * (2 * d * FLOAT + d * wide + v * FLOAT)  # the head
    total += target * v * FLOAT  # the loss
    if wide == FLOAT or recomputed:
        total += text * d * FLOAT  # the words, which all blocks share
    for index in range(s.blocks):
        queries = target if index == s.blocks - 1 else every
        total += every * d * FLOAT if recomputed else _block(s, index, every, queries, text, wide)
    if s.row.carries_state:
        # The evidence of the segment before is written with this one's: one pass over twice the slots.
        written = s.trained * n
        total += written * v * wide + s.row.activations_looks(s, written, wide)
        final = s.recurrent[-1]
        for index in range(final + 1):
            last = index == final
            total += written * d * FLOAT if recomputed else _written_block(s, index, written, wide, last=last)
            if recomputed and index in s.recurrent:
                total += s.row.activations_state(s, _write_pass(s, written, last=last))
    return total + s.row.activations_store(s, s.slots, wide)


def _block(s: ModelSizes, index: int, every: int, queries: int, text: int, wide: int) -> int:
    target = s.frame_tokens * s.frames
    total = _attention(s, every, queries, wide) + _text_and_feed(s, queries, text, wide)
    total += s.row.activations_text(s, queries, wide)
    total += s.row.activations_attention(s, every, queries, wide)
    if index in s.recurrent:
        total += s.row.activations_block(s, BlockPass(tokens=target, frames=s.frames, stream=queries), wide)
    return total


def _written_block(s: ModelSizes, index: int, tokens: int, wide: int, *, last: bool) -> int:
    total = _attention(s, tokens, tokens, wide)
    if index in s.recurrent:
        total += s.row.activations_block(s, _write_pass(s, tokens, last=last), wide)
    return total if last else total + _text_and_feed(s, tokens, s.text_tokens, wide)


def _write_pass(s: ModelSizes, tokens: int, *, last: bool) -> BlockPass:
    """Both segments' evidence in one pass."""
    return BlockPass(tokens=tokens, frames=s.trained, stream=tokens, write=True, last=last)


def _attention(s: ModelSizes, every: int, queries: int, wide: int) -> int:
    """Self-attention of `every` tokens, of which `queries` ask."""
    d = s.width
    # input, its norm; the map's input; q, k, v; normed q, k; rotated q, k. Then what attention gives, and what the
    # gate multiplies.
    kept = every * d * (2 * FLOAT + wide + 3 * wide + 2 * FLOAT + 2 * wide) + queries * d * (wide + FLOAT)
    return kept + (every * d * FLOAT if s.site == "pre_norm" else 0)


def _text_and_feed(s: ModelSizes, queries: int, text: int, wide: int) -> int:
    """Text attention and feed-forward."""
    d = s.width
    # input, map's input, normed query, query, what attention gives
    read = queries * d * (2 * FLOAT + 3 * wide if wide != FLOAT else 5 * FLOAT)
    # key and value, normed key, key; under autocast the words again
    words = text * d * (2 * wide + FLOAT + wide + (wide if wide != FLOAT else 0))
    # input, its norm, the map's input, what the gate multiplies; both sides of the GELU
    fed = queries * (d * (3 * FLOAT + wide) + 2 * s.feed_forward * wide)
    return read + words + fed


def _largest_block(s: ModelSizes, wide: int) -> int:
    """What the block that keeps most holds while it is computed again."""
    every, text = tokens_forward(s, s.slots), s.text_tokens + s.row.beside_text(s)
    sizes = [_block(s, index, every, every, text, wide) for index in {0, *s.recurrent[:1]}]
    if s.row.carries_state:
        sizes.append(_written_block(s, 0, s.trained * s.frame_tokens, wide, last=False))
    return max(sizes)


def _working(s: ModelSizes, wide: int) -> int:
    """Gradients alive at once in a block's backward: of the feed-forward, or of q, k and v; and its input's."""
    tokens = tokens_forward(s, s.slots)
    if s.row.carries_state:
        tokens = max(tokens, s.trained * s.frame_tokens)
    return tokens * (2 * s.width * FLOAT + max(2 * s.feed_forward * wide, 5 * s.width * FLOAT))


def _states(s: ModelSizes, ranks: int, zero: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes of parameters, gradients and moments on the device, and on the host where they are offloaded."""
    whole = FLOAT * (parameters_shared(s) + parameters_added(s))
    shard = -(-whole // ranks)
    stage = int(zero.get("stage", 0))
    if stage == 0:
        return 4 * whole, 0
    bucket = FLOAT * int(float(zero.get("reduce_bucket_size", BUCKET)))
    bucket *= 2 if zero.get("overlap_comm", stage == 3) else 1
    offloaded = str(zero.get("offload_optimizer", {}).get("device", "none")) != "none"
    optimiser = 3 * shard  # a copy of the parameters that the moments belong to, and two moments
    on_device, on_host = (0, optimiser) if offloaded else (optimiser, 0)
    if stage == 3:
        on_parameters = str(zero.get("offload_param", {}).get("device", "none")) != "none"
        live = min(whole, FLOAT * int(float(zero.get("stage3_max_live_parameters", MAX_LIVE))))
        live = max(live, FLOAT * parameters_block(s))
        # shards of parameters and gradients; parameters gathered for use
        on_device += (0 if on_parameters else shard) + shard + live + bucket
        on_host += shard if on_parameters else 0
    else:
        on_device += whole + (shard if stage == 2 else whole) + bucket
    return on_device, on_host


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Predicted bytes on disk."""

    weights: int
    checkpoints: int
    """Of one training while it runs; they go when it is done."""
    latents: int
    pool: int
    """Rendered frames, uncompressed; 0 where the pool is the user's."""
    assumption: str
    stable: int = 0
    """Published states with which longer trainings begin."""


def stable_bytes(s: ModelSizes) -> int:
    """The state with which a longer training begins: weights and two moments."""
    return 3 * weights_bytes(s)


def weights_bytes(s: ModelSizes) -> int:
    """Published weights of one training."""
    return FLOAT * (parameters_shared(s) + parameters_added(s))


def checkpoint_bytes(s: ModelSizes) -> int:
    """Checkpoints of one training at their most: weights and two moments, those that stay and one being written."""
    return 3 * weights_bytes(s) * (CHECKPOINTS_KEPT + 1)


def latents_and_pool(data: Mapping[str, Any], codec: Mapping[str, Any]) -> tuple[int, int, str]:
    """Bytes of latents and of rendered frames, and what was assumed for them."""
    frames, channels, height, width = latent_shape(data, codec)
    wan = codec["kind"] == "wan"
    one = channels * height * width * (2 if wan else FLOAT)
    chunk = int(data["chunk_frames"])
    if data["source"] == "worlds":
        trained, length = int(data["train_scenes"]), 4 * (chunk - 1) + 1
        scenes = trained + int(data["held_out_scenes"])
        opened = int(data["open_prompts"]) * int(data["open_variants"])
        said = f"{scenes} scenes of {length} frames and {opened} open-domain scenes, frames uncompressed"
        pool = (scenes * length + opened * length) * int(data["height"]) * int(data["width"]) * 3
        scenes += opened
    else:
        trained, length, pool, scenes = POOL_SCENES, POOL_FRAMES, 0, POOL_SCENES
        said = f"a pool of {scenes} scenes of {length} frames, all of them trained on"
    latents = scenes * length * one
    if wan:
        starts = (length - chunk) // 4 + 1
        latents += trained * starts * frames * one
        said += f"; a clip of {frames} latents from every 4th frame"
    return latents, pool, said


def memory_remedies(s: ModelSizes, *, micro_batch: int, ranks: int, deepspeed: Mapping[str, Any]) -> list[str]:
    """What would make a training smaller on each device, the cheapest first."""
    zero = deepspeed.get("zero_optimization", {})
    stage, helps = int(zero.get("stage", 0)), []
    if deepspeed.get("activation_checkpointing") is None:
        helps.append("activation checkpointing (deepspeed: {activation_checkpointing: {}})")
    if micro_batch > 1:
        helps.append(f"a smaller micro-batch by accumulation (execution.micro_batch is {micro_batch})")
    if ranks > 1 and stage < 3:
        helps.append(f"a higher ZeRO stage (zero_optimization.stage is {stage}; 3 shards parameters too)")
    if "offload_optimizer" not in zero:
        helps.append("offloading the optimiser to the host (cluster/deepspeed/zero3-offload.json)")
    if micro_batch > 1 or stage > 0:
        helps.append(f"more devices than {ranks} (resources.train.devices)")
    return [*helps, *s.row.remedies(), "devices with more memory"]
