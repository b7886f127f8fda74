"""Limits of smooth functions of means: known answers."""

import numpy as np
import pytest

from reports.statistics.intervals import complete_together, interval_of_sum, paired_interval
from reports.statistics.linearised import interval_of


def generator(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def test_a_difference_of_two_rows_has_the_limits_of_their_paired_difference():
    a, b = generator(1).normal(size=(2, 9, 3))
    found, paired = (
        interval_of(lambda means: float(means[0][0] - means[0][1]), [np.stack([a, b])]),
        paired_interval(a - b),
    )
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((paired.mean, paired.low, paired.high))
    assert (found.p, found.seeds) == pytest.approx((paired.p, 3))


def test_a_contrast_of_two_branches_shares_its_seeds_and_not_its_scenes():
    replay, back = generator(2).normal(size=(2, 9, 3)), generator(3).normal(size=(2, 5, 3))
    found = interval_of(lambda m: float((m[0][1] - m[0][0]) - 2 * (m[1][1] - m[1][0])), [replay, back])
    summed = interval_of_sum([replay[1] - replay[0], -2 * (back[1] - back[0])])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((summed.low, summed.high))


def test_a_product_has_the_limits_of_its_linearisation():
    values = generator(4).normal(size=(2, 9, 3)) + 5
    x, y = values.mean(axis=(1, 2))
    found = interval_of(lambda m: float(m[0][0] * m[0][1]), [values])
    by_hand = paired_interval(y * values[0] + x * values[1] - x * y)
    assert found is not None
    assert (found.mean, found.low) == pytest.approx((x * y, by_hand.low))


def test_what_is_not_defined_has_no_limits():
    assert interval_of(lambda _: float("nan"), [generator(5).normal(size=(2, 4, 3))]) is None


def test_branches_are_cut_to_seeds_that_both_have_and_to_own_scenes():
    replay, back = np.ones((6, 3)), np.ones((4, 3))
    replay[:, 2] = np.nan  # no third seed here
    back[0, 0] = np.nan  # a scene is missing in the first seed there
    cut = complete_together([[replay], [back]])
    assert [one[0].shape for one in cut.layouts] == [(6, 2), (3, 2)]
    assert (cut.dropped_scenes, cut.dropped_seeds) == (1, 1)
