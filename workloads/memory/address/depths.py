r"""Address `depths`: queries and keys are turned by where points of their rays lie, at several hypotheses of depth.

A token at place $t$ that looks along $\theta$ would see, at the depth $z$, the point $t + z\,(\cos\theta, \sin\theta)$.
Seen from where the segment begins, that point lies in the direction $\varphi_z$; two cameras that see the same thing
at that depth have the same $\varphi_z$, wherever they stand. A bearing is the hypothesis that everything is
infinitely far: the column's pairs keep it (`bearing.py`). A quarter of a head's channels, in place of the slowest
pairs of time, is turned by $m\varphi_z$, half of it for each depth, $m$ from $M/2$ to $M$ as there.

Moving and turning the whole world changes nothing, since places are told from the segment's first frame. Source:
study.md section 5, `ray` (several depth hypotheses).
"""

import torch
from torch import Tensor

from workloads.memory.address.bearing import Bearing, whole_turns
from workloads.memory.address.ray import matrix_channels, still
from workloads.memory.interface import Address, Positions, Sizes, float32
from workloads.memory.rotary import Rotary
from workloads.study.memory.address.depths import DepthsSpec

HYPOTHESES_M = (4.0, 8.0)
"""Half of how far a frame is taken to see, and that far: two of the five depths that study.md names, since a
narrow head has one pair of channels for each."""


class Depths(Address):
    """`looks`: (b, f, C, 1 + depths) radians, the bearing and where the points lie."""

    def __init__(self, spec: DepthsSpec, sizes: Sizes) -> None:
        super().__init__(spec, sizes)
        self.yaw, self.rows, self.columns = spec.yaw, sizes.rows, sizes.columns
        self.bearing = Bearing(spec, sizes)
        self.channels = matrix_channels(sizes.width // sizes.heads)

    def looks(self, poses: Tensor) -> Tensor:
        """In float32."""
        poses = float32(poses if self.yaw else still(poses))
        bearing = self.bearing.looks(poses)  # (b, f, C)
        ahead, right = poses[..., 9, None], poses[..., 10, None]
        points = [torch.atan2(right + z * bearing.sin(), ahead + z * bearing.cos()) for z in HYPOTHESES_M]
        return torch.stack([bearing, *points], -1)

    def positions(self, rotary: Positions, looks: Tensor) -> Positions:
        """The table of `bearing`, with the pairs of the depths."""
        turned = self.bearing.positions(rotary, looks[..., 0])
        assert isinstance(turned, Rotary)
        first, stop = self.channels.start // 2, self.channels.stop // 2
        turns = depth_turns((stop - first) // len(HYPOTHESES_M), self.columns).to(looks)
        angle = (looks[..., 1:, None] * turns).flatten(-2)[:, :, None]  # (b, f, 1, C, pairs)
        table = torch.stack([angle.cos(), angle.sin()], -1).expand(-1, -1, self.rows, -1, -1, -1).flatten(1, 3)
        return Rotary(torch.cat([turned.table[:, :, :first], table, turned.table[:, :, stop:]], 2))


def depth_turns(pairs: int, columns: int) -> Tensor:
    """Whole turns of each pair of one depth in one turn of the camera, (pairs,): from half of the most to the most."""
    most = float(whole_turns(2, columns)[-1])
    return torch.linspace(most / 2, most, pairs, dtype=torch.float64).round().float()
