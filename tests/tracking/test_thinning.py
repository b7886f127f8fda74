"""Thinning keeps extremes and ends, is the same live and afterwards, and fits into a request."""

import math

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tracking.mlflow.projection import BATCH, Point
from orchestrator.tracking.mlflow.thinning import CURVE, OTHERS, Thinner, later_than

CURVE_NAME = "train/loss"


def series(values, name=CURVE_NAME):
    return [Point(name=name, step=step, value=value) for step, value in enumerate(values)]


def thinned(points, cuts=()):
    """Given in pieces, as a growing file is read."""
    thinner, found, before = Thinner(curve=CURVE_NAME), [], 0
    for cut in (*sorted(cuts), len(points)):
        found += thinner.add(points[before:cut])
        before = max(before, cut)
    return later_than([*found, *thinner.rest()], {})


def wave(steps):
    return series([math.sin(step / 7) + step % 11 / 100 for step in range(steps)])


def test_a_curve_of_five_thousand_steps_is_one_request_and_keeps_every_spike():
    values = [1.0] * 5000
    values[4321], values[3000], values[0], values[4999] = 50.0, -50.0, 7.0, 2.0
    kept = thinned(series(values))
    assert len(kept) < BATCH
    assert {(4321, 50.0), (3000, -50.0), (0, 7.0), (4999, 2.0)} <= {(point.step, point.value) for point in kept}
    assert [point.step for point in kept[:512]] == list(range(512))
    others = thinned(series(values, "train/rate"))
    assert len(others) < 200
    assert {(4321, 50.0), (3000, -50.0), (4999, 2.0)} <= {(point.step, point.value) for point in others}


def test_between_two_kept_points_no_value_is_further_out_than_they_are_nearby():
    points = wave(5000)
    kept = {point.step for point in thinned(points)}
    for start in range(4096, 4928, 64):
        bucket = points[start : start + 64]
        assert {min(bucket, key=lambda p: p.value).step, max(bucket, key=lambda p: p.value).step} <= kept


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_a_growing_series_gives_the_points_of_the_finished_one(cuts):
    points = wave(3000)
    assert thinned(points, cuts) == thinned(points)


@given(st.integers(0, 10**9))
def test_a_bucket_holds_its_step_and_never_straddles_a_change_of_length(step):
    for grain in (CURVE, OTHERS):
        place = grain.bucket(step)
        if place is not None:
            first, length = place
            assert first <= step < first + length
            assert grain.bucket(first) == grain.bucket(first + length - 1) == place


def test_what_was_sent_is_not_sent_again_and_the_last_of_a_step_counts():
    points = [Point(name="a", step=s, value=float(v)) for s, v in ((1, 1), (2, 2), (3, 3), (3, 4))]
    assert later_than(points, {"a": 1}) == [points[1], points[3]]
