"""Tables as the page prints them: cells of text, worked out before the template sees them."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.analysis import Analysis
from reports.formats import decimals_of, number, shown_unit
from reports.spec import Better
from reports.statistics.scores import bundle_name, score_parts

MOST_COMPARED = 150
"""Differences of pairs of rows that the page shows of a table."""

BUNDLE = "bundle"
"""The metric of a bundle's column."""


@dataclass(frozen=True, kw_only=True)
class PrintedColumn:
    """A column: one metric, or the bundle."""

    branch: str
    metric: str
    name: str
    unit: str
    better: Better
    signal: str = ""
    """Signal to noise: how far rows are apart in units of their seeds; empty: one seed, or a bundle."""


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """One printed value; `text` empty: missing."""

    text: str
    spread: str = ""
    best: bool = False
    present: str = ""
    """`k/N` where values are missing, with the mean and interval of the complete block; else empty."""
    unanswered: str = ""
    """`34.1 to 36.2 with 2 unanswered`: the mean with them at worst and at best; empty: every case was answered."""
    crossed_out: bool = False
    """Whether it rests on a control that did not hold."""


@dataclass(frozen=True, kw_only=True)
class TableLine:
    """One printed row."""

    row: str
    same_as: str
    cells: Sequence[TableCell]


@dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """A table ready for the template."""

    name: str
    columns: Sequence[PrintedColumn]
    branches: Sequence[tuple[str, int]]
    """(branch, how many columns)."""
    lines: Sequence[TableLine]
    references: Sequence[TableLine]
    """Ceiling and floor, printed beneath: none of them is ever best."""
    outside: Sequence[str]
    """Rows of the table that are not in this profile."""
    expected: str
    """How many values a complete cell is a mean of, for the caption."""


def branches_of(analysis: Analysis) -> list[str]:
    """The branches in the order of the tables: those that are contrasted first, as a table may be wide."""
    return list(dict.fromkeys((*analysis.scoring.ranked, *analysis.scoring.names)))


def columns_of(analysis: Analysis, branch: str, *, every: bool) -> list[PrintedColumn]:
    """The columns of one branch: the main metrics, or every one."""
    better = dict(score_parts(analysis.scoring.of(branch), analysis.means.keys()))
    found = []
    for metric in analysis.shown_metrics(branch) if every else analysis.main_metrics(branch):
        panel = analysis.panels.get(f"{branch}/{metric}")
        low = better.get(f"{branch}/{metric}") == "low" or (panel is not None and panel.better == "low")
        found.append(
            PrintedColumn(
                branch=branch,
                metric=f"{branch}/{metric}",
                name=analysis.spec.metrics.get(metric, metric),
                unit=shown_unit(panel.unit) if panel is not None else "",
                signal=_signal(analysis, f"{branch}/{metric}"),
                better="low" if low else "high",
            )
        )
    return found


def _signal(analysis: Analysis, metric: str) -> str:
    return number(analysis.signals[metric].ratio, 1) if metric in analysis.signals else ""


def printed(analysis: Analysis, name: str) -> PrintedTable:
    """One table of the matrix with its main metrics and the bundle of the first ranked branch that has one."""
    table = analysis.tables[name]
    bundled = analysis.scoring.bundled
    columns: list[PrintedColumn] = []
    for branch in branches_of(analysis):
        own = columns_of(analysis, branch, every=False)
        columns += own
        if own and bundled is not None and branch == bundled.name:
            title = bundle_name(bundled, analysis.means.keys()).removeprefix(f"{branch}_")
            columns.append(PrintedColumn(branch=branch, metric=BUNDLE, name=title, unit="", better="high"))
    bundle = {} if bundled is None else {row: table.score(bundled.name, row) for row in table.names}
    outside = analysis.lacking.get(name.partition("/")[0], ())
    return _printed(analysis, name, list(table.names), columns, bundle, outside)


def every_metric(analysis: Analysis, branch: str) -> PrintedTable:
    """All rows and all metrics of one branch."""
    rows = [row.label for row in analysis.rows if not row.reference]
    return _printed(analysis, branch, rows, columns_of(analysis, branch, every=True), {})


@dataclass(frozen=True, kw_only=True)
class ComparedRows:
    """The differences of the rows of one table, in pairs, or the most significant ones."""

    name: str
    lines: Sequence[Mapping[str, Any]]
    """As of `statistics.comparisons`."""
    count: int
    """All that there are; report.json has them."""


