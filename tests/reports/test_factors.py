"""Factor effects and the frontier: known answers, what cannot be told, and how often an effect of nothing is found."""

from itertools import product

import numpy as np
import pytest

from reports.statistics.factors import FactorEffects, factor_effects
from reports.statistics.frontier import on_frontier
from reports.statistics.panel import Floats

WRITE = {"latents": 10.0, "grid": 4.0, "state": 1.0}
ADDRESS = {"none": 0.0, "bearing": 6.0}
READ = {"tokens": 0.0, "text": 2.0}


def cell(write: str, address: str, read: str) -> dict[str, str]:
    return {"write": write, "address": address, "read": read}


def exact(choices: dict[str, dict[str, str]], more: dict[str, float] | None = None) -> dict[str, Floats]:
    """Layouts of an additive world without noise, (3 scenes, 2 seeds); `more` is added to single rows."""
    scenes = np.array([[0.0, 1.0], [2.0, 3.0], [-2.0, -4.0]])
    return {
        row: scenes + WRITE[one["write"]] + ADDRESS[one["address"]] + READ[one["read"]] + (more or {}).get(row, 0.0)
        for row, one in choices.items()
    }


def found(layouts: dict[str, Floats], choices: dict[str, dict[str, str]]) -> FactorEffects:
    effects = factor_effects(layouts, choices)
    assert effects is not None
    return effects


UNBALANCED = {
    "a": cell("latents", "none", "tokens"),
    "b": cell("latents", "bearing", "tokens"),
    "c": cell("grid", "none", "text"),
    "d": cell("grid", "bearing", "text"),
    "e": cell("latents", "bearing", "text"),
}


def test_effects_of_an_unbalanced_table_are_those_that_made_it() -> None:
    effects = found(exact(UNBALANCED), UNBALANCED)
    [group] = effects.groups
    contrasts = {(one.factor, one.a, one.b): one.interval.mean for one in group.contrasts}
    assert contrasts == pytest.approx(
        {("write", "grid", "latents"): -6.0, ("address", "bearing", "none"): 6.0, ("read", "text", "tokens"): 2.0}
    )
    # Each level of the others counts alike: of write latents, (10) + mean(0, 6) + mean(0, 2).
    means = {(one.factor, one.level): one.interval.mean for one in group.means}
    assert means["write", "latents"] == pytest.approx(14.0) and means["write", "grid"] == pytest.approx(8.0)
    assert means["address", "bearing"] == pytest.approx(14.0) and means["read", "tokens"] == pytest.approx(10.0)
    assert effects.inseparable == () and not effects.left_out


def test_rows_with_the_same_choices_count_once() -> None:
    # The raw mean of write grid would be pulled to its three rows.
    choices = {
        "a": cell("latents", "none", "tokens"),
        "b": cell("latents", "bearing", "tokens"),
        **{f"c{i}": cell("grid", "bearing", "tokens") for i in range(3)},
        "d": cell("grid", "none", "tokens"),
    }
    effects = found(exact(choices, {"a": 3.0}), choices)
    contrasts = {(one.factor, one.a): one.interval.mean for one in effects.groups[0].contrasts}
    assert contrasts == pytest.approx({("write", "grid"): -7.5, ("address", "bearing"): 4.5})
    assert [one.rows for one in effects.groups[0].means if one.level == "grid"] == [("c0", "c1", "c2", "d")]


def test_what_stands_only_together_is_not_told_apart() -> None:
    choices = {
        "a": cell("latents", "none", "tokens"),
        "b": cell("latents", "bearing", "tokens"),
        "c": cell("state", "none", "text"),
        "d": cell("state", "bearing", "text"),
    }
    effects = found(exact(choices), choices)
    assert {(one.factor, one.one, one.other): one.reason for one in effects.inseparable} == {
        ("write", ("latents",), ("state",)): "latents only with read tokens, and that with nothing else",
        ("read", ("tokens",), ("text",)): "tokens only with write latents, and that with nothing else",
    }
    # Two groups: in each only the address varies.
    assert [group.rows for group in effects.groups] == [("a", "b"), ("c", "d")]
    contrasts = [(one.factor, one.interval.mean) for group in effects.groups for one in group.contrasts]
    assert contrasts[0] == contrasts[1] == ("address", pytest.approx(6.0))
    means = {(g.rows, m.level): m.interval.mean for g in effects.groups for m in g.means}
    assert means[("c", "d"), "bearing"] == pytest.approx(1 + 6 + 2)


def test_a_chain_of_cells_makes_levels_comparable_and_says_on_what_that_rests() -> None:
    choices = {
        "a": cell("latents", "none", "tokens"),
        "b": cell("latents", "bearing", "tokens"),
        "c": cell("grid", "bearing", "tokens"),
    }
    [group] = found(exact(choices), choices).groups
    notes = {(one.a, one.b): one.note for one in group.contrasts}
    assert notes["bearing", "none"] == "together only with write latents"
    assert notes["grid", "latents"] == "together only with address bearing"


def test_no_chain_of_cells_is_said() -> None:
    choices = {"a": cell("latents", "none", "tokens"), "b": cell("grid", "bearing", "tokens")}
    effects = found(exact(choices), choices)
    assert effects.groups == () and effects.interactions == ()
    assert {one.factor for one in effects.inseparable} == {"write", "address"}


