"""Inversions: the printed direction, and how many noise alone would give."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t as student

from reports.formats import p_text
from reports.page.inversions import chance
from reports.spec import BranchSpec, ScorePart
from reports.statistics.inversions import Inversions, inversions, inversions_json, pooled_neighbours
from reports.statistics.pairs import row_pairs
from reports.statistics.panel import Floats, Panel
from reports.statistics.scores import Scoring
from reports.statistics.table import Table, analyse

Means = npt.NDArray[np.floating[Any]]

BRANCHES = ("here", "there")
SCORING = Scoring(
    branches=tuple(BranchSpec(name=name, score=(ScorePart(metric="m"),)) for name in BRANCHES), contrast=BRANCHES
)


def draws(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def tabled(*branches: Floats) -> tuple[Table, dict[str, Panel]]:
    """A table of (rows, scenes, seeds) on both branches."""
    rows = tuple(f"r{i}" for i in range(len(branches[0])))
    panels = {
        f"{name}/m": Panel(
            metric=f"{name}/m", unit="", better="high", rows=rows, scenes=tuple(map(str, range(values.shape[1]))),
            seeds=tuple(range(values.shape[2])), total=values, count=np.ones(values.shape), expected=values[0].size,
        )
        for name, values in zip(BRANCHES, branches, strict=True)
    }  # fmt: skip
    means = {name: dict(zip(rows, map(float, panel.means()), strict=True)) for name, panel in panels.items()}
    return analyse(rows, {row: row for row in rows}, means, SCORING), panels


def world(key: int, first: Means, second: Means, noise: float, seeds: int = 3) -> Inversions:
    table, panels = tabled(
        *(
            mean[:, None, None] + noise * draws(key + n).normal(size=(len(mean), 8, seeds))
            for n, mean in enumerate((first, second))
        )
    )
    return inversions(table, panels)


def test_the_probability_is_that_of_the_printed_direction() -> None:
    first, second = np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.0, 3.0])
    values = [m[:, None, None] + 0.5 * draws(n).normal(size=(3, 6, 2)) for n, m in enumerate((first, second))]
    table, panels = tabled(*values)
    [pair] = inversions(table, panels).pairs
    assert (pair.better_on_first, pair.better_on_second) == ("r1", "r0")
    sides = []
    for layouts, sign in zip(values, (1, -1), strict=True):
        pairs = row_pairs({f"r{i}": layout for i, layout in enumerate(layouts)})
        sides.append(student.cdf(sign * pairs.mean[1, 0] / pairs.error[1, 0], pairs.freedom[1, 0]))
    assert pair.probability == pytest.approx(sides[0] * sides[1])
    assert pair.p == pytest.approx(2 * (1 - min(sides)))
    assert pair.p is not None and pair.p_adjusted is not None and pair.p_adjusted >= pair.p


def test_a_pair_that_is_inverted_by_chance_has_no_probability_of_a_half_or_more_of_being_so() -> None:
    """The share of resamples with any inversion was 0.5 where nothing is known; this direction has a quarter."""
    nearly = np.array([0.0, 1e-6])
    found = world(3, nearly, nearly[::-1], 1.0)
    for pair in found.pairs:
        assert pair.probability is not None and pair.probability < 1.0
    table, panels = tabled(
        np.zeros((2, 6, 2)) + nearly[:, None, None] + SPREAD, np.zeros((2, 6, 2)) - nearly[:, None, None] + SPREAD
    )
    [pair] = inversions(table, panels).pairs
    assert pair.probability == pytest.approx(0.25, abs=0.01)


SPREAD = draws(9).normal(size=(2, 6, 2))
SPREAD -= SPREAD.mean(axis=(1, 2), keepdims=True)


def test_the_clearest_pair_is_first() -> None:
    found = world(5, np.array([5.0, 0.0, 50.0, 0.0]), np.array([0.0, 5.0, 0.0, 50.0]), 1.0)
    assert (found.pairs[0].better_on_first, found.pairs[0].better_on_second) == ("r2", "r3")
    assert [pair.p for pair in found.pairs] == sorted(pair.p for pair in found.pairs if pair.p is not None)


def test_noise_alone_inverts_pairs_of_rows_that_are_close_and_that_is_said() -> None:
    close = world(6, np.arange(8) * 0.05, np.arange(8) * 0.05, 1.0).count
    assert close is not None and close.expected is not None and close.p is not None and close.high is not None
    assert close.unrelated == 14.0
    assert 8 < close.expected < 14.0 and close.p > 0.05 and close.observed <= close.high
    apart = world(7, np.arange(8) * 9.0, np.arange(8)[::-1] * 9.0, 1.0).count
    assert apart is not None and apart.expected is not None and apart.p is not None
    assert (apart.observed, apart.pairs) == (28, 28)
    assert apart.expected < 14.5 and apart.p < 0.001 + 1 / 2000
    same = world(8, np.arange(8) * 9.0, np.arange(8) * 9.0, 1.0).count
    assert same is not None
    assert (same.observed, same.expected, same.p) == (0, 0.0, 1.0)


def test_what_is_not_known_has_its_reason() -> None:
    lone = world(9, np.arange(4.0), -np.arange(4.0), 0.1, seeds=1)
    assert lone.count is not None
    reason = "with one seed, how much another training would change is not known"
    assert (lone.count.p, lone.count.reason) == (None, reason)
    assert {pair.seeds for pair in lone.pairs} == {1}
    table, _ = tabled(np.zeros((3, 2, 2)), np.zeros((3, 2, 2)))
    means = {f"{b}/m": {f"r{i}": i * sign for i in range(3)} for b, sign in zip(BRANCHES, (1.0, -1.0), strict=True)}
    published = inversions(analyse(table.rows, {row: row for row in table.rows}, means, SCORING), {})
    assert published.count is not None
    assert (published.count.observed, published.count.reason) == (3, "there are no values by case")
    assert {(pair.probability, pair.p) for pair in published.pairs} == {(None, None)}
    assert chance(published.count) == (
        "It would be 1.5 if the branches were unrelated. What noise alone would give is not known: there are no values "
        "by case."
    )


def test_pooled_neighbours_rise_and_stay_where_they_are_clearly_apart() -> None:
    scores, order = np.array([3.0, 0.0, 10.0, 0.4]), np.array([1, 3, 0, 2])
    assert pooled_neighbours(scores, np.full(4, 1e-6), order) == pytest.approx(scores)
    assert pooled_neighbours(scores, np.full(4, 0.1), order) == pytest.approx([3.0, 0.2, 10.0, 0.2])
    turned = pooled_neighbours(scores, np.full(4, 1e-6), order[::-1])
    assert turned == pytest.approx(np.full(4, scores.mean()))


def test_the_number_and_the_order_of_rows_change_with_nothing_else() -> None:
    first = draws(1).normal(size=(6, 8, 3))
    found = [inversions_json(table, inversions(table, panels)) for table, panels in [tabled(first, first[::-1])] * 2]
    assert found[0] == found[1]
    assert set(found[0]["inversions"][0]) == {
        *(f"better_on_{name}" for name in BRANCHES),
        *(f"{name}_difference" for name in BRANCHES),
        *("probability", "p", "p_adjusted", "seeds"),
    }


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0, "< 0.001"), (0.00049, "< 0.001"), (0.001, "0.001"), (0.0421, "0.042"), (1.0, "1.000"), (None, "")],
)
def test_no_p_is_printed_as_zero(p: float | None, text: str) -> None:
    assert p_text(p) == text
    assert p_text(math.nan) == ""


@pytest.mark.long
@pytest.mark.parametrize("apart", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("shape", ["linear", "two groups"])
def test_the_number_is_rarely_called_too_large_where_branches_order_rows_alike(apart: float, shape: str) -> None:
    line = np.linspace(-1, 1, 12)
    first = apart * (line if shape == "linear" else np.sign(line) + 0.01 * line)
    rare = 0
    for n in range(200):
        count = world(10 * n, first, apart * line, 1.5).count
        assert count is not None and count.p is not None
        rare += count.p <= 0.05
    assert rare / 200 <= 0.09
