"""Which rows of a column may be called best."""

import numpy as np
import pytest

from reports.statistics.best import best_rows
from reports.statistics.panel import POOLED, Floats, Panel


def panel(values: Floats, *, better: str = "high", pooled: bool = False) -> Panel:
    """A metric of rows `a`, `b`, ...: `values` (rows, scenes, seeds); NaN is missing."""
    there = np.isfinite(values)
    return Panel(
        metric="branch/metric",
        unit="dB",
        better=better,
        rows=tuple("abcdefgh"[: values.shape[0]]),
        scenes=(POOLED,) if pooled else tuple(map(str, range(values.shape[1]))),
        seeds=tuple(range(values.shape[2])),
        total=np.where(there, values, 0.0),
        count=there.astype(float),
        expected=values.shape[1] * values.shape[2],
    )


def world(generator: np.random.Generator, means: tuple[float, ...], scenes: int = 20, seeds: int = 3) -> Floats:
    """Scenes are easy or hard for all rows alike; each row has luck with each seed and each value."""
    shape = (len(means), scenes, seeds)
    of_scene = 3.0 * generator.standard_normal((1, scenes, 1))
    of_seed = 0.3 * generator.standard_normal((len(means), 1, seeds))
    noise: Floats = 0.5 * generator.standard_normal(shape)
    values: Floats = np.array(means)[:, None, None] + of_scene + of_seed + noise
    return values


def test_a_clear_winner_is_alone_and_the_direction_counts() -> None:
    values = world(np.random.default_rng(0), (10.0, 15.0, 10.2))
    assert best_rows(panel(values), "abc", "high") == {"b"}
    assert best_rows(panel(values, better="low"), "abc", "low") >= {"a"}
    assert "b" not in best_rows(panel(values, better="low"), "abc", "low")


def test_the_truly_best_row_is_marked_as_often_as_the_level_says() -> None:
    generator = np.random.default_rng(1)
    worlds = 200
    missed = sum("a" not in best_rows(panel(world(generator, (1.0,) * 5)), "abcde", "high") for _ in range(worlds))
    assert missed / worlds <= 0.07


def test_a_row_that_lacks_a_seed_is_neither_best_nor_compared() -> None:
    values = world(np.random.default_rng(2), (10.0, 30.0, 9.9))
    values[1, :, 2] = np.nan
    assert "b" not in best_rows(panel(values), "abc", "high")
    assert best_rows(panel(np.full((2, 3, 1), np.nan)), "ab", "high") == frozenset()


def test_a_row_that_has_the_easy_scenes_alone_does_not_hide_one_that_is_better_on_them() -> None:
    scenes = np.array([35.0, 34.0, 36.0, 10.0, 11.0, 9.0])[:, None]
    easy = np.where(np.arange(6)[:, None] < 3, scenes - 5.0 - 0.1 * np.arange(6)[:, None], np.nan)
    values = np.stack([scenes, easy, scenes - 20.0])
    assert best_rows(panel(values), "abc", "high") == {"a", "b"}
    assert "a" in best_rows(panel(-values, better="low"), "abc", "low")


def test_of_a_single_row_there_is_no_best() -> None:
    values = world(np.random.default_rng(3), (10.0, 12.0))
    assert best_rows(panel(values), "a", "high") == frozenset()
    values[1, :, 0] = np.nan
    assert best_rows(panel(values), "ab", "high") == frozenset(), "the other lacks a seed"


@pytest.mark.parametrize("pooled", [False, True])
def test_without_scenes_to_compare_the_best_mean_is_alone_but_for_its_equals(pooled: bool) -> None:
    values = np.array([[[1.0, 1.0]], [[2.0, 2.2]], [[2.2, 2.0]]])
    assert best_rows(panel(values, pooled=pooled), "abc", "high") == {"b", "c"}
