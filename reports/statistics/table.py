"""One table of rows that are ranked together: scores, agreement of the branches, rank shifts, inversions.

Everything is computed over the table's rows alone and over distinct computations; a row that is
another name of one in the table gets its numbers and adds no rank (study.md section 8).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from reports.statistics.agreement import kendall, pearson, ranks, spearman
from reports.statistics.intervals import complete, holm, interval_or_none
from reports.statistics.panel import Floats, Panel
from reports.statistics.resampling import Draws
from reports.statistics.scores import BRANCHES, branch_score, bundle_name

COMPARED = ("replay/psnr", "return/judge")
"""Metrics of the row-to-row comparisons of a table."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table after analysis, over distinct rows; `names` adds the other names."""

    rows: tuple[str, ...]
    """Distinct computations, in the table's order."""
    names: Mapping[str, str]
    """Every row of the table -> the one of `rows` that computed it."""
    metrics: Mapping[str, Floats]
    """`branch/metric` -> (rows,)."""
    scores: Mapping[str, Floats]
    """branch -> (rows,)."""
    draws: Mapping[str, Floats] | None
    """branch -> (resamples, rows); None without case values."""

    def score(self, branch: str, row: str) -> float:
        """Score of a row under any of its names; NaN where missing."""
        return float(self.scores[branch][self.rows.index(self.names[row])])


def analyse(
    rows: Sequence[str], computed_by: Mapping[str, str], means: Mapping[str, Mapping[str, float]], draws: Draws | None
) -> Table:
    """Put one table together.

    Args:
        rows: of the table, in its order.
        computed_by: row -> the row whose computation it is (itself unless it is an alias).
        means: `branch/metric` -> row -> mean, by distinct row.
        draws: resamples over all distinct rows.
    """
    names: dict[str, str] = {}
    first_name: dict[str, str] = {}
    for row in rows:
        names[row] = first_name.setdefault(computed_by[row], row)
    distinct = tuple(dict.fromkeys(names.values()))
    computed = tuple(computed_by[row] for row in distinct)
    metrics = {name: np.array([by_row.get(row, np.nan) for row in computed]) for name, by_row in means.items()}
    drawn = draws.of(computed).metrics if draws is not None else None
    return Table(
        rows=distinct,
        names=names,
        metrics=metrics,
        scores={branch: branch_score(branch, metrics, len(distinct)) for branch in BRANCHES},
        draws=None if drawn is None else {b: branch_score(b, drawn, len(distinct)) for b in BRANCHES},
    )


def agreement(table: Table) -> dict[str, dict[str, float]]:
    """Pearson, Spearman and Kendall of every pair of branches; NaN where it is not defined."""
    found = {}
    for a, b in (("replay", "return"), ("replay", "loop"), ("loop", "return")):
        x, y = table.scores[a], table.scores[b]
        found[f"{a}~{b}"] = {
            "pearson": float(pearson(x, y)),
            "spearman": float(spearman(x, y)),
            "kendall": float(kendall(x, y)),
        }
    return found


def branch_ranks(table: Table) -> Mapping[str, Floats]:
    """Ranks on replay and return over the rows that have both scores, 1 best."""
    both = np.isfinite(table.scores["replay"]) & np.isfinite(table.scores["return"])
    return {branch: ranks(np.where(both, table.scores[branch], np.nan)) for branch in ("replay", "return")}


def rank_shift(table: Table) -> dict[str, int]:
    """Return rank − replay rank of every row under all its names; rows without both scores are left out."""
    found = branch_ranks(table)
    shift = found["return"] - found["replay"]
    at = {row: i for i, row in enumerate(table.rows)}
    return {row: int(shift[at[name]]) for row, name in table.names.items() if np.isfinite(shift[at[name]])}


def inversions(table: Table) -> list[dict[str, Any]]:
    """Pairs of rows that replay and return order differently, likeliest first.

    `probability` is the share of resamples in which the pair is inverted, with bundle and ranks
    computed again in each; None without case values.
    """
    replay, back = table.scores["replay"], table.scores["return"]
    found = []
    for i, j in combinations(range(len(table.rows)), 2):
        forward, backward = float(replay[i] - replay[j]), float(back[i] - back[j])
        if not forward * backward < 0:
            continue
        a, b = (i, j) if forward > 0 else (j, i)
        probability = None
        if table.draws is not None:
            product = (table.draws["replay"][:, i] - table.draws["replay"][:, j]) * (
                table.draws["return"][:, i] - table.draws["return"][:, j]
            )
            usable = np.isfinite(product)
            probability = float((product[usable] < 0).mean()) if usable.any() else None
        found.append(
            {
                "better_on_replay": table.rows[a],
                "better_on_return": table.rows[b],
                "replay_difference": abs(forward),
                "return_difference": abs(backward),
                "probability": probability,
            }
        )
    return sorted(found, key=lambda pair: (-(pair["probability"] or 0.0), pair["better_on_replay"]))


def comparisons(table: Table, computed_by: Mapping[str, str], panels: Mapping[str, Panel]) -> list[dict[str, Any]]:
    """Every pair of rows on the compared metrics: paired difference, interval, p adjusted within table and metric."""
    found = []
    for metric in COMPARED:
        if metric not in panels:
            continue
        panel = panels[metric]
        pairs = []
        for a, b in combinations(table.rows, 2):
            cut = complete([panel.layout(computed_by[a]), panel.layout(computed_by[b])])
            interval = interval_or_none(cut.layouts[0] - cut.layouts[1])
            if interval is not None:
                pairs.append((a, b, cut, interval))
        adjusted = holm([interval.p for *_, interval in pairs])
        found += [
            {
                "metric": metric,
                "a": a,
                "b": b,
                "effect": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "p": interval.p,
                "p_adjusted": p,
                "scenes": interval.scenes,
                "seeds": interval.seeds,
                "dropped_scenes": cut.dropped_scenes,
                "dropped_seeds": cut.dropped_seeds,
            }
            for (a, b, cut, interval), p in zip(pairs, adjusted, strict=True)
        ]
    return found


def as_json(table: Table, computed_by: Mapping[str, str], panels: Mapping[str, Panel]) -> dict[str, Any]:
    """The table as in report.json (NaN still inside; `tables.plain` makes it null)."""
    place = branch_ranks(table)
    at = {row: table.rows.index(name) for row, name in table.names.items()}
    return {
        "rows": list(table.names),
        "agreement": agreement(table),
        "rank_shift": rank_shift(table),
        "bundle": {row: table.score("replay", row) for row in table.names},
        "inversions": inversions(table),
        "bundle_name": bundle_name(set(table.metrics)),
        "scores": {branch: {row: table.score(branch, row) for row in table.names} for branch in BRANCHES},
        "ranks": {branch: {row: float(place[branch][i]) for row, i in at.items()} for branch in place},
        "same_as": {row: name for row, name in table.names.items() if row != name},
        "comparisons": comparisons(table, computed_by, panels),
    }
