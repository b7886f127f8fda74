from typing import Any

import numpy as np
import pytest

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
