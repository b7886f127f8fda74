"""Laws of paired differences of many rows at once: each is what it is alone."""

from itertools import combinations

import numpy as np
import pytest

from reports.statistics.differences import differences, intervals
from reports.statistics.intervals import Interval, complete, interval_or_none
from reports.statistics.panel import Floats


def layouts(rows: int, scenes: int, seeds: int, gaps: float) -> Floats:
    """(rows, scenes, seeds) with effects of each, and so many cells missing; two rows are equal."""
    generator = np.random.default_rng(3)
    shapes = [(rows, 1, 1), (1, scenes, 1), (1, 1, seeds), (rows, scenes, 1), (rows, 1, seeds), (rows, scenes, seeds)]
    values: Floats = np.sum([np.broadcast_to(generator.normal(size=shape), shapes[-1]) for shape in shapes], axis=0)
    values[1] = values[0]
    lacking = generator.random(size=(3, scenes, seeds)) < gaps
    values[3:6][lacking] = np.nan
    values[6:8, :, -1] = np.nan
    return values


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize(("scenes", "seeds"), [(2, 1), (16, 1), (9, 2), (130, 3)])
def test_many_pairs_at_once_are_each_of_them(scenes: int, seeds: int, gaps: float) -> None:
    values = layouts(9, scenes, seeds, gaps)
    first, second = (np.array(side) for side in zip(*combinations(range(9), 2), strict=True))
    found = differences(values, first, second)
    for i, (a, b) in enumerate(combinations(range(9), 2)):
        cut = complete([values[a], values[b]])
        alone, together = interval_or_none(cut.layouts[0] - cut.layouts[1]), found.interval(i)
        counts = [int(count[i]) for count in (found.dropped_scenes, found.dropped_seeds)]
        assert counts == [cut.dropped_scenes, cut.dropped_seeds]
        assert (alone is not None) == bool(found.tested[i])
        assert_equal(together, alone)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_many_rows_at_once_are_each_of_them(gaps: float) -> None:
    values = layouts(9, 16, 2, gaps)
    for together, one in zip(intervals(values), values, strict=True):
        assert_equal(together, interval_or_none(complete([one]).layouts[0]))


def assert_equal(found: Interval | None, expected: Interval | None) -> None:
    """The same interval, to rounding."""
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert vars(found) == {
            name: pytest.approx(value, rel=1e-12, abs=1e-14) if isinstance(value, float) else value
            for name, value in vars(expected).items()
        }


def test_of_one_seed_the_bits_are_the_same_too() -> None:
    values = layouts(9, 33, 1, 0.0)
    first, second = np.array([0, 2, 4]), np.array([2, 5, 5])
    found = differences(values, first, second).estimates
    alone = [interval_or_none(values[a] - values[b]) for a, b in zip(first, second, strict=True)]
    intervals = [one for one in alone if isinstance(one, Interval)]
    assert found.mean.tolist() == [one.mean for one in intervals]
    assert (found.mean - found.reach()).tolist() == [one.low for one in intervals]
    assert found.p.tolist() == [one.p for one in intervals]
