r"""Inversions: pairs of rows that two branches order differently, beside what noise alone would give.

*One pair.* Both differences are known up to their standard errors. The probability of the printed direction, A better
on the first branch and B on the second, is the product of what Student's t gives for each; the branches have other
scenes, and what their common seeds do to both is taken as independent. p is that of the less sure order, doubled since
either direction could have been found, and, adjusted, deduced from the orders that are sure together (`sure_order.py`).

*Their number.* Noise inverts pairs that both branches order alike, the more the closer their rows. What is to be
expected is simulated under the hypothesis that there is one order of the rows, that each branch has in its own unit and
spacing. The order is that of the posterior mean of the rows' common factor $\theta$ in

$$ x_r = \mu_x + \tau_x \theta_r + \varepsilon_r , \quad y_r = \mu_y + \tau_y \theta_r + \delta_r ,
   \quad \theta_r \sim N(0, 1) , $$

with $\tau^2$ what the scores vary beyond their standard errors. On each branch, neighbours in that order are pooled,
those that differ least first, until every one is above its lower neighbour by two standard errors; noise of the rows'
standard errors is added again and again. So rows that noise may have ordered are tied, and half of their pairs invert:
the hypothesis is given the benefit of the doubt, since the spacing that scores have by chance would make inversions
look rare. p is the share of simulations with at least as many inversions.

With a row's variance $v_r$ solved from those of its differences, $e_{rj}^2 \approx v_r + v_j$: $v_r = (\sum_j e_{rj}^2
- T) / (R - 2)$, $T = \sum_{r<j} e_{rj}^2 / (R - 1)$.

How often p is below 0.05 where both branches do order rows alike is simulated (`docs/reference/calibration.md`).

Without the two standard errors, pooling is isotonic regression: Barlow, Bartholomew, Bremner and Brunk (1972),
Statistical Inference under Order Restrictions, chapter 1.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reports.marks import FEWEST_SCENES
from reports.statistics.held_scores import held_scores
from reports.statistics.intervals import FEWEST_SEEDS, Bools
from reports.statistics.pairs import RowPairs, row_pairs
from reports.statistics.panel import Floats, Panel
from reports.statistics.sure_order import sure_order
from reports.statistics.table import Table

SIMULATIONS = 2000
MOST_COMPARED = 10_000_000
"""Pairs compared in all simulations together: of large tables there are fewer simulations."""
LEAST_SIMULATIONS = 200
GENERATOR_SEED = 20260609
"""Fixed, so that a report of the same values has the same digits."""
LIMITS = (0.025, 0.975)
APART = 2.0
"""Standard errors between neighbours that noise did not order, in the simulated hypothesis."""


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """A pair of rows that the branches order differently; None: too few scenes have values of both."""

    better_on_first: str
    better_on_second: str
    differences: tuple[float, float]
    """How far apart they are on either branch, both positive."""
    probability: float | None
    """Of this direction on both branches."""
    p: float | None
    p_adjusted: float | None
    """Over all pairs of the table and both branches."""
    seeds: int | None
    """With one, everything is over scenes only."""


@dataclass(frozen=True, kw_only=True)
class InversionCount:
    """Number of inverted pairs of a table, and what is to be expected."""

    observed: int
    pairs: int
    """Of rows with both scores."""
    unrelated: float
    """Expectation where the branches have nothing to do with each other: half of the pairs."""
    expected: float | None
    """Expectation where both branches order the rows alike, and only noise differs."""
    low: float | None
    high: float | None
    """Between which 95 % of the simulated numbers are."""
    p: float | None
    reason: str
    """Why there is no expectation; else empty."""


@dataclass(frozen=True, kw_only=True)
class Inversions:
    """Inverted pairs of a table, the clearest first, and their number."""

    pairs: tuple[Inversion, ...]
    count: InversionCount | None
    """None: there are no two branches to contrast."""


def inverted(table: Table) -> list[tuple[int, int]]:
    """(better on the first branch, better on the second), as places in `table.rows`, of every inverted pair."""
    if table.scoring.contrast is None:
        return []
    first, second = (table.scores[branch] for branch in table.scoring.contrast)
    opposite = (first[:, None] > first) & (second[:, None] < second)
    return [(int(a), int(b)) for a, b in zip(*np.nonzero(opposite), strict=True)]


def inversions(table: Table, panels: Mapping[str, Panel]) -> Inversions:
    """The inverted pairs of a table.

    Args:
        table: analysed.
        panels: by `branch/metric`; empty without values by case.
    """
    contrast = table.scoring.contrast
    if contrast is None:
        return Inversions(pairs=(), count=None)
    scores = (table.scores[contrast[0]], table.scores[contrast[1]])
    pairs = _pairs(table, contrast, panels)
    above = () if pairs is None else tuple(one.above() for one in pairs)
    compared = None if pairs is None else pairs[0].compared() & pairs[1].compared()
    found = [_inversion(table, scores, pairs, above, compared, a, b) for a, b in inverted(table)]
    if pairs is not None:
        order = sure_order(pairs, fewest_seeds=1)
        at = {row: i for i, row in enumerate(table.rows)}
        adjusted = np.maximum(order.above[0], order.above[1].T)
        found = [
            replace(one, p_adjusted=float(adjusted[at[one.better_on_first], at[one.better_on_second]])) for one in found
        ]
    found.sort(key=lambda one: (1.0 if one.p is None else one.p, one.better_on_first, one.better_on_second))
    return Inversions(pairs=tuple(found), count=_count(scores, pairs, len(found)))


def inversions_json(table: Table, found: Inversions) -> dict[str, Any]:
    """Keys of a table in report.json."""
    if table.scoring.contrast is None:
        return {"inversions": [], "inversion_count": None}
    first, second = table.scoring.contrast
    return {
        "inversions": [
            {
                f"better_on_{first}": one.better_on_first,
                f"better_on_{second}": one.better_on_second,
                f"{first}_difference": one.differences[0],
                f"{second}_difference": one.differences[1],
                "probability": one.probability,
                "p": one.p,
                "p_adjusted": one.p_adjusted,
                "seeds": one.seeds,
            }
            for one in found.pairs
        ],
        "inversion_count": None if found.count is None else asdict(found.count),
    }


def _pairs(table: Table, contrast: tuple[str, str], panels: Mapping[str, Panel]) -> tuple[RowPairs, RowPairs] | None:
    """Differences of the table's rows on both branches, under their names in the table."""
    found = []
    for branch in contrast:
        scores = held_scores(table, branch, table.computed, panels)
        if scores is None:
            return None
        own = {name: scores[row] for name, row in zip(table.rows, table.computed, strict=True)}
        found.append(row_pairs(own))
    return found[0], found[1]


