"""Ranking: every row of the study on the branches that are contrasted, with intervals, floor and ceiling.

Tables rank their own rows; this one has all distinct rows that share the axis values of the main table. A bundle is
normalised over them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reports.analysis import Analysis
from reports.formats import decimals_of, shown_unit
from reports.spec import Better
from reports.statistics import table as tables
from reports.statistics.best import BestRows, best_rows
from reports.statistics.held_scores import held_scores
from reports.statistics.intervals import ALPHA, Interval, complete, interval_or_none
from reports.statistics.pairs import row_pairs
from reports.statistics.panel import Floats
from reports.statistics.scores import score_parts
from reports.statistics.sure_order import OppositePair, sure_order
from reports.statistics.table import Table


@dataclass(frozen=True, kw_only=True)
class RankedBranch:
    """One branch of the ranking; scores are in the unit of the metric, as the tables print them."""

    branch: str
    metric: str
    """`branch/metric`; empty: the score is a bundle."""
    name: str
    """Of its metric, or of all metrics of the bundle, for people."""
    unit: str
    better: Better
    decimals: int
    scores: Mapping[str, float]
    """Row -> score, best first; rows without a score are absent."""
    limits: Mapping[str, tuple[float, float]]
    """Row -> limits of its interval, where it has one."""
    floor: float | None
    """The same score of the floor; of a bundle its place on the scale of the rows."""
    ceiling: float | None

    @property
    def order(self) -> list[str]:
        """Rows with a score, best first."""
        return list(self.scores)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All rows on one or two branches."""

    rows: tuple[str, ...]
    """Distinct rows that are compared, in the order of the matrix."""
    branches: tuple[RankedBranch, ...]
    """Those of the contrast, else the last one that is ranked; the last one answers the question."""
    best: BestRows
    """Of the last branch."""
    pairs: int
    """Pairs of rows with both scores."""
    inverted: int
    """Pairs that the two branches order differently."""
    tied: int
    """Pairs that are equal on a branch, which it does not order."""
    sure: tuple[OppositePair, ...]
    """Pairs that they surely order differently, after Holm's adjustment over all pairs on both branches."""
    seeds: int
    """Of the study."""
    scenes: int
    """Of the best row's interval; 0: it has none."""
    interval_seeds: int
    """Of the best row's interval: those of the study that the row has; 0: it has none."""
    over_floor: Interval | None
    """Paired difference of the best row and the floor, positive where it is better."""
    over_baseline: Interval | None
    """The same with the baseline; None where that is the best row, or not there."""
    lines_above: Mapping[str, float]
    """Reference lines (`ReferenceSpec.lines`) that score more than the best row on the last branch -> their score."""

    @cached_property
    def last(self) -> RankedBranch:
        """The branch that answers the question."""
        return self.branches[-1]


def ranking(analysis: Analysis) -> Ranking | None:
    """The ranking; None where the study ranks no branch."""
    ranked = analysis.scoring.contrast or analysis.scoring.ranked[-1:]
    if not ranked:
        return None
    suffix = analysis.main.partition("/")[2]
    rows = tuple(
        row.label
        for row in analysis.rows
        if not row.reference and row.label == row.computed_by and row.label.partition("/")[2] == suffix
    )
    table = tables.analyse(rows, analysis.computed_by, analysis.means, analysis.scoring)
    layouts = {branch: layouts_of(analysis, table, branch) for branch in ranked}
    branches = tuple(_branch(analysis, table, branch, layouts[branch]) for branch in ranked)
    last = branches[-1]
    first = last.order[0] if last.order else ""
    spec = analysis.spec.references
    of_floor = "" if spec is None else _reference(analysis, spec.floor)
    baseline = "" if spec is None or not spec.baseline else "/".join(filter(None, (spec.baseline, suffix)))
    measured = layouts[last.branch].get(first)
    shape = (0, 0) if measured is None or first not in last.limits else complete([measured]).layouts[0].shape
    inverted, tied, pairs = _inverted(table, ranked)
    return Ranking(
        rows=rows,
        branches=branches,
        best=best_of(analysis, table, last.branch, layouts[last.branch]),
        pairs=pairs,
        inverted=inverted,
        tied=tied,
        sure=_sure(layouts, ranked) if inverted else (),
        seeds=analysis.seeds,
        scenes=shape[0],
        interval_seeds=shape[1],
        over_floor=_over(analysis, last, first, of_floor),
        over_baseline=_over(analysis, last, first, analysis.computed_by.get(baseline, "")),
        lines_above=_lines_above(analysis, table, last),
    )


def best_of(analysis: Analysis, table: Table, branch: str, layouts: Mapping[str, Floats]) -> BestRows:
    """What is known of the best of a table's rows on a branch, by their score; `layouts`: of `layouts_of`."""
    scores = {row: score for row in table.rows if np.isfinite(score := table.score(branch, row))}
    return best_rows(scores, layouts, analysis.seeds)


def layouts_of(analysis: Analysis, table: Table, branch: str) -> Mapping[str, Floats]:
    """Row -> (scenes, seeds) of its score, higher is better; a bundle's ranges are held at those of the table."""
    there = [row for row in table.rows if np.isfinite(table.score(branch, row))]
    held = held_scores(table, branch, [analysis.computed_by[row] for row in there], analysis.panels)
    return {} if held is None else {row: held[analysis.computed_by[row]] for row in there}


