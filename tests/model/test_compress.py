"""Compression of evidence: known answers for groups, ages, poses and the multiscale mean."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_compress import Seen, compressed
from torch.nn import functional

from workloads.contract.rows import resolved
from workloads.memory.interface import Sizes, Slots
from workloads.memory.mechanisms import make_mechanism
from workloads.memory.write.pooled import length_pooled, multiscale, pooled_poses
from workloads.memory.write.weighted import ages
from workloads.model.shapes import LatentShape
from workloads.model.world_model import build_model
from workloads.study.memory.compress import Compress

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
    context = make_mechanism(Compress(decay=0.9), SIZES).context(numbered([[True] * 4]))
    assert context.scale is None and context.log_weight is not None
    assert context.log_weight[0].exp().tolist() == pytest.approx([1, 0.81, 0.9, 1])


def test_a_hybrid_counts_ages_in_pooled_slots() -> None:
    context = make_mechanism(Compress(decay=0.9, ratio=2, hybrid=True), SIZES).context(numbered([[True] * 6]))
    assert context.log_weight is not None
    assert context.log_weight[0].exp().tolist() == pytest.approx([1, 0.81, 0.9, 1])
    assert context.latents.shape[1] == 4


@given(st.integers(1, 24), st.integers(0, 6), st.integers(2, 8), st.floats(0.05, 0.95))
@settings(max_examples=60, deadline=None)
def test_pooled_slots_weigh_what_as_many_single_ones_weigh(count: int, missing: int, ratio: int, decay: float) -> None:
    """Beside a sample with fewer frames, whose groups are its own."""
    fewer = max(0, count - missing)
    pooled = make_mechanism(Compress(decay=decay, ratio=ratio, hybrid=True), SIZES)
    context = pooled.context(numbered([[True] * (count + 1), [True] * (fewer + 1) + [False] * (count - fewer)]))
    groups = [-(-n // ratio) for n in (count, fewer)]
    rows = [[True] * (n + 1) + [False] * (groups[0] - n) for n in groups]
    single = make_mechanism(Compress(decay=decay), SIZES).context(numbered(rows))
    assert torch.equal(context.valid, single.valid) and context.valid.tolist() == rows
    assert context.log_weight is not None and single.log_weight is not None
    assert torch.equal(context.log_weight[context.valid], single.log_weight[single.valid])


def test_scale_latents_gives_weights_for_tokens_and_none_for_logits() -> None:
    context = make_mechanism(Compress(decay=0.5, scale="latents"), SIZES).context(numbered([[True] * 3]))
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


def test_each_sample_of_a_ragged_batch_is_compressed_as_if_it_were_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    counts, most = (1, 2, 5, 8), 8
    valid = torch.arange(most)[None] < torch.tensor(counts)[:, None]
    latents = torch.randn(4, most, 3, 4, 8, generator=generator)
    actions = poses(*[400 * float(x) for x in torch.rand(most, generator=generator)]).expand(4, most, 12)
    for row in (Compress(ratio=2), Compress(ratio=4), Compress(decay=0.9), Compress(decay=0.8, ratio=3, hybrid=True)):
        context = make_mechanism(row, SIZES).context(Slots(latents, actions, valid))
        for sample, count in enumerate(counts):
            alone = [Seen(latents[sample, slot], actions[sample, slot]) for slot in range(1, count)]
            expected = compressed(row, alone)
            kept = context.valid[sample].nonzero().flatten().tolist()
            assert kept == list(range(1 + len(expected)))  # the anchor, then what is there, nothing in between
            for slot, seen in enumerate(expected, 1):
                torch.testing.assert_close(context.latents[sample, slot], seen.latent)
                torch.testing.assert_close(context.actions[sample, slot], seen.action, atol=1e-5, rtol=1e-5)
                weight = 1.0 if context.log_weight is None else float(context.log_weight[sample, slot].exp())
                assert weight == pytest.approx(seen.weight)
            torch.testing.assert_close(context.latents[sample, 0], latents[sample, 0], atol=0, rtol=0)
            torch.testing.assert_close(context.actions[sample, 0], actions[sample, 0], atol=0, rtol=0)


@given(st.integers(1, 24), st.integers(2, 8))
@settings(max_examples=60, deadline=None)
def test_pooling_a_ramp_gives_the_middle_of_every_full_group_counted_from_the_newest(count: int, ratio: int) -> None:
    pooled = length_pooled(numbered([[True] * (count + 1)]), ratio).latents[0, 1:, 0, 0, 0]
    groups = -(-count // ratio)
    assert len(pooled) == groups
    full = count // ratio
    middles = [count - ratio * back - (ratio - 1) / 2 for back in range(full)]
    assert pooled.flip(0)[:full].tolist() == pytest.approx(middles)
    if groups > full:
        rest = count - ratio * full
        assert float(pooled[0]) == pytest.approx((rest + 1) / 2)  # over its own members 1..rest


def test_a_checkerboard_of_single_pixels_keeps_three_fifths_and_its_mean_the_rest() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((rows + columns) % 2 * 2 - 1).float()
    # Every 2 x 2 and every 4 x 4 cell averages to 0.
    torch.testing.assert_close(multiscale(board[None, None, None])[0, 0, 0], 0.60 * board)


def test_a_checkerboard_of_two_by_two_blocks_keeps_its_2_x_2_average_too() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((rows // 2 + columns // 2) % 2 * 2 - 1).float()
    found = multiscale(board[None, None, None])[0, 0, 0]
    # The 4 x 4 averages are 0; the 2 x 2 averages are +-1 and the enlarged ones between four of them: at a block's
    # pixel 3/4 * 3/4 - 2 * 3/4 * 1/4 + 1/4 * 1/4 = 1/4 of its own, at the corner of the image all of it.
    assert float(found[3, 3]) == pytest.approx(float(board[3, 3]) * (0.60 + 0.25 * 0.25))
    assert float(found[0, 0]) == pytest.approx(float(board[0, 0]) * (0.60 + 0.25))


@pytest.mark.parametrize("size", [(6, 10), (2, 6), (3, 5), (1, 1)])
def test_at_sizes_that_do_not_divide_short_cells_are_averaged_over_their_own_pixels(size: tuple[int, int]) -> None:
    latents = torch.randn(1, 2, 3, *size, generator=torch.Generator().manual_seed(1))
    for group in range(2):
        alone = Seen(latents[0, group], torch.eye(3).flatten().new_zeros(12))
        [expected] = compressed(Compress(ratio=2), [alone])
        torch.testing.assert_close(multiscale(latents)[0, group], expected.latent)


@pytest.mark.parametrize(
    ("yaws", "mean"),
    [
        ((179.0, -179.0), 180.0),
        ((170.0, 180.0, -170.0), 180.0),
        ((-180.0, 180.0), 180.0),
        ((175.0, -165.0), -175.0),
        ((350.0, 20.0), 5.0),
        ((0.0, 90.0), 45.0),
    ],
)
def test_yaw_is_averaged_around_the_circle(yaws: tuple[float, ...], mean: float) -> None:
    pooling = torch.full((1, 1, len(yaws)), 1 / len(yaws))
    pooled = pooled_poses(pooling, poses(*yaws)[None])[0, 0]
    assert float(pooled[0]) == pytest.approx(math.cos(math.radians(mean)), abs=1e-5)
    assert float(pooled[3]) == pytest.approx(math.sin(math.radians(mean)), abs=1e-5)
    assert float(pooled[1]) == pytest.approx(-float(pooled[3]))
    assert pooled[9:].tolist() == pytest.approx([(len(yaws) - 1) / 2, 0, 0])


def test_opposite_yaws_have_no_mean_and_count_as_no_turn() -> None:
    pooled = pooled_poses(torch.tensor([[[0.5, 0.5]]]), poses(0.0, 180.0)[None])[0, 0]
    assert pooled[:9].tolist() == pytest.approx(torch.eye(3).flatten().tolist())


def test_a_norm_undoes_a_scale_of_latents_but_not_a_weight_on_logits() -> None:
    """With one block, memory enters only through the norm before the keys: scaled tokens say what unscaled ones do."""
    shape = LatentShape(channels=2, height=4, width=4, frames=2, text_tokens=1, text_width=4)
    backbone = {"width": 24, "blocks": 1, "heads": 2, "feed_forward": 16, "frequency_width": 8}
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 6, 2, 4, 4, generator=generator)
    given_slots = Slots(latents, poses(*[0.0] * 6)[None], torch.ones(1, 6, dtype=torch.bool))
    noisy = torch.randn(1, 2, 2, 4, 4, generator=generator)
    rest = {"sigma": torch.tensor([0.5]), "actions": torch.zeros(1, 2, 12), "text": torch.ones(1, 1, 4)}

    def said(row: Compress) -> torch.Tensor:
        model = build_model(backbone, {"site": "pre_qkv"}, resolved(row), shape, 0)
        with torch.no_grad():
            model.head.out.weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
            out: torch.Tensor = model(noisy, slots=given_slots, **rest)
        return out

    unweighted = said(Compress(decay=0.999999))
    by_latents = (said(Compress(decay=0.6, scale="latents")) - unweighted).norm() / unweighted.norm()
    by_logits = (said(Compress(decay=0.6)) - unweighted).norm() / unweighted.norm()
    assert by_latents < 1e-3  # what is left is the epsilon of the norm
    assert by_logits > 30 * by_latents


def test_the_norm_of_a_scaled_token_is_that_of_the_token() -> None:
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    for weight in (0.9, 0.3, 0.9**19):
        torch.testing.assert_close(
            functional.layer_norm(weight * x, (64,), eps=1e-6),
            functional.layer_norm(x, (64,), eps=1e-6),
            atol=1e-3,
            rtol=0,
        )
