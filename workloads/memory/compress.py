r"""Compression of the retrieved frames: weights that fade with age, pooling in time, or both.

The anchor is neither weighted nor pooled. A slot of age $j$ (in slots, newest 0) has the weight
$w_j = \gamma^j$, and $\log w_j$ is added to the attention logits of its keys in every block: a
weight multiplied into tokens would be undone by the adaptive norm that follows (`scale: latents`
does that, to be compared). Pooling averages $r$ neighbours in time, in groups cut from the newest
end; the oldest group may be short and is averaged over its own members. What is pooled is

$$ 0.60\,\bar x + 0.25\,U_2 A_2 \bar x + 0.15\,U_4 A_4 \bar x $$

with $\bar x$ the mean of the group, $A_s$ the $s \times s$ average over space and $U_s$ its
bilinear inverse ("packed multiscale"). A pooled slot stands at the mean position and the circular mean of
yaw of its members, not at the mean of their rotation matrices, which is no rotation.

Ages and groups are counted over each sample's own valid slots, so a sample's result does not
depend on the padding of others. No state crosses chunks, no parameter is added.

Source: study.md section 5, rows `compress-*`; reference.md a.2, a.3.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.memory.interface import ContextTokens, Mechanism, Sizes, Slots
from workloads.study.memory.compress import Compress

HALF_WEIGHT = 0.25
"""Share of the 2 x 2 average in a pooled slot."""
QUARTER_WEIGHT = 0.15
"""Share of the 4 x 4 average."""


class Compressed(Mechanism):
    """The anchor, and the retrieved slots after weighting or pooling or both."""

    def __init__(self, row: Compress, sizes: Sizes) -> None:
        super().__init__()
        self.decay, self.ratio, self.scale = row.decay, row.ratio, row.scale

    def context(self, slots: Slots) -> ContextTokens:
        """Pool, then weight: ages count pooled slots."""
        slots = slots.trimmed()
        if slots.latents.shape[1] == 1:
            return ContextTokens(slots.latents, slots.actions, slots.valid)
        if self.ratio is not None:
            with torch.autocast(slots.latents.device.type, enabled=False):  # evidence is averaged in float32
                slots = length_pooled(slots, self.ratio)
        if self.decay is None:
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


def length_pooled(slots: Slots, ratio: int) -> Slots:
    """The anchor and one slot for every `ratio` retrieved ones, oldest first, missing ones at the end."""
    retrieved = slots.valid[:, 1:]  # (b, k-1)
    count = retrieved.sum(1, keepdim=True)  # (b, 1)
    slot = torch.arange(retrieved.shape[1], device=retrieved.device)
    groups = -(-count // ratio)  # (b, 1)
    group_of = groups - 1 - torch.div(count - 1 - slot, ratio, rounding_mode="floor")  # (b, k-1)
    most = -(-retrieved.shape[1] // ratio)
    member = (group_of[:, None, :] == torch.arange(most, device=slot.device)[:, None]) & retrieved[:, None, :]
    pooling = member / member.sum(2, keepdim=True).clamp(min=1)  # (b, g, k-1)
    mean = torch.einsum("bgk,bkchw->bgchw", pooling, slots.latents[:, 1:])
    poses = pooled_poses(pooling, slots.actions[:, 1:])
    return Slots(
        torch.cat([slots.latents[:, :1], multiscale(mean)], 1),
        torch.cat([slots.actions[:, :1], poses], 1),
        torch.cat([slots.valid[:, :1], member.any(2)], 1),
    )


def multiscale(latents: Tensor) -> Tensor:
    """Packed multiscale: `latents` (b, g, c, h, w) mixed with their 2 x 2 and 4 x 4 averages. Keeps constants."""
    flat = latents.flatten(0, 1)
    size = (flat.shape[2], flat.shape[3])
    mixed = (1 - HALF_WEIGHT - QUARTER_WEIGHT) * flat
    for stride, share in ((2, HALF_WEIGHT), (4, QUARTER_WEIGHT)):
        coarse = F.avg_pool2d(flat, stride, ceil_mode=True, count_include_pad=False)
        mixed = mixed + share * F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return mixed.view_as(latents)


def pooled_poses(pooling: Tensor, actions: Tensor) -> Tensor:
    """Mean position and circular mean of yaw: `pooling` (b, g, k) over `actions` (b, k, 12) gives (b, g, 12).

    A relative action is Rz(yaw), row-major, then the translation; both means are taken in the
    frame of the segment's first pose, where they are the same as in the world.
    """
    mean = pooling @ actions  # (b, g, 12)
    length = torch.hypot(mean[..., 0], mean[..., 3])
    turned = length > 1e-6
    cosine = torch.where(turned, mean[..., 0] / length.clamp(min=1e-6), torch.ones_like(length))
    sine = torch.where(turned, mean[..., 3] / length.clamp(min=1e-6), torch.zeros_like(length))
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    rotation = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], -1)
    return torch.cat([rotation, mean[..., 9:]], -1)