def _branch(analysis: Analysis, table: Table, branch: str, layouts: Mapping[str, Floats]) -> RankedBranch:
    parts = score_parts(analysis.scoring.of(branch), analysis.means.keys())
    metric, better = parts[0] if len(parts) == 1 else ("", "high")
    panel = analysis.panels.get(metric)
    sign = 1.0 if better == "high" else -1.0
    values = {row: float(table.score(branch, row)) for row in table.rows}
    order = sorted((row for row in table.rows if np.isfinite(values[row])), key=lambda row: -values[row])
    limits = {}
    for row in order:
        interval = interval_or_none(complete([layouts[row]]).layouts[0]) if row in layouts else None
        if interval is not None:
            half = (interval.high - interval.low) / 2  # around the mean of all values, as in the tables
            limits[row] = (sign * values[row] - half, sign * values[row] + half)
    own = metric.partition("/")[2]
    unit = panel.unit if panel is not None else analysis.units.get(metric, "")
    spec = analysis.spec.references
    floor, ceiling = (
        None if spec is None else _level(analysis, table, branch, name)
        for name in (("", "") if spec is None else (spec.floor, spec.ceiling))
    )
    return RankedBranch(
        branch=branch,
        metric=metric,
        name=_titles(analysis, [name for name, _ in parts]),
        unit=shown_unit(unit),
        better=better,
        decimals=decimals_of(analysis.spec, own) if metric else 2,
        scores={row: sign * values[row] for row in order},
        limits=limits,
        floor=floor,
        ceiling=ceiling,
    )


def _titles(analysis: Analysis, metrics: Sequence[str]) -> str:
    """Display names of a score's metrics."""
    own = [metric.partition("/")[2] for metric in metrics]
    return ", ".join(analysis.spec.metrics.get(name, name) for name in own)


def _reference(analysis: Analysis, name: str) -> str:
    """The label of a reference row under the first axis values that it has; it reads none of them."""
    return next((row.label for row in analysis.rows if row.reference and row.label.partition("/")[0] == name), "")


def _level(analysis: Analysis, table: Table, branch: str, name: str) -> float | None:
    """The score of a reference row; in a bundle, its place between the worst and the best row, which may be outside."""
    label = _reference(analysis, name)
    parts = score_parts(analysis.scoring.of(branch), analysis.means.keys())
    means = [analysis.means.get(metric, {}).get(label) for metric, _ in parts]
    known = [mean for mean in means if mean is not None]
    if not label or not parts or len(known) < len(parts):
        return None
    if len(parts) == 1:
        return known[0]
    places = []
    for mean, (metric, better) in zip(known, parts, strict=True):
        values = table.metrics[metric]
        low, high = np.nanmin(values), np.nanmax(values)
        if not high > low:
            return None
        place = float((mean - low) / (high - low))
        places.append(place if better == "high" else 1.0 - place)
    return sum(places) / len(places)


def _lines_above(analysis: Analysis, table: Table, last: RankedBranch) -> dict[str, float]:
    spec = analysis.spec.references
    if spec is None or not last.order:
        return {}
    sign, best = (1.0 if last.better == "high" else -1.0), last.scores[last.order[0]]
    levels = {name: _level(analysis, table, last.branch, name) for name in spec.lines}
    return {name: level for name, level in levels.items() if level is not None and sign * (level - best) > 0}


def _over(analysis: Analysis, last: RankedBranch, first: str, other: str) -> Interval | None:
    panel = analysis.panels.get(last.metric)
    if panel is None or panel.pooled or not first or not other or first == other or other not in panel.rows:
        return None
    cut = complete([panel.layout(first), panel.layout(other)])
    sign = 1.0 if last.better == "high" else -1.0
    return interval_or_none(sign * (cut.layouts[0] - cut.layouts[1]))


def _inverted(table: Table, ranked: tuple[str, ...]) -> tuple[int, int, int]:
    """Pairs that two branches order differently, those that one of them does not order, and pairs with both scores."""
    if len(ranked) < 2:
        return 0, 0, 0
    x, y = (table.scores[branch] for branch in ranked)
    there = np.isfinite(x) & np.isfinite(y)
    product = (x[there, None] - x[None, there]) * (y[there, None] - y[None, there])
    count = int(there.sum())
    return int((product < 0).sum()) // 2, (int((product == 0).sum()) - count) // 2, count * (count - 1) // 2


def _sure(layouts: Mapping[str, Mapping[str, Floats]], ranked: tuple[str, ...]) -> tuple[OppositePair, ...]:
    """The pairs that are surely inverted; with one seed, for the networks that were trained."""
    both = [row for row in layouts[ranked[0]] if row in layouts[ranked[1]]]
    if len(both) < 2:
        return ()
    seeds = max(next(iter(layouts[branch].values())).shape[1] for branch in ranked)
    order = sure_order(
        [row_pairs({row: layouts[branch][row] for row in both}) for branch in ranked], fewest_seeds=min(2, seeds)
    )
    return tuple(pair for pair in order.opposite() if pair.p <= ALPHA)
