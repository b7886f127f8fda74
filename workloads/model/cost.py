"""What a forward costs: tokens and matrix FLOPs, counted from the sizes alone.

A multiply-add is two operations; norms, rotations and other elementwise work are not counted. A
training step is three forwards' worth. Source: study.md section 5 ("Each row reports").
"""

from collections.abc import Sequence

from workloads.model.world_model import PATCH, WorldModel

STEP_FORWARDS = 3
"""A backward costs two forwards."""


def tokens_forward(model: WorldModel, slots: int) -> int:
    """Tokens of one sample in self-attention, target and memory, with `slots` valid evidence slots."""
    return _frame_tokens(model) * (model.shape.frames + model.mechanism.context_slots(slots))


def tokens_written(model: WorldModel, slots: int) -> int:
    """Tokens of one sample that pass the blocks in a write of `slots` valid slots; 0 in rows without a state."""
    return _frame_tokens(model) * slots if model.mechanism.carries_state else 0


def flops_denoise(model: WorldModel, batch: int, slots: int) -> int:
    """FLOPs of one `denoise` with `slots` valid evidence slots a sample."""
    d, n, mechanism = model.width, _frame_tokens(model), model.mechanism
    values = model.shape.channels * PATCH * PATCH
    frames = model.shape.frames + mechanism.context_slots(slots)
    target, every = n * model.shape.frames, n * frames
    summary = n if mechanism.flops_store() else 0
    total = 2 * (every + summary) * values * d + mechanism.flops_store() + _flops_prompt(model)
    total += 2 * target * d * values
    text = model.shape.text_tokens + mechanism.beside_text_tokens()
    last = len(model.blocks) - 1
    for index in range(len(model.blocks)):
        queries = target if index == last else every
        total += _flops_attention(model, frames, every, queries, every) + _flops_rest(model, queries, text)
        if index in mechanism.recurrent:
            total += mechanism.flops_block(target)
    return batch * total


def flops_write(model: WorldModel, batch: int, slots: int) -> int:
    """FLOPs of one `write` of `slots` valid slots a sample; 0 in rows without a state."""
    mechanism = model.mechanism
    if not mechanism.carries_state or slots == 0:
        return 0
    n = _frame_tokens(model)
    tokens, final = n * slots, mechanism.recurrent[-1]
    total = 2 * tokens * model.shape.channels * PATCH * PATCH * model.width + _flops_prompt(model)
    for index in range(final + 1):
        total += _flops_attention(model, slots, tokens, tokens, n)
        if index in mechanism.recurrent:
            total += mechanism.flops_block(tokens, writes=True, last=index == final)
        if index < final:
            total += _flops_rest(model, tokens, model.shape.text_tokens)
    return batch * total


def flops_step(model: WorldModel, batch: int, slots: int, history: Sequence[int] = ()) -> int:
    """FLOPs of one training step: forward and backward over the evidence of `history` and the segment's own."""
    written = sum(flops_write(model, batch, count) for count in [*history, slots])
    return STEP_FORWARDS * (flops_denoise(model, batch, slots) + written)


def _frame_tokens(model: WorldModel) -> int:
    return model.rows * model.columns


def _flops_prompt(model: WorldModel) -> int:
    """Text and timestep embedding."""
    d, shape = model.width, model.shape
    return 2 * shape.text_tokens * (shape.text_width * d + d * d) + 2 * d * (model.frequency_width + d + 6 * d)


def _flops_attention(model: WorldModel, frames: int, tokens: int, queries: int, keys: int) -> int:
    """Self-attention of one block: action, qkv, logits and values over `keys` keys a query, output."""
    d = model.width
    return 2 * frames * 12 * d + 6 * tokens * d * d + 4 * queries * keys * d + 2 * queries * d * d


def _flops_rest(model: WorldModel, tokens: int, text: int) -> int:
    """Text attention and feed-forward of one block."""
    d = model.width
    attention = 4 * tokens * d * d + 4 * text * d * d + 4 * tokens * text * d
    return attention + 4 * tokens * d * model.feed_forward
