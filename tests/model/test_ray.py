"""Address `ray`: known answers of its matrices, and what it tells apart that a bearing does not."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_against_the_slow_twin import SHAPE, awake, poses, slots
from torch import Tensor

from workloads.contract.rows import RowError
from workloads.memory.address.ray import UNIT_M, Ray, matrix_channels, projections
from workloads.memory.interface import Sizes, Slots, placed
from workloads.memory.rotary import Rotary, rotary_table
from workloads.study.memory.address.ray import RaySpec
from workloads.study.memory.context import Context
from workloads.study.memory.families import row_from

EDGE = 0.49499  # tan of half the field of view, 26.335 degrees
RIGHT_ANGLE = [0.0, -1, 0, 1, 0, 0, 0, 0, 1]
"""Rotation of a camera that looks to the right of the world's first axis."""


def at(rotation: list[float], *place: float) -> Tensor:
    return torch.tensor([[[*rotation, *place]]])


def point(*metres: float) -> Tensor:
    return torch.tensor([*(m / UNIT_M for m in metres), 1.0])


@pytest.mark.parametrize(
    ("rotation", "place", "seen", "image"),
    [
        ([1.0, 0, 0, 0, 1, 0, 0, 0, 1], (0.0, 0, 0), (4.0, 0, 0), (0.0, 0, 1)),  # straight ahead
        ([1.0, 0, 0, 0, 1, 0, 0, 0, 1], (0.0, 0, 0), (4.0, 4 * EDGE, 0), (0.5, 0, 1)),  # at the right edge
        ([1.0, 0, 0, 0, 1, 0, 0, 0, 1], (0.0, 0, 0), (4.0, 0, 2 * EDGE), (0.0, -0.5, 1)),  # at the upper edge
        (RIGHT_ANGLE, (1.0, 2, 0), (1.0, 10, 0), (0.0, 0, 2)),  # ahead of a camera that turned and moved
        (RIGHT_ANGLE, (1.0, 2, 0), (1 - 4 * EDGE, 6, 0), (0.5, 0, 1)),  # its right is behind the first camera
    ],
)
def test_a_point_of_the_world_is_where_a_pinhole_camera_sees_it(
    rotation: list[float], place: tuple[float, ...], seen: tuple[float, ...], image: tuple[float, ...]
) -> None:
    camera, world = projections(at(rotation, *place), aspect=2.0)
    torch.testing.assert_close(camera[0, 0] @ point(*seen), torch.tensor([*image, 1.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(world[0, 0] @ torch.tensor([*image, 1.0]), point(*seen), atol=1e-5, rtol=0)


def test_a_missing_slot_has_finite_matrices() -> None:
    assert all(matrices.isfinite().all() for matrices in projections(torch.zeros(1, 1, 12), 2.0))


def test_a_value_that_is_a_point_in_one_image_comes_out_as_that_point_in_another() -> None:
    sizes = Sizes(width=32, blocks=1, heads=1, rows=1, columns=1, controls={})
    address = Ray(RaySpec(), sizes)
    generator = torch.Generator().manual_seed(0)
    both = poses(1, 2, generator)
    positions = address.positions(Rotary(rotary_table(2, 1, 1, 32)), address.looks(both))
    camera, _ = projections(both, 1.0)
    seen = point(3.0, -1.0, 0.5)
    value = torch.zeros(1, 2, 1, 32)
    value[0, 1, 0, address.channels] = (camera[0, 1] @ seen).repeat(2)
    # The token of frame 0 attends to that of frame 1 alone.
    out = positions.outputs(positions.values(value)[:, 1:])
    torch.testing.assert_close(out[0, 0, 0, address.channels], (camera[0, 0] @ seen).repeat(2), atol=1e-5, rtol=0)


def test_logits_and_outputs_depend_on_the_way_between_two_cameras_alone() -> None:
    sizes = Sizes(width=64, blocks=1, heads=2, rows=2, columns=4, controls={})
    address, generator = Ray(RaySpec(), sizes), torch.Generator().manual_seed(0)
    qk, v = torch.randn(2, 40, 2, 2, 32, generator=generator), torch.randn(2, 40, 2, 32, generator=generator)

    def attended(seen: Tensor) -> Tensor:
        positions = address.positions(Rotary(rotary_table(5, 2, 4, 32)), address.looks(seen))
        query, key = positions.turned(qk).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query[:, :, :24], key, positions.values(v).transpose(1, 2))
        return positions.outputs(y.transpose(1, 2))

    here, motion = poses(2, 5, generator), poses(2, 1, generator)[:, 0]
    torch.testing.assert_close(attended(placed(motion, here)), attended(here), atol=1e-5, rtol=1e-5)


def said(address: str, move: str, *, yaw: bool = True) -> float:
    """By how much an awake row's answer changes when cameras move, the backbone itself not being told poses."""
    row = Context(frames=8, address=address, yaw=yaw)
    model, generator = awake(row, "pre_qkv"), torch.Generator().manual_seed(1)
    own, actions = slots((8, 5), generator), poses(2, SHAPE.frames, generator)
    noisy = torch.randn(2, SHAPE.frames, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    words = torch.randn(2, SHAPE.text_tokens, SHAPE.text_width, generator=generator)
    motion = poses(2, 1, generator)[:, 0]
    with torch.no_grad():
        for block in model.blocks:
            block.action.weight.zero_()

        def answer(actions: Tensor, own: Slots) -> Tensor:
            return model(noisy, torch.tensor([0.35, 0.8]), actions, words, own)

        before, moved = answer(actions, own), own.actions.clone()
        if move == "world":
            after = answer(placed(motion, actions), replace(own, actions=placed(motion, moved)))
        elif move == "place":
            moved[:, 2, 9:11] += 1
            after = answer(actions, replace(own, actions=moved))
        else:
            moved[:, 2] = placed(torch.tensor([[*RIGHT_ANGLE, 0.0, 0, 0]] * 2), moved[:, 2:3])[:, 0]
            after = answer(actions, replace(own, actions=moved))
    return float((after - before).abs().max())


@pytest.mark.parametrize("address", ["ray", "bearing"])
def test_a_rigid_motion_of_the_whole_world_changes_nothing(address: str) -> None:
    assert said(address, "world") <= 1e-5


def test_a_camera_that_moves_is_noticed_by_ray_and_not_by_bearing() -> None:
    assert said("ray", "place") > 1e-3
    assert said("bearing", "place") == 0


def test_a_camera_that_turns_is_noticed_by_both_and_nothing_is_without_yaw() -> None:
    assert said("ray", "turn") > 1e-3 and said("bearing", "turn") > 1e-3
    assert said("ray", "turn", yaw=False) == said("ray", "place", yaw=False) == 0


@pytest.mark.parametrize("head", [6, 8, 10, 12, 32, 64, 128])
def test_the_matrices_of_every_head_are_whole_and_leave_the_columns_bearing_alone(head: int) -> None:
    channels = matrix_channels(head)
    taken = channels.stop - channels.start
    assert taken % 4 == 0 and 4 <= taken <= max(4, head // 4)
    assert channels.start % 2 == 0 and channels.stop <= head - 2 * (head // 6)


def test_ray_is_for_frames_and_says_so() -> None:
    with pytest.raises(RowError, match=r"ray finds nothing in what write cells keeps; allowed with it: .*bearing"):
        row_from({"family": "spatial", "write": "cells", "read": "text", "address": "ray"})
