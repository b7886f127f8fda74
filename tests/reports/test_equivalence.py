"""Equivalence: two one-sided tests against a margin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from reports.statistics.equivalence import equivalence
from reports.statistics.intervals import Interval, paired_interval


def differences(key: int, mean: float, cases: int = 12) -> Interval:
    noise = np.random.Generator(np.random.Philox(key=key)).normal(size=(cases, 1))
    return paired_interval(mean + noise - noise.mean())


def test_it_is_two_one_sided_t_tests_doubled() -> None:
    values = np.random.Generator(np.random.Philox(key=1)).normal(size=20)
    found = equivalence(paired_interval(values[:, None]), 0.8)
    sides = [ttest_1samp(values, -0.8, alternative="greater"), ttest_1samp(values, 0.8, alternative="less")]
    assert found.within == pytest.approx(2 * max(side.pvalue for side in sides))
    assert found.above == pytest.approx(min(1.0, 2 * ttest_1samp(values, 0.8, alternative="greater").pvalue))
    assert found.below == pytest.approx(min(1.0, 2 * ttest_1samp(values, -0.8, alternative="less").pvalue))


@given(st.floats(-2, 2), st.floats(0.1, 3), st.integers(0, 99))
def test_the_claim_holds_exactly_where_the_interval_lies_between_the_margins(
    mean: float, margin: float, key: int
) -> None:
    interval = differences(key, mean)
    found = equivalence(interval, margin)
    assert (found.within <= 0.05) is (-margin <= interval.low and interval.high <= margin)
    assert (found.above <= 0.05) is (interval.low >= margin)
    assert (found.below <= 0.05) is (interval.high <= -margin)


def test_an_effect_without_scatter_is_within_or_outside() -> None:
    none = paired_interval(np.zeros((4, 2)))
    at = paired_interval(np.full((4, 2), 0.5))
    assert (equivalence(none, 0.5).within, equivalence(none, 0.5).above) == (0.0, 1.0)
    assert (equivalence(at, 0.5).within, equivalence(at, 0.5).above) == (1.0, 1.0)
    assert equivalence(at, 0.4).above == 0.0


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_is_positive(margin: float) -> None:
    with pytest.raises(ValueError, match="allowed: a positive number, in the unit of the effect"):
        equivalence(differences(1, 0.0), margin)
