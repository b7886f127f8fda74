"""E-values over seeds: their size where nothing differs, closed testing, limits, and layouts that allow none."""

from itertools import combinations

import numpy as np
import pytest

from reports.statistics.anytime import against_none, against_outside, limits, of_family

DRAWS = np.random.default_rng(0)


def layouts(number: int, scenes: int, seeds: int) -> np.ndarray:
    """Of differences that vary by 1 with the seed, and hardly with the scene."""
    return DRAWS.normal(size=(number, 1, seeds)) + 0.01 * DRAWS.normal(size=(number, scenes, seeds))


@pytest.mark.parametrize("seeds", [3, 5])
def test_where_nothing_differs_an_e_value_is_1_on_average(seeds: int) -> None:
    drawn = layouts(40_000, 4, seeds)
    assert against_none(drawn).mean() < 1.1
    assert against_outside(drawn + 5.0, 5.0).mean() < 1.1
    assert against_outside(drawn - 5.0, 5.0).mean() < 1.1


def test_it_ever_exceeds_twenty_in_fewer_than_one_study_in_twenty() -> None:
    drawn = layouts(4_000, 4, 10)
    largest = np.max([against_none(drawn[..., :n]) for n in range(3, 11)], axis=0)
    assert (largest >= 20).mean() < 0.05


def test_scenes_that_differ_are_no_evidence_beyond_themselves() -> None:
    scenes = np.array([9.0, -3.0, 8.0, 2.0])[:, None] + 0.01 * DRAWS.normal(size=(4, 10))
    alike = np.full((4, 1), scenes.mean()) + 0.01 * DRAWS.normal(size=(4, 10))
    assert against_none(scenes) < 20 < 1e6 < against_none(alike)


def test_seeds_that_agree_more_than_their_scenes_allow_agree_by_chance() -> None:
    left = np.array([[3.0, -3.0, 0.0], [-3.0, 3.0, 0.0], [0.0, 0.0, 0.0]])  # whatever the seed, the mean is 1
    assert against_none(1.0 + left) < 2
    assert against_none(1.0 + 0.001 * left) > 50


def test_what_is_the_same_everywhere_has_finite_evidence() -> None:
    nothing = np.zeros((3, 3))
    assert against_none(nothing) < 1
    assert 20 < against_outside(nothing, 5.0) < 100
    assert 50 < against_none(nothing + 5.0) < 1000
    assert list(map(float, limits(nothing + 5.0, 0.95))) == [5.0, 5.0]


def test_limits_are_where_the_evidence_is_just_enough() -> None:
    drawn = layouts(1, 4, 6)[0] + 3.0
    low, high = limits(drawn, 0.95)
    assert low < drawn.mean() < high
    assert against_none(drawn - low) == pytest.approx(20.0)
    assert against_none(drawn - high) == pytest.approx(20.0)
    assert list(map(float, limits(drawn[:, :2], 0.95))) == [-np.inf, np.inf], "two seeds exclude nothing"


def test_a_family_is_tested_by_the_averages_of_all_sets() -> None:
    evidence = DRAWS.exponential(size=(20, 6)) ** 4
    for given, found in zip(evidence, of_family(evidence), strict=True):
        sets = [set_ for size in range(1, 7) for set_ in combinations(range(6), size)]
        by_hand = [min(given[list(set_)].mean() for set_ in sets if i in set_) for i in range(6)]
        assert found == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (np.zeros((1, 5)), "at least 2 scenes and 2 seeds, got 1 and 5"),
        (np.zeros((5, 1)), "at least 2 scenes and 2 seeds, got 5 and 1"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), "needs a complete layout"),
    ],
)
def test_layouts_without_an_e_value_are_refused(layout: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        against_none(layout)


def test_a_margin_is_positive() -> None:
    with pytest.raises(ValueError, match="a margin is 0; allowed: a positive number"):
        against_outside(np.zeros((2, 2)), 0)
