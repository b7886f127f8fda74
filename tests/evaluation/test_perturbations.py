"""What the branch sensitivity does to evidence: exactly one thing, never to the anchor, the same in every row."""

import numpy as np
import pytest

from workloads.data import draws
from workloads.data.poses import Poses
from workloads.evaluation.cases import Setting
from workloads.evaluation.perturbations import (
    foreign_frame,
    most_useful,
    noisy,
    perturb_of,
    pose_off,
    without_frame,
)
from workloads.evaluation.rollout import Shown
from workloads.study.items import foreign_scene

SECTION = {"pose_deg": 5.0, "noise": 0.5}


def poses(*yaw_deg: float) -> Poses:
    return Poses(np.zeros((len(yaw_deg), 3)), np.array(yaw_deg))


def shown(*yaw_deg: float, end: float = 0.0, start: int = 0) -> Shown:
    """Evidence with the anchor's yaw first; the frame that was made n-th has the same latents in every choice."""
    latents = np.stack([draws.normal((3, 4, 8), "test", start + i) for i in range(len(yaw_deg))])
    return Shown(latents, poses(*yaw_deg), poses(end), 1)


def setting(perturbation: str) -> Setting:
    case = "worlds/open-01-2/0"
    return Setting(f"{case}@x", "open-01-2", 0, poses(0.0), "x", ("return", case), perturbation)


ALL = ("pose", "foreign", "noise", "missing")


@pytest.mark.parametrize("kind", ALL)
def test_the_anchor_stays_and_a_row_that_retrieves_nothing_is_shown_the_same(kind: str) -> None:
    perturb = perturb_of(setting(kind), SECTION, np.ones((3, 4, 8), np.float32))
    before = shown(-45.0, 0.0, -10.0, -20.0)
    after = perturb(before)
    np.testing.assert_array_equal(after.latents[0], before.latents[0])
    assert after.poses.yaw_deg[0] == -45.0
    alone = perturb(shown(-45.0))
    np.testing.assert_array_equal(alone.latents, shown(-45.0).latents)
    assert alone.poses.yaw_deg.tolist() == [-45.0]


@pytest.mark.parametrize("kind", ALL)
def test_what_is_given_is_not_changed(kind: str) -> None:
    given = shown(-45.0, 0.0, -10.0)
    perturb_of(setting(kind), SECTION, np.ones((3, 4, 8), np.float32))(given)
    np.testing.assert_array_equal(given.latents, shown(-45.0, 0.0, -10.0).latents)
    np.testing.assert_array_equal(given.poses.yaw_deg, [-45.0, 0.0, -10.0])


def test_poses_are_off_and_frames_are_as_they_were() -> None:
    before = shown(-45.0, 0.0, -10.0)
    after = pose_off(before, 5.0)
    assert after.poses.yaw_deg.tolist() == [-45.0, 5.0, -5.0]
    np.testing.assert_array_equal(after.latents, before.latents)


def test_the_one_frame_is_that_which_sees_where_the_chunk_ends_and_of_equals_the_oldest() -> None:
    assert most_useful(shown(-45.0, -30.0, -2.0, -20.0, end=0.0)) == 2
    assert most_useful(shown(-45.0, -2.0, 2.0, end=0.0)) == 1


def test_a_foreign_frame_takes_its_place_at_its_pose() -> None:
    before, other = shown(-45.0, 0.0, -10.0), np.full((3, 4, 8), 7.0, np.float32)
    after = foreign_frame(before, other)
    np.testing.assert_array_equal(after.latents[1], other)
    np.testing.assert_array_equal(after.latents[2], before.latents[2])
    assert after.poses.yaw_deg.tolist() == before.poses.yaw_deg.tolist()


def test_a_missing_frame_leaves_the_others_in_their_order() -> None:
    before = shown(-45.0, -10.0, 0.0, -20.0)
    after = without_frame(before)
    assert after.poses.yaw_deg.tolist() == [-45.0, -10.0, -20.0]
    np.testing.assert_array_equal(after.latents, before.latents[[0, 1, 3]])


def test_noise_is_as_strong_as_said_and_the_newest_frames_have_the_same_in_every_row() -> None:
    five, two = shown(-45.0, 0.0, -10.0, -20.0, -30.0), shown(-45.0, -20.0, -30.0, start=2)
    two = Shown(np.concatenate([five.latents[:1], five.latents[3:]]), two.poses, two.end, 1)
    loud, few = noisy(five, 0.5, "case"), noisy(two, 0.5, "case")
    np.testing.assert_array_equal(loud.latents[3:], few.latents[1:])
    ratio = (loud.latents[1:] - five.latents[1:]).std() / five.latents[1:].std()
    assert ratio == pytest.approx(0.5, abs=0.05)
    assert not np.array_equal(noisy(five, 0.5, "another").latents, loud.latents)
    assert loud.latents.dtype == np.float32


def test_the_foreign_scene_is_the_case_s_own_choice_and_one_more_scene_rarely_changes_it() -> None:
    scenes = [f"open-{i:02d}-0" for i in range(32)]
    cases = [f"worlds/{scene}/0@foreign" for scene in scenes]
    chosen = [foreign_scene(case, scenes) for case in cases]
    assert all(chosen) and not any(f"/{scene}/" in case for case, scene in zip(cases, chosen, strict=True))
    assert len(set(chosen)) > 10
    grown = [foreign_scene(case, [*scenes[::-1], "open-32-0"]) for case in cases]
    assert [new for old, new in zip(chosen, grown, strict=True) if new != old] in ([], ["open-32-0"], ["open-32-0"] * 2)
    assert foreign_scene(cases[0], scenes[:1]) is None