def _inversion(
    table: Table,
    scores: tuple[Floats, Floats],
    pairs: tuple[RowPairs, RowPairs] | None,
    above: Sequence[Floats],
    compared: Bools | None,
    a: int,
    b: int,
) -> Inversion:
    """The pair of a row that is better on the first branch and one that is on the second.

    `above` and `compared` are those of `pairs`; of two rows that are not compared on both branches nothing is said.
    """
    probability = p = seeds = None
    if pairs is not None and compared is not None and compared[a, b]:
        below = [float(above[0][a, b]), float(above[1][b, a])]
        probability = (1.0 - below[0]) * (1.0 - below[1])
        p, seeds = min(1.0, 2.0 * max(below)), int(min(one.seeds[a, b] for one in pairs))
    return Inversion(
        better_on_first=table.rows[a],
        better_on_second=table.rows[b],
        differences=(float(scores[0][a] - scores[0][b]), float(scores[1][b] - scores[1][a])),
        probability=probability,
        p=p,
        p_adjusted=None,
        seeds=seeds,
    )


def _count(scores: tuple[Floats, Floats], pairs: tuple[RowPairs, RowPairs] | None, observed: int) -> InversionCount:
    both = np.isfinite(scores[0]) & np.isfinite(scores[1])
    rows = int(both.sum())
    number = rows * (rows - 1) // 2
    counts: Floats | None = None
    reason = ""
    if pairs is None:
        reason = "there are no values by case"
    elif rows < 2:
        reason = "fewer than two rows have both scores"
    else:
        at = np.flatnonzero(both)
        upper = tuple(at[index] for index in np.triu_indices(rows, 1))
        if any(not one.compared()[upper].all() for one in pairs):
            reason = f"two rows share fewer than {FEWEST_SCENES} scenes"
        elif any((one.seeds[upper] < FEWEST_SEEDS).any() for one in pairs):
            reason = "with one seed, how much another training would change is not known"
        else:
            variances = [_row_variances(one.error[np.ix_(at, at)]) for one in pairs]
            counts = _simulated([score[at] for score in scores], variances)
    low, high = (None, None) if counts is None else (float(value) for value in np.quantile(counts, LIMITS))
    return InversionCount(
        observed=observed,
        pairs=number,
        unrelated=number / 2,
        expected=None if counts is None else float(counts.mean()),
        low=low,
        high=high,
        p=None if counts is None else float((1 + (counts >= observed).sum()) / (1 + len(counts))),
        reason=reason,
    )


