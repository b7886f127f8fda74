r"""Write `weighted`: older slots count less; the anchor is not weighted.

A slot of age $j$ (in slots, newest 0) has the weight $w_j = \gamma^j$, and $\log w_j$ is added to the attention
logits of its keys in every block: a weight multiplied into tokens would be undone by the adaptive norm that follows
(`scale: latents` does that, to be compared). Slots may be pooled first (a hybrid); ages then count pooled slots.

Ages are counted over each sample's own valid slots. No state crosses chunks, no parameter is added.
Source: study.md section 5, rows `compress-weight`, `compress-hybrid-*`; reference.md a.2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.memory.interface import ContextTokens, FrameWrite, Sizes, Slots
from workloads.memory.write.pooled import Pooled
from workloads.study.memory.write.weighted import WeightedSpec


class Weighted(FrameWrite):
    """The anchor, and the retrieved slots after weighting."""

    def __init__(self, spec: WeightedSpec, sizes: Sizes) -> None:
        super().__init__()
        self.decay, self.scale = spec.decay, spec.scale
        self.pooling = None if spec.pooled is None else Pooled(spec.pooled, sizes)

    def context(self, slots: Slots) -> ContextTokens:
        """Pool, then weight."""
        slots = slots.trimmed()
        if self.pooling is not None:
            slots = self.pooling.pooled(slots)
        if slots.latents.shape[1] == 1:
            return ContextTokens(slots.latents, slots.actions, slots.valid)
        log_weight = ages(slots.valid) * math.log(self.decay)
        if self.scale == "logits":
            return ContextTokens(slots.latents, slots.actions, slots.valid, log_weight=log_weight)
        return ContextTokens(slots.latents, slots.actions, slots.valid, scale=log_weight.exp())


def ages(valid: Tensor) -> Tensor:
    """Age of each slot in slots, (b, k) float32: the newest valid retrieved slot 0, the anchor 0.

    `valid` is (b, k), the anchor first, then retrieved slots oldest first, missing ones at the end.
    """
    retrieved = valid[:, 1:]
    slot = torch.arange(retrieved.shape[1], device=valid.device)
    age = (retrieved.sum(1, keepdim=True) - 1 - slot).clamp(min=0)
    return F.pad(age, (1, 0)).float()
