"""Table of rows that are ranked together: scores, agreement of branches, rank shifts, inversions.

Everything is computed over the distinct computations of the table; an alias gets the numbers of its row and is not
ranked separately.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reports.statistics.agreement import kendall, pearson, ranks, spearman
from reports.statistics.panel import Floats
from reports.statistics.scores import Scoring, branch_score, bundle_name


@dataclass(frozen=True, kw_only=True)
class Table:
    """An analysed table, over distinct rows; `names` has the aliases."""

    rows: tuple[str, ...]
    """Distinct computations, in the table's order."""
    names: Mapping[str, str]
    """Every row of the table -> the one of `rows` that computed it."""
    computed: tuple[str, ...]
    """Of each of `rows`, the row whose panels have its values."""
    metrics: Mapping[str, Floats]
    """`branch/metric` -> (rows,)."""
    scores: Mapping[str, Floats]
    """branch -> (rows,)."""
    scoring: Scoring

    def score(self, branch: str, row: str) -> float:
        """Score of a row under any of its names; NaN where missing."""
        return float(self.scores[branch][self.place[self.names[row]]])

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Row -> its place among `rows`."""
        return {row: i for i, row in enumerate(self.rows)}


def analyse(
    rows: Sequence[str],
    computed_by: Mapping[str, str],
    means: Mapping[str, Mapping[str, float]],
    scoring: Scoring,
) -> Table:
    """Put one table together.

    Args:
        rows: of the table, in its order.
        computed_by: row -> the row whose computation it is (itself unless it is an alias).
        means: `branch/metric` -> row -> mean, by distinct row.
        scoring: how the branches are scored.
    """
    names: dict[str, str] = {}
    first_name: dict[str, str] = {}
    for row in rows:
        names[row] = first_name.setdefault(computed_by[row], row)
    distinct = tuple(dict.fromkeys(names.values()))
    computed = tuple(computed_by[row] for row in distinct)
    metrics = {name: np.array([by_row.get(row, np.nan) for row in computed]) for name, by_row in means.items()}
    return Table(
        rows=distinct,
        names=names,
        computed=computed,
        metrics=metrics,
        scores={b.name: branch_score(b, metrics, len(distinct)) for b in scoring.branches},
        scoring=scoring,
    )


def agreement(table: Table) -> dict[str, dict[str, float]]:
    """Pearson, Spearman and Kendall of every pair of branches; NaN where it is not defined."""
    found = {}
    for a, b in table.scoring.pairs:
        x, y = table.scores[a], table.scores[b]
        found[f"{a}~{b}"] = {
            "pearson": float(pearson(x, y)),
            "spearman": float(spearman(x, y)),
            "kendall": float(kendall(x, y)),
        }
    return found


def branch_ranks(table: Table) -> Mapping[str, Floats]:
    """Ranks on both branches of the contrast over the rows that have both scores, 1 best; else on every branch."""
    scores = {branch: table.scores[branch] for branch in table.scoring.ranked}
    if table.scoring.contrast is None:
        return {branch: ranks(values) for branch, values in scores.items()}
    both = np.logical_and.reduce([np.isfinite(values) for values in scores.values()])
    return {branch: ranks(np.where(both, values, np.nan)) for branch, values in scores.items()}


def rank_shift(table: Table) -> dict[str, int]:
    """Rank on the second branch of the contrast − on the first, of every row under all its names that has both."""
    if table.scoring.contrast is None:
        return {}
    found = branch_ranks(table)
    first, second = table.scoring.contrast
    shift = found[second] - found[first]
    at = {row: i for i, row in enumerate(table.rows)}
    return {row: int(shift[at[name]]) for row, name in table.names.items() if np.isfinite(shift[at[name]])}


def as_json(table: Table, compared: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table as in report.json, with the `comparisons` of it; `computed_json.plain` makes NaN null."""
    place = branch_ranks(table)
    bundled = table.scoring.bundled
    at = {row: table.place[name] for row, name in table.names.items()}
    return {
        "rows": list(table.names),
        "agreement": agreement(table),
        "rank_shift": rank_shift(table),
        **({} if bundled is None else {"bundle": {row: table.score(bundled.name, row) for row in table.names}}),
        **({} if bundled is None else {"bundle_name": bundle_name(bundled, table.metrics.keys())}),
        "scores": {b: {row: table.score(b, row) for row in table.names} for b in table.scoring.names},
        "ranks": {branch: {row: float(place[branch][i]) for row, i in at.items()} for branch in place},
        "same_as": {row: name for row, name in table.names.items() if row != name},
        "comparisons": compared,
    }
