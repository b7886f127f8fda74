"""Address `depths`: known answers, and what it tells apart that a bearing does not."""

import numpy as np
import torch
from test_ray import said
from torch import Tensor

from workloads.data.geometry import action_vectors
from workloads.data.poses import Poses
from workloads.memory.address.depths import Depths, depth_turns
from workloads.memory.interface import Sizes
from workloads.study.memory.address.depths import DepthsSpec

SIZES = Sizes(width=64, blocks=1, heads=2, rows=2, columns=5, controls={})
MIDDLE = 2
"""Column that looks straight ahead."""


def looks(places: list[tuple[float, float]], yaw_deg: list[float]) -> Tensor:
    """Of cameras, told from the first of them."""
    poses = Poses(np.array([[x, y, 0.0] for x, y in places]), np.array(yaw_deg))
    return Depths(DepthsSpec(), SIZES).looks(torch.from_numpy(action_vectors(poses, poses[0]))[None])[0]


def test_two_cameras_that_see_a_point_at_a_depth_look_alike_at_that_depth_alone() -> None:
    # The point (4, 0): 4 m ahead of the first camera, and 4 m straight to the left of the second.
    first, second = looks([(0, 0), (4, 4)], [0, -90])[:, MIDDLE]
    torch.testing.assert_close(first, torch.zeros(3))
    torch.testing.assert_close(second, torch.tensor([-torch.pi / 2, 0.0, -torch.pi / 4]), atol=1e-6, rtol=0)


def test_a_camera_that_only_turns_has_its_bearing_at_every_depth() -> None:
    seen = looks([(1, 2), (1, 2)], [10, 47])
    torch.testing.assert_close(seen, seen[..., :1].expand_as(seen), atol=1e-6, rtol=0)


def test_a_rigid_motion_of_the_whole_world_changes_no_look() -> None:
    turn = np.deg2rad(77)
    there = [(0.0, 0.0), (1.0, 0.5), (-2.0, 0.3)]
    moved = [(x * np.cos(turn) - y * np.sin(turn) + 5, x * np.sin(turn) + y * np.cos(turn) - 3) for x, y in there]
    torch.testing.assert_close(looks(moved, [77, 97, 47]), looks(there, [0, 20, -30]), atol=1e-5, rtol=0)


def test_turns_are_whole_so_that_there_is_no_seam() -> None:
    assert depth_turns(2, 4).tolist() == [7, 14] and depth_turns(1, 4).tolist() == [7]


def test_a_camera_that_moves_or_turns_is_noticed_and_nothing_is_without_yaw() -> None:
    assert said("depths", "place") > 1e-3 and said("depths", "turn") > 1e-3
    assert said("depths", "turn", yaw=False) == said("depths", "place", yaw=False) == 0
