from collections.abc import Mapping
from typing import Any

import made_pool
import numpy as np
import pytest

from workloads.data.pool import Pool
from workloads.data.poses import Poses
from workloads.data.worlds import make_world
from workloads.evaluation.branches import loop, replay, return_
from workloads.evaluation.cases import Setting, first_by_hash
from workloads.evaluation.networks.measures import FrameDistance, Measures
from workloads.evaluation.seen import seen_from
from workloads.runtime.errors import BadInput

F = 9


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return Pool.open(made_pool.make_inputs(tmp_path_factory.mktemp("inputs"))["data"])


def values(lines: list[replay.CaseMetric]) -> Mapping[str, Any]:
    return {line.metric: line.value for line in lines}


def test_the_truth_itself_measures_perfect_in_every_branch(pool: Pool) -> None:
    for branch, name in ((replay, "replay"), (loop, "loop"), (return_, "return")):
        setting = branch.settings(pool, made_pool.BRANCHES[name], F)[0]
        truth = branch.truth(setting, pool)
        assert truth is not None
        found = values(branch.measure(setting, truth, truth, pool, F, Measures()))
        perfect = {"psnr": 100.0, "ssim": 1.0, "rf_distance": 0.0, "stands_still": 0.0}
        for metric, value in found.items():
            if metric == "rf_distance_retention":
                assert value is None  # nothing to divide by: missing
            elif metric.endswith("_retention"):
                assert value == pytest.approx(1.0)
            else:
                assert value == pytest.approx(perfect[metric.split("@")[0].split("_truth")[0].split("_first")[0]])


def test_replay_leaves_the_given_frame_out_and_retention_falls_with_later_chunks(pool: Pool) -> None:
    setting = replay.settings(pool, made_pool.BRANCHES["replay"], F)[0]
    truth = replay.truth(setting, pool)
    assert truth is not None
    frames = truth.copy()
    frames[1:] = np.where(truth[1:] > 127, truth[1:] - 1, truth[1:] + 1)
    frames[0] = 0
    found = values(replay.measure(setting, frames, truth, pool, F, Measures()))
    assert found["psnr"] == pytest.approx(20 * np.log10(255))
    worse = frames.copy()
    worse[F:] = np.where(truth[F:] > 127, truth[F:] - 60, truth[F:] + 60)
    fallen = values(replay.measure(setting, worse, truth, pool, F, Measures()))
    assert fallen["psnr@chunk0"] == found["psnr@chunk0"]
    expected = (fallen["psnr@chunk1"] + fallen["psnr@chunk2"]) / 2 / fallen["psnr@chunk0"]
    assert fallen["psnr_retention"] == pytest.approx(expected)
    assert fallen["psnr_retention"] < 0.5
    assert fallen["rf_distance_retention"] < 1


