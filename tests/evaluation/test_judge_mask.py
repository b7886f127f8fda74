"""The judge's calibration over 64 worlds (study.md section 7); small masks are noisy, so means count."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from workloads.data import draws
from workloads.data.geometry import turned
from workloads.data.trajectories import turning
from workloads.data.worlds import World, make_world
from workloads.evaluation.judge_mask import WEIGHTS, Scores, judge, tail, views_around

WORLDS = 64
NOISE = (0.0, 10.0, 20.0, 40.0, 80.0)  # grey levels
PARTS = ("total", "appearance", "presence", "view", "scene")


def world_of(index: int, height: int, width: int) -> World:
    data = {
        "seed": 2,  # of 0, the frames of one of the 64 worlds are too small for any object
        "height": height,
        "width": width,
        "chunk_frames": 9,
        "open_prompts": WORLDS // 4,
        "open_variants": 4,
        "translation_m": 0.0,
    }
    return make_world(data, "open", index)


def noisy(frames: np.ndarray, deviation: float, index: int) -> np.ndarray:
    noise = deviation * draws.normal(frames.shape, "test/judge", index)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def judged(index: int, height: int, width: int) -> dict[str, Scores]:
    """Scores of known videos of the return branch in one world."""
    world = world_of(index, height, width)
    poses = turning(world.first_pose, [-45.0, 45.0], 9)
    last = poses[tail(poses, 4, 0.75)]
    views = views_around(world, world.first_pose, last)
    true = world.frames(last)
    videos = {
        "another object": next(world.others()).frames(last),
        "object removed": world.frames(last, with_object=False),
        "uniform": np.broadcast_to(true.mean(axis=(0, 1, 2)).astype(np.uint8), true.shape),
        "turning point": np.repeat(world.frames(poses[len(poses) // 2]), len(last), axis=0),
        "10 to the right": world.frames(turned(last, 10.0)),
        "10 to the left": world.frames(turned(last, -10.0)),
        **{f"noise {deviation}": noisy(true, deviation, index) for deviation in NOISE},
    }
    return {name: judge(views, frames) for name, frames in videos.items()}


def means(scores: Mapping[str, list[Scores]]) -> dict[str, dict[str, float]]:
    return {
        name: {part: float(np.mean([getattr(s, part) for s in each])) for part in PARTS}
        for name, each in scores.items()
    }


ABSENCE_DEG = [45.0, 45.0, -30.0, 30.0, -45.0, -45.0]


def swapped(index: int, height: int, width: int) -> list[Scores]:
    """Scores of true videos of the branch absence in which the object is another one after it was out of sight."""
    world = world_of(index, height, width)
    poses = turning(world.first_pose, ABSENCE_DEG, 9)
    hidden = ~world.frames_and_masks(poses[16:33])[1].any(axis=(1, 2))
    assert hidden.all()  # so nothing in the video tells of the swap
    last = poses[tail(poses, 4, 0.75)]
    views = views_around(world, world.first_pose, last)
    return [judge(views, other.frames(last)) for other in world.others()]


def test_an_object_that_is_swapped_out_of_sight_is_never_taken_for_the_right_one() -> None:
    """Presence tells that an object stands out, not which: a row with no memory has more of the *right* one's score.

    `context-k1` had 0.00 of 5 for appearance and 0.8 for presence (laptop, 16 cases): no swap is above it in what is
    of the right object, and none reaches what the study allows another object.
    """
    scores = [score for index in range(4) for score in swapped(index, 8, 16)]
    assert max(score.appearance or 0.0 for score in scores) == 0.0
    assert max(score.total or 0.0 for score in scores) <= 64
    assert min(score.view for score in scores) == 5.0


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 16)])
def test_a_swapped_object_keeps_its_presence_and_no_appearance_in_64_worlds(height: int, width: int) -> None:
    scores = [score for index in range(WORLDS) for score in swapped(index, height, width)]
    assert np.mean([score.appearance for score in scores]) <= 0.05
    assert 50 <= np.mean([score.total for score in scores]) <= 64  # view, scene and presence stay: 54 of 100


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 16)])
def test_known_videos_get_the_scores_that_the_study_promises(height: int, width: int) -> None:
    scores: dict[str, list[Scores]] = {}
    for index in range(WORLDS):
        for name, score in judged(index, height, width).items():
            scores.setdefault(name, []).append(score)
    mean = means(scores)
    assert all(score.total is not None and score.total >= 95 for score in scores["noise 0.0"])
    assert mean["another object"]["appearance"] <= 1
    assert mean["another object"]["total"] <= 64
    assert all(score.presence == 0 and score.appearance == 0 for score in scores["object removed"])
    assert mean["object removed"]["total"] <= 30
    assert mean["uniform"]["total"] <= 10
    assert mean["turning point"]["total"] <= 10
    assert max(mean["10 to the right"]["view"], mean["10 to the left"]["view"]) <= 0.5
    for part in PARTS:
        falling = [mean[f"noise {deviation}"][part] for deviation in NOISE]
        assert falling == sorted(falling, reverse=True), part


def test_the_truth_gets_everything_and_a_frame_without_the_object_nothing_for_it() -> None:
    scores = judged(0, 8, 16)
    assert scores["noise 0.0"] == Scores(5.0, 5.0, 5.0, 5.0)
    assert scores["noise 0.0"].total == pytest.approx(100)
    assert scores["object removed"] == Scores(0.0, 0.0, 5.0, 5.0)


def test_the_total_is_twenty_times_the_weighted_mean_of_the_four() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert Scores(1.0, 2.0, 3.0, 4.0).total == pytest.approx(20 * (0.45 * 1 + 0.25 * 2 + 0.20 * 3 + 0.10 * 4))


def test_a_total_without_an_object_to_look_at_is_missing_not_zero() -> None:
    assert Scores(None, None, 5.0, 5.0).total is None


class Behind:
    """A world seen from the other side: its object is never in view."""

    def __init__(self, world: World) -> None:
        self._world = world

    def frames(self, poses: Any, with_object: bool = True) -> np.ndarray:
        return self._world.frames(poses, with_object=False)

    def frames_and_masks(self, poses: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.frames(poses), np.zeros_like(self._world.frames_and_masks(poses)[1])

    def depth(self, poses: Any) -> np.ndarray:
        return self._world.depth(poses)


def test_an_object_that_is_in_no_true_frame_is_not_judged_but_view_and_scene_are() -> None:
    world = Behind(world_of(0, 8, 16))
    pose = world_of(0, 8, 16).first_pose
    scores = judge(views_around(world, pose, pose), world.frames(pose))
    assert scores == Scores(None, None, 5.0, 5.0)


def test_the_tail_holds_the_last_frames_that_look_at_the_source() -> None:
    poses = turning(world_of(0, 8, 16).first_pose, [-45.0, 45.0], 9)
    assert tail(poses, 4, 0.75).tolist() == [14, 15, 16]
    assert tail(poses, 4, 0.0).tolist() == [13, 14, 15, 16]


def test_frames_that_are_not_one_for_each_view_are_refused() -> None:
    world = world_of(0, 8, 16)
    with pytest.raises(ValueError, match="a frame for each view"):
        judge(views_around(world, world.first_pose, world.first_pose), np.zeros((2, 8, 16, 3), np.uint8))
