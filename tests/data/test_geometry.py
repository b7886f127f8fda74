import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data.geometry import (
    BEARINGS,
    FIELD_OF_VIEW_DEG,
    action_vectors,
    overlap,
    rotations,
    turned,
)
from workloads.data.poses import Poses

coordinate = st.floats(-6, 6)
poses = st.lists(st.tuples(coordinate, coordinate, st.floats(-1, 1), st.floats(-400, 400)), min_size=1, max_size=4).map(
    lambda rows: Poses.from_array(np.array(rows, dtype=np.float64))
)


def looking(*yaw_deg: float) -> Poses:
    return Poses(np.zeros((len(yaw_deg), 3)), np.array(yaw_deg))


@settings(max_examples=50, deadline=None)
@given(poses, poses)
def test_overlap_is_symmetric_and_a_share(a: Poses, b: Poses) -> None:
    there, back = overlap(a, b), overlap(b, a)
    assert np.array_equal(there, back.T)
    assert (there >= 0).all()
    assert (there <= 1).all()
    assert np.array_equal(there, np.round(there, 6))


@given(st.floats(-180, 180))
def test_at_one_place_overlap_falls_linearly_with_the_turn(turn: float) -> None:
    # A turn by d hides round(d / h) of 32 midpoints that are h apart: at most half a bearing off the line.
    found = overlap(looking(10.0), looking(10.0 + turn))[0, 0]
    assert abs(found - max(0.0, 1 - abs(turn) / FIELD_OF_VIEW_DEG)) <= 0.5 / BEARINGS + 1e-6


def test_a_pose_sees_all_of_itself() -> None:
    away = Poses(np.array([[3.0, -2.0, 1.0]]), np.array([123.0]))
    assert overlap(away, away)[0, 0] == 1.0
    assert overlap(away, turned(away, 360.0))[0, 0] == 1.0


def test_heading_matters_at_one_place() -> None:
    assert overlap(looking(0.0), looking(180.0))[0, 0] == 0.0


def test_one_place_is_the_limit_of_two_places() -> None:
    # One place takes a shorter way through the code; it must be the same function.
    a, b = looking(0.0, 20.0, 45.0), looking(7.0, 33.0)
    apart = Poses(b.positions_m + np.array([1e-12, 0, 0]), b.yaw_deg)
    assert np.array_equal(overlap(a, b), overlap(a, apart))


def test_what_lies_farther_than_the_reach_is_not_shared() -> None:
    far = Poses(np.array([[-20.0, 0.0, 0.0]]), np.array([0.0]))
    assert overlap(looking(0.0), far)[0, 0] == 0.0


@settings(max_examples=50, deadline=None)
@given(poses)
def test_the_first_action_is_no_motion_and_rotations_are_rotations(path: Poses) -> None:
    actions = action_vectors(path, path[0])
    assert actions.shape == (len(path), 12)
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions[0], [*np.eye(3).ravel(), 0, 0, 0], atol=1e-7)
    turns = actions[:, :9].reshape(-1, 3, 3)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(poses, st.floats(-180, 180), coordinate)
def test_actions_do_not_depend_on_the_world_axes(path: Poses, turn: float, shift: float) -> None:
    turned_world = rotations(np.array([turn]))[0]
    moved = Poses(path.positions_m @ turned_world.T + shift, path.yaw_deg + turn)
    np.testing.assert_allclose(action_vectors(moved, moved[0]), action_vectors(path, path[0]), atol=1e-5)


def test_a_step_forward_and_a_step_right_have_known_actions() -> None:
    # Looking along +Y: forward is +Y, and right is -X.
    start = Poses(np.array([[1.0, 1.0, 0.5]]), np.array([90.0]))
    after = Poses(np.array([[1.0, 3.0, 0.5], [0.0, 1.0, 1.0]]), np.array([90.0, 180.0]))
    actions = action_vectors(after, start)
    np.testing.assert_allclose(actions[:, 9:], [[2, 0, 0], [0, 1, 0.5]], atol=1e-6)
    np.testing.assert_allclose(actions[1, :9], [0, -1, 0, 1, 0, 0, 0, 0, 1], atol=1e-6)


def test_actions_need_one_reference_pose() -> None:
    with pytest.raises(ValueError, match="one pose, got 2"):
        action_vectors(looking(0.0), looking(0.0, 1.0))


def test_poses_are_indexed_like_frames_and_keep_their_time_axis() -> None:
    path = looking(0.0, 1.0, 2.0)
    assert path[1].yaw_deg.tolist() == [1.0]
    assert path[-1].yaw_deg.tolist() == [2.0]
    assert path[np.array([2, 0])].yaw_deg.tolist() == [2.0, 0.0]
    assert Poses.concatenate([path[:1], path[1:]]).yaw_deg.tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(IndexError):
        path[3]
    with pytest.raises(ValueError, match="poses need"):
        Poses(np.zeros((2, 3)), np.zeros(3))
