"""Each adversary and reference line shows what its name says (study.md section 7)."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
from known_cases import known_in

from workloads.data.frames import blank
from workloads.data.poses import Poses
from workloads.data.trajectories import turning
from workloads.data.worlds import World, make_world
from workloads.evaluation import adversaries
from workloads.evaluation.adversaries import VIDEOS, Known, NoMeaning
from workloads.evaluation.pan import turned_frame
from workloads.study.memory.bound import Shows

F = 9
RETURN, LOOP = (-45.0, 45.0), (45.0, 45.0, -45.0, -45.0)
DATA = {"seed": 0, "height": 8, "width": 16, "translation_m": 0.0, "open_variants": 4, "chunk_frames": F}


def known_of(turns: tuple[float, ...]) -> Known:
    return known_in(make_world(DATA, "held_out", 0), make_world(DATA, "held_out", 3), turns, F)


@pytest.fixture(scope="module")
def back() -> Known:
    return known_of(RETURN)


@pytest.fixture(scope="module")
def loop() -> Known:
    return known_of(LOOP)


@pytest.mark.parametrize("name", VIDEOS)
def test_every_video_has_the_commanded_length_and_begins_with_the_given_frame(loop: Known, name: str) -> None:
    frames = VIDEOS[name](loop)
    assert frames.shape == (len(loop.poses), 8, 16, 3)
    assert frames.dtype == np.uint8
    assert (frames[0] == loop.source).all()


def test_every_row_of_the_family_has_a_video() -> None:
    assert set(get_args(Shows)) == set(VIDEOS)


def test_standing_still_is_constant(back: Known) -> None:
    assert (VIDEOS["anchor"](back) == back.source).all()


def test_fading_and_jumping_leave_as_commanded_and_show_the_anchor_before_the_end(loop: Known) -> None:
    for name in ("fades", "jumps"):
        frames = VIDEOS[name](loop)
        assert (frames[: 3 * (F - 1) + 1] == loop.true()[: 3 * (F - 1) + 1]).all()
        assert (frames[-5:] == loop.source).all()
    assert (VIDEOS["jumps"](loop)[-6] == loop.true()[-6]).all()
    middle = VIDEOS["fades"](loop)[-7].astype(float)
    assert np.abs(middle - (loop.true()[-7].astype(float) + loop.source) / 2).max() <= 0.5


@pytest.mark.parametrize("chunk_frames", [2, 3, 5])
def test_a_chunk_shorter_than_the_tail_fades_within_itself(back: Known, chunk_frames: int) -> None:
    poses, truth = back.poses[:chunk_frames], back.true()[:chunk_frames]
    cut = Known(source=back.source, poses=poses, chunk_frames=chunk_frames, truth=truth)
    for name in ("fades", "jumps"):
        assert (VIDEOS[name](cut)[-1] == back.source).all()


def test_half_the_turn_looks_half_as_far(back: Known) -> None:
    # After two moves, half the turn is where the commanded camera was after one.
    assert (VIDEOS["half"](back)[2] == back.true()[1]).all()
    assert (VIDEOS["half"](back)[-1] == back.true()[-1]).all()


def test_waiting_half_way_goes_no_further_and_comes_back_in_time(loop: Known) -> None:
    frames, moves = VIDEOS["waits"](loop), F - 1
    assert (frames[: moves // 2 + 1] == loop.true()[: moves // 2 + 1]).all()
    assert (frames[moves // 2 : -moves // 2] == loop.true()[moves // 2]).all()
    assert (frames[-3] == loop.true()[2]).all()


def test_where_the_way_does_not_come_back_it_waits_for_ever(back: Known) -> None:
    out = Known(source=back.source, poses=back.poses[:F], chunk_frames=F, truth=back.true()[:F])
    assert (VIDEOS["waits"](out)[F // 2 :] == back.true()[F // 2]).all()


def test_the_mean_colour_is_the_given_frames(back: Known) -> None:
    frames = VIDEOS["mean-colour"](back)
    assert (frames[1:] == frames[1, 0, 0]).all()
    assert np.abs(frames[1, 0, 0] - back.source.reshape(-1, 3).mean(axis=0)).max() <= 0.5


def test_another_world_moves_the_same_way_from_its_own_start(back: Known) -> None:
    assert isinstance(back.other, World)
    there = back.other.frames(turning(back.other.first_pose, RETURN, F))
    assert (VIDEOS["other-world"](back)[1:] == there[1:]).all()


def test_another_world_is_moved_through_relative_to_its_own_heading() -> None:
    @dataclass
    class Recording:
        asked: Poses | None = None

        def frames(self, poses: Poses, with_object: bool = True) -> adversaries.Frames:
            self.asked = poses
            return np.zeros((len(poses), 8, 16, 3), dtype=np.uint8)

        def object_mask(self, poses: Poses) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
            raise NotImplementedError

        def depth(self, poses: Poses) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            raise NotImplementedError

    # A step straight ahead, at heading 0, is one to the right of the world's axes at heading 90.
    ahead = Poses(np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), np.zeros(2))
    world, start = Recording(), Poses(np.zeros((1, 3)), np.array([90.0]))
    source = np.zeros((8, 16, 3), dtype=np.uint8)
    adversaries.other_world(
        Known(source=source, poses=ahead, chunk_frames=2, truth=None, other=world, other_pose=start)
    )
    assert world.asked is not None
    assert world.asked.positions_m == pytest.approx(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert world.asked.yaw_deg == pytest.approx([90.0, 90.0])


def test_one_chunk_late_is_the_truth_shifted_by_a_chunk(loop: Known) -> None:
    frames = VIDEOS["late"](loop)
    assert (frames[:F] == loop.source).all()
    assert (frames[F - 1 :] == loop.true()[: -(F - 1)]).all()


def test_a_pan_turned_by_nothing_is_the_frame(back: Known) -> None:
    colours, seen = turned_frame(back.source, np.zeros(1))
    assert seen.all()
    assert np.abs(colours[0] - back.source).max() < 1e-9
    assert (VIDEOS["pan"](back)[-1] == back.source).all()


def test_a_pan_is_the_world_where_the_given_frame_saw_it() -> None:
    # Large frames, so that pixels hardly blur: what is rendered at the other heading is what the pan shows.
    world = make_world({**DATA, "height": 64, "width": 128}, "held_out", 0)
    poses = turning(world.first_pose, (20.0,), 2)
    truth = world.frames(poses)
    colours, seen = turned_frame(truth[0], np.array([0.0, 20.0]))
    assert 0.5 < seen[1].mean() < 0.75
    error = np.abs(colours[1] - truth[1])[seen[1]]
    mirrored = np.abs(turned_frame(truth[0], np.array([-20.0]))[0][0] - truth[1])[seen[1]]
    assert error.mean() < 2 < mirrored.mean()


def test_beyond_the_frame_a_pan_goes_on_with_its_edge_so_that_no_frame_is_blank(back: Known) -> None:
    colours, seen = turned_frame(back.source, np.array([60.0, -60.0, 90.0, 170.0]))
    assert not seen.any()
    for i, edge in ((0, back.source[:, -1]), (1, back.source[:, 0])):
        assert (colours[i] >= edge.min(axis=0)).all() and (colours[i] <= edge.max(axis=0)).all()
    assert not blank(np.rint(colours).astype(np.uint8)).any()


def test_a_pan_cannot_follow_a_camera_that_moves(back: Known) -> None:
    moved = Poses(back.poses.positions_m + np.arange(len(back.poses))[:, None], back.poses.yaw_deg)
    with pytest.raises(NoMeaning, match=r"can be turned but not moved"):
        VIDEOS["pan"](Known(source=back.source, poses=moved, chunk_frames=F, truth=back.truth))


def test_stopping_and_playing_backwards_have_a_meaning_where_the_way_comes_back_and_is_longer(
    back: Known, loop: Known
) -> None:
    moves = F - 1
    out = Known(source=loop.source, poses=loop.poses[: 2 * F - 1], chunk_frames=F, truth=loop.true()[: 2 * F - 1])
    for name in ("stops", "backwards"):
        with pytest.raises(NoMeaning, match=r"commanded to do just this, so it is the truth"):
            VIDEOS[name](back)
        with pytest.raises(NoMeaning, match=r"not commanded to come back"):
            VIDEOS[name](out)
        assert (VIDEOS[name](loop)[: moves + 1] == loop.true()[: moves + 1]).all()
        assert (VIDEOS[name](loop)[-moves:] == loop.true()[-moves:]).all()
    assert (VIDEOS["stops"](loop)[moves:-moves] == loop.true()[moves]).all()
    assert (VIDEOS["backwards"](loop)[2 * moves] == loop.source).all()


def test_the_wrong_way_is_minus_one(back: Known) -> None:
    assert adversaries.scaled(back.poses, -1.0).yaw_deg == pytest.approx(2 * back.poses.yaw_deg[0] - back.poses.yaw_deg)


@pytest.mark.parametrize("name", ["truth", "fades", "half", "other-world", "late"])
def test_what_is_not_known_is_refused(back: Known, name: str) -> None:
    with pytest.raises(NoMeaning, match=r"nobody knows the true frames|only a rendered world|no other rendered world"):
        VIDEOS[name](Known(source=back.source, poses=back.poses, chunk_frames=F, truth=None))