def row_to_row(analysis: Analysis) -> list[ComparedRows]:
    """The tables that have any: all pairs in their order, or `MOST_COMPARED` with the least p."""
    found = []
    for name, compared in analysis.comparisons.items():
        lines = compared
        if len(compared) > MOST_COMPARED:
            lines = heapq.nsmallest(MOST_COMPARED, compared, key=lambda line: (line["p"], -abs(line["effect"])))
        if compared:
            found.append(ComparedRows(name=name, lines=lines, count=len(compared)))
    return found


def _printed(
    analysis: Analysis,
    name: str,
    rows: Sequence[str],
    columns: Sequence[PrintedColumn],
    bundle: Mapping[str, float],
    outside: Sequence[str] = (),
) -> PrintedTable:
    computed = analysis.computed_by
    axes = {row.partition("/")[2] for row in rows}
    shown = analysis.spec.references
    beneath = None if shown is None else (shown.ceiling, shown.floor)
    references = [
        row.label
        for row in analysis.rows
        for name, _, at in [row.label.partition("/")]
        if row.reference and at in axes and (beneath is None or name in beneath)
    ]
    grid = {row: [_value(analysis, column, row, bundle) for column in columns] for row in (*rows, *references)}
    best = [_best(analysis, column, rows, {row: grid[row][i] for row in rows}) for i, column in enumerate(columns)]
    lines = [
        TableLine(
            row=row,
            same_as=computed[row] if computed[row] != row else "",
            cells=[
                _cell(analysis, column, row, value, bundle, is_best=row in best[i])
                for i, (column, value) in enumerate(zip(columns, grid[row], strict=True))
            ],
        )
        for row in (*rows, *references)
    ]
    branches = [(branch, sum(column.branch == branch for column in columns)) for branch in branches_of(analysis)]
    expected = sorted({analysis.panels[c.metric].expected for c in columns if c.metric in analysis.panels})
    return PrintedTable(
        name=name,
        columns=columns,
        branches=[(branch, count) for branch, count in branches if count],
        lines=lines[: len(rows)],
        references=lines[len(rows) :],
        outside=outside,
        expected=" or ".join(map(str, expected)),
    )


def _best(
    analysis: Analysis, column: PrintedColumn, rows: Sequence[str], values: Mapping[str, float | None]
) -> frozenset[str]:
    """The rows that are marked: for a metric those of `best_rows`; of a bundle, which has no interval, the largest.

    None in a column that tells what a score is made of (`BranchSpec.beside`): more of it need not be better.
    """
    branch, _, metric = column.metric.partition("/")
    if metric in analysis.scoring.of(branch).beside:
        return frozenset()
    if column.metric in analysis.panels:
        return analysis.best(column.metric, rows, column.better)
    there = [value for value in values.values() if value is not None]
    first = (max if column.better == "high" else min)(there) if there else None
    return frozenset(row for row, value in values.items() if value is not None and value == first)


def _value(analysis: Analysis, column: PrintedColumn, row: str, bundle: Mapping[str, float]) -> float | None:
    if column.metric == BUNDLE:
        return bundle[row] if math.isfinite(bundle.get(row, math.nan)) else None
    return analysis.shown(column.metric, row).mean(column.metric, row)


def _cell(
    analysis: Analysis,
    column: PrintedColumn,
    row: str,
    value: float | None,
    bundle: Mapping[str, float],
    *,
    is_best: bool,
) -> TableCell:
    if column.metric == BUNDLE and row not in bundle:
        return TableCell(text="–")  # a bundle is a place among the rows of a table, and a reference row has none
    if column.metric == BUNDLE:
        comparable = analysis.is_comparable(column.branch, row)
        return TableCell(text=number(value, 2) if comparable else "–", best=is_best)
    decimals, shown = decimals_of(analysis.spec, column.metric.split("/", 1)[1]), analysis.shown(column.metric, row)
    present = ""
    if column.metric in analysis.panels:
        there, expected = shown.counted(column.metric, row)
        present = f"{there}/{expected}" if there < expected else ""
    interval = shown.interval(column.metric, row) if column.metric in analysis.panels else None
    part = None if interval is None else shown.part(column.metric, row)
    spread = number((interval.high - interval.low) / 2, decimals) if interval is not None and part is None else ""
    if part is not None:
        present = "; ".join(filter(None, (present, part.text(analysis.spec.words.units, decimals))))
    bounds, unanswered = shown.bounds(column.metric, row), ""
    if bounds is not None:
        between = " to ".join(number(one, decimals) for one in sorted((bounds.at_worst, bounds.at_best)))
        unanswered = f"{between} with {bounds.unanswered} unanswered"
    crossed = value is not None and not analysis.is_comparable(column.metric, row)
    return TableCell(
        text=number(value, decimals),
        spread=spread,
        best=is_best,
        present=present,
        unanswered=unanswered,
        crossed_out=crossed,
    )