def test_loop_pairs_are_mirrored_about_the_turning_point(pool: Pool) -> None:
    setting = loop.settings(pool, made_pool.BRANCHES["loop"], F)[0]
    n = 4 * (F - 1)
    for g in range(n // 2):
        np.testing.assert_allclose(setting.poses.yaw_deg[g], setting.poses.yaw_deg[n - g])
    rng = np.random.Generator(np.random.Philox(0))
    half = rng.integers(0, 256, (n // 2, 8, 16, 3), dtype=np.uint8)
    turn = rng.integers(0, 256, (1, 8, 16, 3), dtype=np.uint8)
    frames = np.concatenate([half, turn, half[::-1]])
    assert values(loop.measure(setting, frames, None, pool, F, Measures()))["psnr"] == 100.0


def test_a_camera_that_stands_still_has_perfect_pairs_and_is_flagged(pool: Pool) -> None:
    setting = loop.settings(pool, made_pool.BRANCHES["loop"], F)[0]
    truth = loop.truth(setting, pool)
    assert truth is not None
    found = values(loop.measure(setting, np.repeat(truth[:1], len(truth), axis=0), truth, pool, F, Measures()))
    assert found["psnr"] == 100.0
    assert found["stands_still"] == 1.0
    assert found["psnr_truth"] < 40


def test_blank_frames_have_no_value_of_the_pairs_in_which_they_are_equal_for_free(pool: Pool) -> None:
    """NaN was once cast to black: mirrored black frames had 100 dB, above every healthy row."""
    setting = loop.settings(pool, made_pool.BRANCHES["loop"], F)[0]
    truth = loop.truth(setting, pool)
    assert truth is not None
    for colour in (0, 255, 7):
        frames = np.concatenate([truth[:1], np.full_like(truth[1:], colour)])
        found = values(loop.measure(setting, frames, truth, pool, F, Measures()))
        assert [found[name] for name in ("psnr", "ssim", "rf_distance", "stands_still")] == [None] * 4
        assert found["psnr_truth"] < 15  # against the truth nothing is free
    one = truth.copy()
    one[3] = 0
    assert values(loop.measure(setting, one, truth, pool, F, Measures()))["psnr"] is None


def test_what_shows_nothing_from_the_first_chunk_on_has_nothing_to_retain(pool: Pool) -> None:
    setting = replay.settings(pool, made_pool.BRANCHES["replay"], F)[0]
    truth = replay.truth(setting, pool)
    assert truth is not None
    found = values(replay.measure(setting, np.zeros_like(truth), truth, pool, F, Measures()))
    assert {value for name, value in found.items() if name.endswith("_retention")} == {None}
    assert found["psnr"] < 15 and found["psnr@chunk0"] < 15


def test_truth_in_the_loop_counts_only_where_the_source_saw_it(pool: Pool) -> None:
    setting = loop.settings(pool, made_pool.BRANCHES["loop"], F)[0]
    truth, world = loop.truth(setting, pool), pool.world(setting.scene)
    assert truth is not None
    assert world is not None
    seen = seen_from(world, setting.poses[0], setting.poses)
    assert seen[0].all()
    assert not seen[2 * (F - 1)].any()  # 90 degrees away
    assert (
        values(loop.measure(setting, np.where(seen[..., None], truth, 0), truth, pool, F, Measures()))["psnr_truth"]
        == 100.0
    )


def test_what_the_source_saw_follows_translation_and_hides_what_was_behind() -> None:
    world = make_world(made_pool.CONTROLS["data"], "open", 0)
    source = world.first_pose
    ahead = np.deg2rad(source.yaw_deg[0])
    forward = Poses(source.positions_m + 0.5 * np.array([[np.cos(ahead), np.sin(ahead), 0.0]]), source.yaw_deg)
    backward = Poses(source.positions_m - 0.5 * np.array([[np.cos(ahead), np.sin(ahead), 0.0]]), source.yaw_deg)
    assert seen_from(world, source, forward).mean() > 0.85
    assert seen_from(world, source, backward).mean() <= seen_from(world, source, forward).mean()
    behind = Poses(source.positions_m, source.yaw_deg + 180)
    assert not seen_from(world, source, behind).any()


def test_cases_are_chosen_by_hash_whatever_the_order_and_come_in_order_of_their_ids(pool: Pool) -> None:
    poses = Poses(np.zeros((1, 3)), np.zeros(1))
    everything = [Setting(f"worlds/s{i}/0", f"s{i}", 0, poses) for i in range(20)]
    chosen = [s.id for s in first_by_hash(everything, 5, "k")]
    assert chosen == [s.id for s in first_by_hash(everything[::-1], 5, "k")]
    assert chosen == sorted(chosen)
    assert set(chosen) <= {s.id for s in first_by_hash(everything, 6, "k")}
    assert len(first_by_hash(everything, 0, "k")) == 20
    with pytest.raises(BadInput, match=r"k is 21.*1\.\.20, 0 for all"):
        first_by_hash(everything, 21, "k")


def test_replay_starts_fit_into_their_scenes_and_do_not_overlap(pool: Pool) -> None:
    section = {**made_pool.BRANCHES["replay"], "cases": 0, "chunks": 1}
    settings = replay.settings(pool, section, F)
    assert {s.start for s in settings} == {0, 24}
    for setting in settings:
        assert setting.id == f"worlds/{setting.scene}/{setting.start}"
        assert len(setting.poses) == F
        assert setting.scene in pool.scenes("held_out")


@pytest.mark.parametrize("turns", [[45.0], [45.0, -30.0], [45.0, -45.0, 45.0, -45.0, 45.0], []])
def test_a_loop_that_does_not_come_back_the_same_way_is_refused(pool: Pool, turns: list[float]) -> None:
    with pytest.raises(BadInput, match=r"branches\.loop\.turns_deg"):
        loop.settings(pool, {"cases": 1, "turns_deg": turns, "batch": 1}, F)


def test_boundary_frames_are_counted_once_and_chunks_share_the_mean_equally(pool: Pool) -> None:
    setting = replay.settings(pool, made_pool.BRANCHES["replay"], F)[0]
    truth = replay.truth(setting, pool)
    assert truth is not None
    assert len(truth) == len(setting.poses) == 3 * (F - 1) + 1
    rng = np.random.Generator(np.random.Philox(1))
    frames = rng.integers(0, 256, truth.shape, dtype=np.uint8)
    found = values(replay.measure(setting, frames, truth, pool, F, Measures()))
    for name in ("psnr", "ssim", "rf_distance"):
        chunks = [found[f"{name}@chunk{c}"] for c in range(3)]
        assert f"{name}@chunk3" not in found
        assert found[name] == pytest.approx(np.mean(chunks))
    for frame in (0, F - 1, F):  # the given frame belongs to no chunk, a boundary frame to the chunk that ends there
        other = frames.copy()
        other[frame] = truth[frame]
        changed = values(replay.measure(setting, other, truth, pool, F, Measures()))
        moved = [c for c in range(3) if changed[f"psnr@chunk{c}"] != found[f"psnr@chunk{c}"]]
        assert moved == {0: [], F - 1: [0], F: [1]}[frame]


def test_retention_is_later_over_first_and_first_over_later_for_a_distance(pool: Pool) -> None:
    setting = replay.settings(pool, made_pool.BRANCHES["replay"], F)[0]
    truth = replay.truth(setting, pool)
    assert truth is not None
    level = np.repeat([0.2, 0.4, 0.8], F - 1)
    known = Measures(perceptual=FrameDistance("lpips", lambda made, real: level))
    rng = np.random.Generator(np.random.Philox(2))
    found = values(replay.measure(setting, rng.integers(0, 256, truth.shape, dtype=np.uint8), truth, pool, F, known))
    assert found["lpips_retention"] == pytest.approx((0.2 / 0.4 + 0.2 / 0.8) / 2)
    chunks = [found[f"psnr@chunk{c}"] for c in range(3)]
    assert found["psnr_retention"] == pytest.approx((chunks[1] + chunks[2]) / 2 / chunks[0])


def test_a_loop_has_two_chunks_of_pairs_and_each_counts_once(pool: Pool) -> None:
    setting = loop.settings(pool, made_pool.BRANCHES["loop"], F)[0]
    pairs: list[tuple[int, int]] = []

    def between(out: np.ndarray, back: np.ndarray) -> np.ndarray:
        pairs.extend(zip(out[:, 0, 0, 0].tolist(), back[:, 0, 0, 0].tolist(), strict=True))
        return np.zeros(len(out))

    length = 4 * (F - 1) + 1
    frames = np.broadcast_to(np.arange(length, dtype=np.uint8)[:, None, None, None], (length, 8, 16, 3)).copy()
    frames[:, 4:] = 200  # a frame of one colour would be blank
    loop.measure(setting, frames, None, pool, F, Measures(perceptual=FrameDistance("lpips", between)))
    assert pairs == [(g, 4 * (F - 1) - g) for g in range(2 * (F - 1))]
