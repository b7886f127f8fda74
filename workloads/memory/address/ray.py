r"""Address `ray`: queries, keys and values hold the camera of their token, so that places count and not turns alone.

A frame's camera is the projective matrix $P = \mathrm{lift}(K)\,[R \mid t]$, from world to image, with the field of
view of every frame. Groups of four channels hold homogeneous coordinates: queries are multiplied by $P^\top$, keys and
values by $P^{-1}$, and what attention gives by $P$. So query $i$ meets key and value $j$ through $P_i P_j^{-1}$, the
way from one camera's image to the other's, and no other world is needed:

$$o = P_i \sum_j \mathrm{softmax}_j\big((P_i^\top q)^\top P_j^{-1} k_j\big)\, P_j^{-1} v_j .$$

A quarter of a head's channels is used, at least four, in place of the slowest pairs of time. The column's pairs are
turned by bearing as in `bearing.py`: a matrix turns once in a turn of the camera, which alone finds a place too
coarsely. Row and the other pairs of time stay.

Moving and turning the whole world changes nothing; moving one camera does, which a bearing does not notice. Sources:
study.md section 5, `ray`; PRoPE (arXiv:2507.10496), which gives half of the channels to the matrices and the others
to row and column; GTA (arXiv:2310.10375), which adds faster turns beside the matrix.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workloads.data.geometry import HALF_VIEW_DEG
from workloads.memory.address.bearing import Bearing
from workloads.memory.interface import Address, Positions, Sizes, float32
from workloads.memory.rotary import Rotary
from workloads.study.memory.address.ray import RaySpec

GROUP = 4
"""Channels that one matrix multiplies: homogeneous coordinates."""
UNIT_M = 4.0
"""Metres that count as 1 in a matrix: half of how far a frame is taken to see, so that entries stay near 1."""


class Ray(Address):
    """`looks`: poses (b, f, 12) of the frames, as they are."""

    def __init__(self, spec: RaySpec, sizes: Sizes) -> None:
        super().__init__(spec, sizes)
        self.yaw, self.aspect, self.tokens = spec.yaw, sizes.columns / sizes.rows, sizes.tokens
        self.bearing = Bearing(spec, sizes)
        self.channels = matrix_channels(sizes.width // sizes.heads)

    def looks(self, poses: Tensor) -> Tensor:
        """The poses; without yaw those of a camera that stays where it is and looks ahead."""
        return float32(poses if self.yaw else still(poses))

    def positions(self, rotary: Positions, looks: Tensor) -> Positions:
        """Those of `bearing`, which leave the channels of the matrices alone, and the matrices."""
        turned = self.bearing.positions(rotary, self.bearing.looks(looks))
        assert isinstance(turned, Rotary)
        here = slice(self.channels.start // 2, self.channels.stop // 2)
        turned.table[:, :, here, 0], turned.table[:, :, here, 1] = 1, 0
        camera, world = projections(looks, self.aspect)
        return Cameras(turned, camera, world, self.channels, self.tokens)


@dataclass(frozen=True)
class Cameras:
    """Positions of which some channels are in the world of the frames' cameras."""

    rotary: Rotary
    camera: Tensor
    """(b, f, 4, 4), from world to image."""
    world: Tensor
    """(b, f, 4, 4), from image to world."""
    channels: slice
    """Of a head."""
    tokens: int
    """`n`, tokens of one frame."""

    def turned(self, x: Tensor) -> Tensor:
        """Queries and keys (b, l, 2, heads, e)."""
        both = torch.stack([self.camera.transpose(-1, -2), self.world], 2)  # (b, f, 2, 4, 4)
        return self._through(both, self.rotary.turned(x))

    def values(self, x: Tensor) -> Tensor:
        """Values (b, l, heads, e) in the world."""
        return self._through(self.world[:, :, None], x[:, :, None])[:, :, 0]

    def outputs(self, x: Tensor) -> Tensor:
        """What attention gives (b, q, heads, e) in the image of each token's camera."""
        return self._through(self.camera[:, : x.shape[1] // self.tokens, None], x[:, :, None])[:, :, 0]

    def _through(self, matrices: Tensor, x: Tensor) -> Tensor:
        """Tokens (b, l, s, heads, e) with their groups multiplied by `matrices` (b, f, s, 4, 4), in float32.

        Written as a sum of products: a product of matrices would be computed in bfloat16 under autocast.
        """
        first, stop = self.channels.start, self.channels.stop
        b, _, s, heads, _ = x.shape
        own = float32(x[..., first:stop]).reshape(b, -1, self.tokens, s, heads, (stop - first) // GROUP, 1, GROUP)
        through = (own * matrices[:, :, None, :, None, None]).sum(-1)
        through = through.reshape(*x.shape[:-1], stop - first).to(x.dtype)
        return torch.cat([x[..., :first], through, x[..., stop:]], -1)


def still(poses: Tensor) -> Tensor:
    """Poses as many as `poses` (b, f, 12) of a camera that stays where it is and looks ahead."""
    ahead = torch.cat([torch.eye(3).flatten(), torch.zeros(3)])
    return ahead.to(poses.device).expand(poses.shape)


def matrix_channels(head: int) -> slice:
    """Channels of a head of `head` that the matrices take: a quarter, in whole groups, up to the first of row.

    A narrow head has fewer for time; row then gives some of its own.
    """
    groups = max(1, head // (4 * GROUP))
    first = max(0, head - 4 * (head // 6) - GROUP * groups)
    return slice(first, first + GROUP * groups)


def projections(poses: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """Matrices from world to image and back, (b, f, 4, 4) each, of `poses` (b, f, 12); `aspect` is width by height.

    Image axes are right, down, ahead and 1; at the edge of the view, right is half of ahead. A missing slot has
    zeros for a pose: its matrices are finite and nothing reads them.
    """
    # Columns of a rotation are the camera's axes in the world.
    forward, right, up = poses[..., :9].reshape(*poses.shape[:2], 3, 3).unbind(-1)
    axes = torch.stack([right, -up, forward], -2)  # (b, f, 3, 3), world to camera
    place = poses[..., 9:] / UNIT_M
    focal = 1 / (2 * math.tan(math.radians(HALF_VIEW_DEG)))  # of a picture of width 1
    scale = torch.tensor([focal, focal * aspect, 1.0], device=poses.device)
    seen = torch.cat([axes, -(axes * place[..., None, :]).sum(-1, keepdim=True)], -1) * scale[:, None]
    back = torch.cat([axes.transpose(-1, -2) / scale, place[..., None]], -1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], device=poses.device).expand(*poses.shape[:2], 1, 4)
    return torch.cat([seen, last], -2), torch.cat([back, last], -2)
