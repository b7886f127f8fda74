"""Compression of evidence: known answers for groups, ages, poses and the multiscale mean."""

import math

import pytest
import torch

from workloads.contract.rows import Compress
from workloads.memory.compress import Compressed, ages, length_pooled, multiscale, pooled_poses
from workloads.memory.interface import Sizes, Slots

SIZES = Sizes(width=8, blocks=1, heads=1, rows=2, columns=2, controls={})


def poses(*yaw_deg: float) -> torch.Tensor:
    """Actions (k, 12) with x in metres equal to the slot's number."""
    rows = []
    for slot, angle in enumerate(yaw_deg):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        rows.append([c, -s, 0, s, c, 0, 0, 0, 1, float(slot), 0, 0])
    return torch.tensor(rows)


def numbered(valid: list[list[bool]]) -> Slots:
    """Slot j holds the number j everywhere."""
    mask = torch.tensor(valid)
    b, k = mask.shape
    latents = torch.arange(k, dtype=torch.float32).view(1, k, 1, 1, 1).expand(b, k, 1, 4, 4)
    return Slots(latents, poses(*[0.0] * k).expand(b, k, 12), mask)


def test_groups_are_cut_from_the_newest_end_and_the_oldest_may_be_short() -> None:
    pooled = length_pooled(numbered([[True] * 6]), 2)
    assert pooled.latents[0, :, 0, 0, 0].tolist() == pytest.approx([0, 1, 2.5, 4.5])
    assert pooled.actions[0, :, 9].tolist() == pytest.approx([0, 1, 2.5, 4.5])
    assert pooled.valid.all()


def test_groups_are_counted_over_each_samples_own_valid_slots() -> None:
    pooled = length_pooled(numbered([[True] * 6, [True] * 4 + [False] * 2, [True] + [False] * 5]), 4)
    assert pooled.latents[0, :, 0, 0, 0].tolist() == pytest.approx([0, 1, 3.5])
    assert pooled.latents[1, :2, 0, 0, 0].tolist() == pytest.approx([0, 2])
    assert pooled.valid.tolist() == [[True, True, True], [True, True, False], [True, False, False]]


def test_the_age_of_the_newest_retrieved_slot_is_zero() -> None:
    valid = torch.tensor([[True] * 4, [True, True, True, False]])
    assert ages(valid)[:, 1:].tolist() == [[2, 1, 0], [1, 0, 0]]
    assert ages(valid)[:, 0].tolist() == [0, 0]


def test_a_weight_is_the_decay_to_the_power_of_the_age() -> None:
    context = Compressed(Compress(decay=0.9), SIZES).context(numbered([[True] * 4]))
    assert context.scale is None and context.log_weight is not None
    assert context.log_weight[0].exp().tolist() == pytest.approx([1, 0.81, 0.9, 1])


def test_a_hybrid_counts_ages_in_pooled_slots() -> None:
    context = Compressed(Compress(decay=0.9, ratio=2, hybrid=True), SIZES).context(numbered([[True] * 6]))
    assert context.log_weight is not None
    assert context.log_weight[0].exp().tolist() == pytest.approx([1, 0.81, 0.9, 1])
    assert context.latents.shape[1] == 4


def test_scale_latents_gives_weights_for_tokens_and_none_for_logits() -> None:
    context = Compressed(Compress(decay=0.5, scale="latents"), SIZES).context(numbered([[True] * 3]))
    assert context.log_weight is None and context.scale is not None
    assert context.scale[0].tolist() == pytest.approx([1, 0.5, 1])


@pytest.mark.parametrize("size", [(4, 8), (4, 4), (2, 2), (6, 10)])
def test_the_multiscale_mean_keeps_constants(size: tuple[int, int]) -> None:
    latents = torch.full((1, 2, 3, *size), 0.7)
    torch.testing.assert_close(multiscale(latents), latents)


def test_the_multiscale_mean_weighs_pixel_and_averages_60_25_15() -> None:
    latents = torch.zeros(1, 1, 1, 4, 4)
    latents[..., 0, 0] = 1
    # In the corner the 2 x 2 average is 1/4 (its own cell's centre is beyond), the 4 x 4 average 1/16.
    assert float(multiscale(latents)[..., 0, 0]) == pytest.approx(0.60 + 0.25 / 4 + 0.15 / 16)


def test_a_pooled_pose_has_the_circular_mean_of_yaw() -> None:
    pooling = torch.tensor([[[0.5, 0.5]]])
    pooled = pooled_poses(pooling, poses(170.0, -170.0)[None])[0, 0]
    assert pooled[:9].tolist() == pytest.approx([-1, 0, 0, 0, -1, 0, 0, 0, 1], abs=1e-6)
    pooled = pooled_poses(pooling, poses(10.0, 50.0)[None])[0, 0]
    assert float(pooled[0]) == pytest.approx(math.cos(math.radians(30)))
    assert float(pooled[3]) == pytest.approx(math.sin(math.radians(30)))
    rotation = pooled[:9].view(3, 3)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3))
