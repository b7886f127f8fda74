"""Which rows of a column may be the best, and how they are marked."""

import numpy as np
import pytest

from reports.marks import FEWEST_SCENES
from reports.statistics.best import BestRows, best_rows
from reports.statistics.pairs import row_pairs
from reports.statistics.panel import Floats
from reports.statistics.sure_order import sure_order


def world(generator: np.random.Generator, means: tuple[float, ...], scenes: int = 20, seeds: int = 3) -> Floats:
    """Scenes are easy or hard for all rows alike; each row has luck with each seed and each value."""
    shape = (len(means), scenes, seeds)
    of_scene = 3.0 * generator.standard_normal((1, scenes, 1))
    of_seed = 0.3 * generator.standard_normal((len(means), 1, seeds))
    noise: Floats = 0.5 * generator.standard_normal(shape)
    values: Floats = np.array(means)[:, None, None] + of_scene + of_seed + noise
    return values


def found(values: Floats, seeds: int | None = None) -> BestRows:
    """Of rows `a`, `b`, ...: `values` (rows, scenes, seeds), higher is better, NaN is missing."""
    layouts = dict(zip("abcdefghijklmnop", values, strict=False))
    scores = {row: float(np.nanmean(own)) for row, own in layouts.items() if np.isfinite(own).any()}
    return best_rows(scores, layouts, values.shape[2] if seeds is None else seeds)


def marks(best: BestRows, rows: str) -> list[str]:
    return [best.mark(row) for row in rows]


def test_a_clear_winner_is_the_best_and_the_others_have_no_mark() -> None:
    values = world(np.random.default_rng(0), (10.0, 15.0, 10.2))
    assert marks(found(values), "abc") == ["", "best", ""]
    assert found(values).rows == {"b"}
    assert "b" not in found(-values).rows


def test_rows_that_lead_together_may_be_best() -> None:
    values = world(np.random.default_rng(0), (10.0, 15.0, 15.1))
    assert marks(found(values), "abc") == ["", "may be best", "may be best"]


def test_where_no_row_is_shown_to_be_worse_the_best_mean_says_no_more() -> None:
    best = found(world(np.random.default_rng(1), (1.0, 1.0, 1.0)))
    assert not best.is_shown and best.rows == set("abc")
    assert sorted(marks(best, "abc")) == ["", "", "best mean"]


@pytest.mark.parametrize("scenes", [FEWEST_SCENES - 1, FEWEST_SCENES])
@pytest.mark.parametrize("seeds", [1, 5])
def test_the_largest_difference_is_shown_on_enough_scenes_alone(scenes: int, seeds: int) -> None:
    draws = np.random.default_rng(2).standard_normal((2, scenes, seeds))
    best = found(draws + np.array([0.0, 1e6])[:, None, None])
    assert best.scenes == scenes
    assert marks(best, "ab") == (["", "best"] if scenes >= FEWEST_SCENES else ["", "best mean"])


def test_of_rows_that_are_best_together_none_is_called_worse_in_more_than_one_study_in_twenty() -> None:
    """Scores of 0 or 1 on few scenes, where differences agree by chance; some row is truly worse."""
    generator, wrong = np.random.Generator(np.random.Philox(key=5)), 0
    for _ in range(80):
        luck = generator.standard_normal((8, 8, 1)) + 0.3 * generator.standard_normal((8, 8, 5))
        luck[6:] -= 3.0
        wrong += not set("abcdef") <= found((luck > 0) * 1.0).rows
    assert wrong <= 8


def test_more_rows_are_called_worse_than_pairs_are_surely_ordered() -> None:
    """Once a row is known to be worse it is not asked again whether it is the best."""
    generator, fewer = np.random.Generator(np.random.Philox(key=6)), 0
    for _ in range(20):
        values = world(generator, (1.2, *(0.0,) * 15), scenes=16)
        left = found(values).rows
        of_pairs = set(sure_order([row_pairs(dict(zip("abcdefghijklmnop", values, strict=True)))]).best(0))
        assert left <= of_pairs
        fewer += left < of_pairs
    assert fewer >= 5


def test_a_row_with_one_of_several_seeds_is_neither_worse_nor_better() -> None:
    values = world(np.random.default_rng(2), (10.0, 30.0, 9.9, 5.0))
    values[1, :, 1:] = np.nan
    assert marks(found(values), "abcd") == ["may be best", "may be best", "may be best", ""]
    values[1, :, 1] = values[1, :, 0]
    assert marks(found(values), "abcd") == ["", "best", "", ""], "two seeds are compared on what both have"


def test_a_row_that_has_the_easy_scenes_alone_does_not_hide_one_that_is_better_on_them() -> None:
    scenes = np.tile([35.0, 34.0, 36.0, 10.0, 11.0, 9.0], 2)[:, None] + 0.1 * np.arange(12)[:, None] % 0.3
    easy = np.where(scenes > 20.0, scenes - 5.0 - 0.1 * np.arange(12)[:, None], np.nan)
    best = found(np.stack([scenes, easy, scenes - 20.0 + 0.1 * np.arange(12)[:, None] % 0.4]))
    assert best.leading == {"b"} and marks(best, "abc") == ["best", "", ""]


def test_of_a_single_row_there_is_no_best() -> None:
    values = world(np.random.default_rng(3), (10.0, 12.0))
    assert found(values[:1]) == BestRows()
    values[1] = np.nan
    assert found(values) == BestRows(), "the other has no value"
    assert best_rows({}, {}, 3) == BestRows()


def test_without_scenes_equal_means_are_the_best_mean_together() -> None:
    best = best_rows({"a": 1.0, "b": 2.0, "c": 2.0}, {}, 2)
    assert marks(best, "abc") == ["", "best mean", "best mean"]
    assert best.rows == set("abc") and best.scenes == 0


def test_the_row_that_is_hardest_to_call_worse_is_never_called_so() -> None:
    """Of rows that are missing in turn each may be shown to be below the next one; one of them is the best."""
    values = np.full((3, 30, 1), np.nan)
    noise = 0.1 * np.random.default_rng(4).standard_normal((3, 30, 1))
    for i in range(3):  # on its own ten scenes, row i is far above the next one
        values[i, 10 * i : 10 * i + 10] = 5.0
        values[(i + 1) % 3, 10 * i : 10 * i + 10] = 0.0
    assert len(found(values + noise).rows) == 1


def test_pairs_without_a_row_that_is_asked_for_are_left_out_and_the_others_are_the_same() -> None:
    values = world(np.random.default_rng(7), (1.0, 2.0, 3.0, 4.0))
    for i in range(4):
        values[i, i, i % 3] = np.nan
    layouts = dict(zip("abcd", values, strict=True))
    whole, part = row_pairs(layouts), row_pairs(layouts, against={"d"})
    assert np.isfinite(whole.error[0, 1]) and np.isnan(part.error[0, 1]) and part.above()[1, 0] == 1.0
    for one, other in ((whole.mean, part.mean), (whole.error, part.error), (whole.freedom, part.freedom)):
        np.testing.assert_array_equal(one[3], other[3])
        np.testing.assert_array_equal(one[:, 3], other[:, 3])
    assert row_pairs({}).rows == ()