def _row_variances(error: Floats) -> Floats:
    """(rows,) of (rows, rows) standard errors of differences."""
    rows = len(error)
    squares = np.where(np.eye(rows, dtype=np.bool_), 0.0, error**2)
    if rows < 3:
        return np.full(rows, float(squares.max(initial=0.0)) / 2)
    total = squares.sum() / (2 * (rows - 1))
    found: Floats = np.maximum(0.0, (squares.sum(axis=1) - total) / (rows - 2))
    return found


def common_order(scores: Sequence[Floats], variances: Sequence[Floats]) -> Floats:
    """(rows,): the posterior mean of the rows' common factor (model in the module's docstring)."""
    precision: Floats = np.ones(scores[0].shape)
    total: Floats = np.zeros(scores[0].shape)
    for own, variance in zip(scores, variances, strict=True):
        spread = float(own.var(ddof=1))
        signal = max(spread - float(variance.mean()), 0.0)
        least = np.maximum(variance, 1e-9 * max(spread, np.finfo(np.float64).tiny))
        precision += signal / least
        total += np.sqrt(signal) * (own - own.mean()) / least
    posterior: Floats = total / precision
    return posterior


def pooled_neighbours(scores: Floats, variances: Floats, order: npt.NDArray[np.int_]) -> Floats:
    """(rows,): scores that rise along `order`, neighbours pooled until each is `APART` above the one below."""
    weights = 1.0 / np.maximum(variances, max(float(variances.max(initial=0.0)) * 1e-9, np.finfo(np.float64).tiny))
    groups = [([int(row)], float(scores[row]), float(weights[row])) for row in order]
    while len(groups) > 1:
        steps = [(b[1] - a[1]) / math.sqrt(1.0 / a[2] + 1.0 / b[2]) for a, b in itertools.pairwise(groups)]
        least = steps.index(min(steps))
        if steps[least] >= APART:
            break
        (low, x, u), (high, y, v) = groups[least : least + 2]
        groups[least : least + 2] = [(low + high, (u * x + v * y) / (u + v), u + v)]
    found = scores.copy()
    for members, value, _ in groups:
        found[members] = value
    return found


def _simulated(scores: Sequence[Floats], variances: Sequence[Floats]) -> Floats:
    """Numbers of inversions where both branches order the rows alike."""
    rows = len(scores[0])
    upper = np.triu_indices(rows, 1)
    simulations = int(np.clip(MOST_COMPARED // max(len(upper[0]), 1), LEAST_SIMULATIONS, SIMULATIONS))
    generator = np.random.Generator(np.random.Philox(key=GENERATOR_SEED))
    order = np.argsort(common_order(scores, variances), kind="stable")
    drawn = []
    for own, variance in zip(scores, variances, strict=True):
        alike = pooled_neighbours(own, variance, order)
        drawn.append(alike + generator.normal(size=(simulations, rows)) * np.sqrt(variance))
    counts = np.zeros(simulations)
    for i in range(rows - 1):
        signs = [np.sign(one[:, i : i + 1] - one[:, i + 1 :]) for one in drawn]
        counts += (signs[0] * signs[1] < 0).sum(axis=1)
    return counts
