from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data.poses import Poses
from workloads.data.trajectories import trajectory, turning


@pytest.mark.parametrize("translation_m", [0.0, 1.0])
@pytest.mark.parametrize("index", range(6))
def test_trajectories_close_and_stay_within_reach(
    data_section: dict[str, Any], index: int, translation_m: float
) -> None:
    data = {**data_section, "translation_m": translation_m, "chunk_frames": 9}
    path = trajectory(data, "train", index)
    assert len(path) == 4 * 8 + 1
    assert abs(path.yaw_deg[-1] - path.yaw_deg[0]) <= 1e-9
    np.testing.assert_allclose(path.positions_m[-1], path.positions_m[0], atol=1e-9)
    reach = np.linalg.norm(path.positions_m, axis=1).max()
    assert reach <= translation_m + 1e-9
    assert (reach > 0) == (translation_m > 0)


@pytest.mark.parametrize("index", range(6))
def test_chunks_turn_by_thirty_to_sixty_degrees_in_one_of_two_patterns(
    data_section: dict[str, Any], index: int
) -> None:
    path = trajectory({**data_section, "chunk_frames": 9}, "train", index)
    a, b, c, d = np.diff(path.yaw_deg[::8])
    assert 30 - 1e-6 <= abs(a) <= 60 + 1e-6
    second = b if index % 2 == 0 else c
    assert 30 - 1e-6 <= abs(second) <= 60 + 1e-6
    expected = [a, b, -b, -a] if index % 2 == 0 else [a, -a, c, -c]
    np.testing.assert_allclose([a, b, c, d], expected, atol=1e-5)
    moves = np.diff(path.yaw_deg).reshape(4, 8)
    np.testing.assert_allclose(moves, np.repeat(moves.mean(axis=1, keepdims=True), 8, axis=1), atol=1e-5)


def test_scenes_move_differently_and_one_scene_always_alike(data_section: dict[str, Any]) -> None:
    first, again = trajectory(data_section, "train", 0), trajectory(data_section, "train", 0)
    assert np.array_equal(first.yaw_deg, again.yaw_deg)
    for other in (trajectory(data_section, "train", 2), trajectory(data_section, "held_out", 0)):
        assert not np.allclose(other.yaw_deg, first.yaw_deg)


def test_turning_there_and_back_ends_where_it_began() -> None:
    start = Poses(np.array([[1.0, 2.0, 0.0]]), np.array([10.0]))
    path = turning(start, [-45.0, 45.0], 9)
    assert len(path) == 17
    assert path.yaw_deg[[0, 8, 16]].tolist() == [10.0, -35.0, 10.0]
    assert (path.positions_m == start.positions_m).all()


FRAMES = st.sampled_from([9, 21, 81])
"""F of every profile."""

DATA = {"source": "worlds", "seed": 0, "chunk_frames": 9, "translation_m": 0.0}
"""What a trajectory reads."""


@settings(max_examples=60, deadline=None)
@given(
    frames=FRAMES,
    seed=st.integers(0, 10**6),
    index=st.integers(0, 4999),
    split=st.sampled_from(["train", "held_out"]),
    translation_m=st.one_of(st.just(0.0), st.floats(0.05, 5.0)),
)
def test_every_trajectory_closes_with_its_turns_and_its_translations(
    frames: int, seed: int, index: int, split: str, translation_m: float
) -> None:
    data = {**DATA, "seed": seed, "translation_m": translation_m, "chunk_frames": frames}
    path = trajectory(data, split, index)
    moves = frames - 1
    assert len(path) == 4 * moves + 1  # boundary frames are shared, hence counted once
    poses = path.array()
    corners = poses[::moves]
    assert np.abs(corners[-1] - corners[0]).max() <= 1e-9
    if index % 2 == 0:  # (a, b, -b, -a): the way back passes the same places, to a millionth of a degree or centimetre
        np.testing.assert_allclose(poses, poses[::-1], atol=1e-5)
    else:  # (a, -a, b, -b): so does each half
        assert np.abs(corners[2] - corners[0]).max() <= 1e-9
        for half in (poses[: 2 * moves + 1], poses[2 * moves :]):
            np.testing.assert_allclose(half, half[::-1], atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    frames=FRAMES,
    out=st.lists(st.floats(-180, 180), min_size=1, max_size=3),
    start=st.tuples(*[st.floats(-50, 50)] * 3, st.floats(0, 360)),
)
def test_a_way_back_mirrors_the_way_out_frame_by_frame(
    frames: int, out: list[float], start: tuple[float, float, float, float]
) -> None:
    first = Poses(np.array([start[:3]]), np.array(start[3:]))
    path = turning(first, [*out, *(-turn for turn in out[::-1])], frames)
    last = 2 * len(out) * (frames - 1)
    assert len(path) == last + 1
    for g in range(len(out) * (frames - 1)):  # g and last - g: 2 (F - 1) pairs for two turns out
        assert abs(path.yaw_deg[g] - path.yaw_deg[last - g]) <= 1e-9
        assert (path.positions_m[g] == path.positions_m[last - g]).all()
    assert abs(path.yaw_deg[last] - first.yaw_deg[0]) <= 1e-9