def test_the_largest_interaction_is_the_one_that_was_put_in() -> None:
    choices = {
        f"{w}-{a}-{r}": cell(w, a, r)
        for w, a, r in product(("latents", "grid"), ("none", "bearing"), ("tokens", "text"))
    }
    # Bearing is worth 5 more to a grid; text is worth 1 less with bearing.
    more = {row: 5.0 * (c["write"] == "grid") * (c["address"] == "bearing") for row, c in choices.items()}
    more = {row: more[row] - 1.0 * (c["address"] == "bearing") * (c["read"] == "text") for row, c in choices.items()}
    effects = found(exact(choices, more), choices)
    first, second, third = effects.interactions
    assert first.factors == ("write", "address") and first.interval.mean == pytest.approx(5.0)
    assert {(first.a, first.c), (first.b, first.d)} == {("grid", "bearing"), ("latents", "none")} or {
        (first.a, first.c),
        (first.b, first.d),
    } == {("latents", "none"), ("grid", "bearing")}
    assert second.factors == ("address", "read") and second.interval.mean == pytest.approx(1.0)
    assert third.interval.mean == pytest.approx(0.0) and effects.tested == 3


def test_rows_that_cannot_be_compared_are_named() -> None:
    layouts = exact(UNBALANCED)
    layouts |= {"late": np.where(np.arange(2) == 0, layouts["a"], np.nan), "empty": np.full((3, 2), np.nan)}
    layouts |= {"masked": layouts["a"], "half": layouts["a"]}
    choices = {**UNBALANCED, "late": UNBALANCED["a"], "empty": UNBALANCED["a"], "half": {"write": "grid"}}
    assert found(layouts, choices).left_out == {
        "late": "lacks a seed that most rows have",
        "empty": "has no values",
        "masked": "says nothing of what it is made of",
        "half": "has no address, read",
    }


def test_a_row_that_is_ahead_by_a_seed_leaves_no_other_out() -> None:
    whole = exact(UNBALANCED)
    layouts = {row: np.where(np.arange(2) == 0, values, np.nan) for row, values in whole.items()} | {"a": whole["a"]}
    effects = found(layouts, UNBALANCED)
    assert not effects.left_out
    assert {one.interval.seeds for one in effects.groups[0].contrasts} == {1}


def test_scenes_that_a_row_lacks_are_left_out_and_counted() -> None:
    layouts = exact(UNBALANCED)
    layouts["a"] = layouts["a"].copy()
    layouts["a"][1, 0] = np.nan
    effects = found(layouts, UNBALANCED)
    assert effects.dropped_scenes == 1 and effects.groups[0].contrasts[0].interval.scenes == 2


def test_nothing_is_estimated_of_one_combination_or_without_factors() -> None:
    layouts = exact(UNBALANCED)
    assert factor_effects(layouts, {}) is None
    assert factor_effects(layouts, dict.fromkeys(layouts, UNBALANCED["a"])) is None
    assert factor_effects({}, {}) is None


def simulated(generator: np.random.Generator, scenes: int, seeds: int) -> dict[str, Floats]:
    """Rows without any effect: scenes and seeds are hard or easy for all, and for a row; each training differs."""
    common = generator.normal(size=(scenes, 1)) + generator.normal(size=(1, seeds))
    return {
        row: common
        + generator.normal(size=(scenes, 1))
        + 0.7 * generator.normal(size=(1, seeds))
        + generator.normal(size=(scenes, seeds))
        for row in UNBALANCED
    }


def shares_found(scenes: int, seeds: int, worlds: int) -> tuple[float, float, float]:
    """Of contrasts whose interval excludes 0, of worlds with a contrast by Holm, of worlds with an interaction."""
    generator = np.random.Generator(np.random.Philox(key=100 * scenes + seeds))
    intervals, adjusted, interactions = [], [], []
    for _ in range(worlds):
        effects = found(simulated(generator, scenes, seeds), UNBALANCED)
        contrasts = effects.groups[0].contrasts
        intervals += [one.interval.low > 0 or one.interval.high < 0 for one in contrasts]
        adjusted.append(any(one.p_adjusted < 0.05 for one in contrasts))
        interactions.append(any(one.interval.low > 0 for one in effects.interactions))
    return float(np.mean(intervals)), float(np.mean(adjusted)), float(np.mean(interactions))


def test_an_effect_of_nothing_is_found_in_seven_of_a_hundred_worlds_at_most() -> None:
    assert max(shares_found(8, 3, 150)) <= 0.07


@pytest.mark.long
@pytest.mark.parametrize("scenes", [4, 8, 16, 32])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_an_effect_of_nothing_is_seldom_found_with_other_scenes_and_seeds(scenes: int, seeds: int) -> None:
    assert max(shares_found(scenes, seeds, 1000)) <= 0.07


def test_a_row_is_on_the_frontier_if_nothing_is_smaller_and_as_good() -> None:
    sizes = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 9.0])
    scores = np.array([5.0, 7.0, 6.0, 7.0, 8.0, np.nan])
    assert list(on_frontier(sizes, scores)) == [True, True, False, False, True, False]
    drawn = np.stack([scores, scores[::-1]])
    assert on_frontier(sizes, drawn).shape == (2, 6)
    assert list(on_frontier(np.array([1.0, 1.0]), np.array([3.0, 3.0]))) == [True, True]
