r"""Write `pooled`: neighbours in time averaged into one slot; the anchor is not pooled.

Averaged are $r$ neighbours in time, in groups cut from the newest end; the oldest group may be short and is averaged
over its own members. What is pooled is

$$ 0.60\,\bar x + 0.25\,U_2 A_2 \bar x + 0.15\,U_4 A_4 \bar x $$

with $\bar x$ the mean of the group, $A_s$ the $s \times s$ average over space and $U_s$ its
bilinear inverse ("packed multiscale"). A pooled slot stands at the mean position and the circular mean of
yaw of its members, not at the mean of their rotation matrices, which is no rotation.

Groups are counted over each sample's own valid slots, so a sample's result does not depend on the padding of others. No
state crosses chunks, no parameter is added. Source: study.md section 5, rows `compress-length-*`; reference.md a.3.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.memory.interface import ContextTokens, FrameWrite, Sizes, Slots
from workloads.study.memory.write.pooled import PooledSpec

HALF_WEIGHT = 0.25
"""Share of the 2 x 2 average in a pooled slot."""
QUARTER_WEIGHT = 0.15
"""Share of the 4 x 4 average."""


class Pooled(FrameWrite):
    """The anchor, and the retrieved slots after pooling."""

    def __init__(self, spec: PooledSpec, sizes: Sizes) -> None:
        super().__init__()
        self.ratio = spec.ratio

    def context(self, slots: Slots) -> ContextTokens:
        """Pool what was retrieved."""
        kept = self.pooled(slots.trimmed())
        return ContextTokens(kept.latents, kept.actions, kept.valid)

    def pooled(self, slots: Slots) -> Slots:
        """The slots after pooling; evidence is averaged in float32."""
        if slots.latents.shape[1] == 1:
            return slots
        with torch.autocast(slots.latents.device.type, enabled=False):
            return length_pooled(slots, self.ratio)


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
    return replace(
        slots,
        latents=torch.cat([slots.latents[:, :1], multiscale(mean)], 1),
        actions=torch.cat([slots.actions[:, :1], poses], 1),
        valid=torch.cat([slots.valid[:, :1], member.any(2)], 1),
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
