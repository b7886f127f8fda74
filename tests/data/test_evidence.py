from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.data.evidence import RULES, Candidates, candidates, choose, streamed
from workloads.data.poses import Poses
from workloads.runtime.errors import BadInput

found = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), max_size=60, unique_by=lambda row: row[0]).map(
    lambda rows: Candidates(
        np.array(sorted(i for i, _ in rows), dtype=np.int64), np.array([o / 20 for _, o in rows], dtype=np.float64)
    )
)


@given(found, st.integers(1, 25), st.sampled_from(RULES))
def test_chosen_frames_are_distinct_candidates_oldest_first(these: Candidates, frames: int, rule: str) -> None:
    chosen = choose(these, frames, rule)
    assert len(chosen) == min(len(these), frames - 1)
    assert (np.diff(chosen) > 0).all()
    assert set(chosen.tolist()) <= set(these.indices.tolist())


@given(found, st.integers(3, 25))
def test_spread_always_holds_oldest_and_newest(these: Candidates, frames: int) -> None:
    chosen = choose(these, frames, "spread")
    if len(these):
        assert chosen[0] == these.indices[0]
        assert chosen[-1] == these.indices[-1]


@given(found, st.integers(3, 25))
def test_spread_is_equally_spaced_to_within_one_candidate(these: Candidates, frames: int) -> None:
    places = np.searchsorted(these.indices, choose(these, frames, "spread"))
    ideal = np.linspace(0, len(these) - 1, len(places)) if len(places) > 1 else places
    assert (np.abs(places - ideal) <= 0.5 + 1e-9).all()


@given(found, st.sampled_from(RULES))
def test_two_frames_hold_the_largest_overlap_ties_to_the_most_recent(these: Candidates, rule: str) -> None:
    chosen = choose(these, 2, rule)
    if len(these):
        best = np.flatnonzero(these.overlaps == these.overlaps.max())[-1]
        assert chosen.tolist() == [these.indices[best]]


def test_top_takes_the_largest_overlaps_in_time_order() -> None:
    these = Candidates(np.arange(10, 15), np.array([0.5, 0.9, 0.5, 0.4, 0.5]))
    assert choose(these, 3, "top").tolist() == [11, 14]
    assert choose(these, 4, "top").tolist() == [11, 12, 14]


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("beside", ["none", "one", "K-2", "K-1", "K", "K+1", "many"])
def test_at_the_borders_of_n_and_k_spread_takes_all_or_rounds_equal_steps_half_up(frames: int, beside: str) -> None:
    near = {"K-2": frames - 2, "K-1": frames - 1, "K": frames, "K+1": frames + 1}
    n = max(0, {"none": 0, "one": 1, "many": 1000, **near}[beside])
    these = Candidates(np.arange(n) * 3 + 1, np.linspace(0.9, 0.3, n))
    found = choose(these, frames, "spread").tolist()
    if n <= frames - 1:
        assert found == these.indices.tolist()
    elif frames <= 2:  # the largest overlap is the first here; with K = 1 the anchor alone is left
        assert found == [1][: frames - 1]
    else:
        steps = (Fraction(q * (n - 1), frames - 2) + Fraction(1, 2) for q in range(frames - 1))
        assert found == [3 * (step.numerator // step.denominator) + 1 for step in steps]


def test_the_published_formula_gives_known_slots() -> None:
    these = Candidates(np.arange(10), np.full(10, 0.5))
    assert choose(these, 5, "spread").tolist() == [0, 3, 6, 9]
    assert choose(these, 4, "spread").tolist() == [0, 5, 9]


@given(st.lists(st.floats(-90, 90), min_size=4, max_size=30), st.data())
def test_no_frame_of_the_segment_is_ever_evidence(yaw: list[float], data: st.DataObject) -> None:
    poses = Poses(np.zeros((len(yaw), 3)), np.array(yaw))
    start = data.draw(st.integers(0, len(yaw) - 1))
    end = data.draw(st.integers(start, len(yaw) - 1))
    these = candidates(poses, start, end, 0.3)
    assert (these.indices < start).all()
    assert (these.overlaps >= 0.3).all()
    assert (np.diff(these.indices) > 0).all()


def test_later_frames_do_not_change_what_is_found() -> None:
    yaw = np.linspace(0, 120, 25)
    poses = Poses(np.zeros((25, 3)), yaw)
    these, same = candidates(poses, 8, 16, 0.3), candidates(poses[:17], 8, 16, 0.3)
    assert np.array_equal(these.indices, same.indices)
    assert np.array_equal(these.overlaps, same.overlaps)


def test_returning_finds_the_place_left() -> None:
    # Out by 45 degrees and back: the frames of the way out are there to be found, and the first one is chosen.
    yaw = np.concatenate([np.linspace(0, 45, 9), np.linspace(45, 0, 9)[1:]])
    these = candidates(Poses(np.zeros((17, 3)), yaw), 8, 16, 0.3)
    assert these.indices.tolist() == list(range(8))
    assert 0 in choose(these, 5, "spread")


def test_an_unknown_rule_and_no_frames_are_refused() -> None:
    these = Candidates(np.arange(3), np.ones(3))
    with pytest.raises(BadInput, match=r"evidence\.rule is 'newest'; allowed: spread, top"):
        choose(these, 5, "newest")
    with pytest.raises(BadInput, match="at least 1"):
        choose(these, 0, "spread")
    with pytest.raises(ValueError, match=r"segment 2\.\.9 of 3 frames"):
        candidates(Poses(np.zeros((3, 3)), np.zeros(3)), 2, 9, 0.3)


@given(st.integers(0, 200), st.integers(1, 40))
def test_a_stream_writes_every_frame_once_in_time_order_up_to_its_anchor(start: int, moves: int) -> None:
    pieces = streamed(start, moves)
    written = [frame for anchor, since in pieces for frame in [*range(since + 1, anchor), anchor]]
    assert written == list(range(start + 1))
    assert all(anchor - since <= moves for anchor, since in pieces)


@given(st.integers(0, 32), st.integers(1, 40))
def test_a_chunk_of_a_generated_stream_writes_what_training_wrote_there(chunks: int, moves: int) -> None:
    """At generation one pair a chunk, the last; in training all of them at once."""
    assert [streamed(chunk * moves, moves)[-1] for chunk in range(chunks + 1)] == streamed(chunks * moves, moves)
