"""What a row costs: tokens and floating-point operations, of a sample that has all its evidence.

Measured on a full segment, not on the batches that happened to come: rows are then compared on what
their mechanism asks for, not on the luck of the sampler.

Source: study.md section 5, end.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from workloads.memory.interface import Slots
from workloads.model.action import ACTION_WIDTH
from workloads.model.world_model import WorldModel
from workloads.training.batches import Batch

BACKWARD = 2
"""A backward pass costs two forward ones: a gradient for each of a product's two factors."""


class TokenCount:
    """Tokens of target and memory that the blocks see in a forward; what a state row writes is not among them."""

    def __init__(self, model: WorldModel) -> None:
        self._model = model
        self._context: dict[int, int] = {}

    def __call__(self, batch: Batch) -> int:
        """Tokens of all samples of `batch`, padding included."""
        return batch.target.shape[0] * self.of_sample(batch.target.shape[1], batch.slots)

    def of_sample(self, target: int, slots: Slots) -> int:
        """Tokens of one sample with `target` latents and this many slots."""
        offered = slots.latents.shape[1]
        if offered not in self._context:
            with torch.no_grad():
                self._context[offered] = self._model.mechanism.context(slots).latents.shape[1]
        return (target + self._context[offered]) * self._model.rows * self._model.columns


def full_cost(model: WorldModel, evidence_frames: int, *, global_batch: int) -> dict[str, float]:
    """Cost of a sample and a step with all `evidence_frames` present; `model` is left as it was.

    Returns:
        `tokens`: of one sample's forward; `tokens_written`: of one sample's write, 0 in rows without a
        state; `flops`: of one step, forward and backward of the global batch, multiplications and additions
        of matrix products and attention.
    """
    device = next(model.parameters()).device
    shape = model.shape

    def zeros(*sizes: int) -> Tensor:
        return torch.zeros(sizes, device=device)

    latent = (shape.channels, shape.height, shape.width)
    slots = Slots(
        zeros(1, evidence_frames, *latent),
        zeros(1, evidence_frames, ACTION_WIDTH),
        torch.ones(1, evidence_frames, dtype=torch.bool, device=device),
    )
    target, actions = zeros(1, shape.frames, *latent), zeros(1, shape.frames, ACTION_WIDTH)
    text, sigma = zeros(1, shape.text_tokens, shape.text_width), zeros(1)
    history = (slots,) if model.mechanism.carries_state else ()
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={attention: _attention_flops})
    with torch.no_grad(), counter:
        model(target, sigma, actions, text, slots, history)
    written = evidence_frames * model.rows * model.columns if model.mechanism.carries_state else 0
    return {
        "tokens": float(TokenCount(model).of_sample(shape.frames, slots)),
        "tokens_written": float(written),
        "flops": float(counter.get_total_flops() * (1 + BACKWARD) * global_batch),
    }


def _attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Of torch's attention on a CPU, for which its counter has no formula; shapes are (b, heads, tokens, e)."""
    b, heads, queries, width = query
    return 2 * b * heads * queries * key[2] * (width + value[3])
