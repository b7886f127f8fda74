"""Tables as the page prints them: cells of text, worked out before the template sees them."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports.analysis import Analysis
from reports.formats import decimals_of, number, shown_unit
from reports.marks import PRINTED, Mark, explained, printed_sign_of, test_of, too_few
from reports.ranking import best_of, layouts_of
from reports.spec import Better
from reports.statistics.scores import bundle_name, score_parts
from reports.statistics.table import Table

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
    mark: Mark = ""
    """Print is bold where it is `best`."""
    present: str = ""
    """`k/N` where values are missing, with the mean and interval of the complete block; else empty."""
    unanswered: str = ""
    """`34.1 to 36.2 with 2 unanswered`: the mean with them at worst and at best; empty: every case was answered."""
    crossed_out: bool = False
    """Whether it rests on a control that did not hold."""

    @property
    def sign(self) -> str:
        """What stands behind the number for its mark; empty where that is bold print, or none."""
        return printed_sign_of(self.mark)


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
    """Ceiling and floor, printed beneath: none of them is ever marked."""
    outside: Sequence[str]
    """Rows of the table that are not in this profile."""
    expected: str
    """How many values a complete cell is a mean of, for the caption."""
    note: str
    """On which branches there are too few units to show a difference; empty: there are enough."""

    @property
    def marks(self) -> set[Mark]:
        """Those that occur."""
        return {cell.mark for line in self.lines for cell in line.cells if cell.mark}


@dataclass(frozen=True, kw_only=True)
class _Marks:
    """Of a column."""

    of: Mapping[str, Mark] = field(default_factory=dict)
    """Row -> its mark."""
    shared: int = 0
    """Units that most two rows share."""


@dataclass(frozen=True, kw_only=True)
class _Bundle:
    """The column of a bundle."""

    scores: Mapping[str, float] = field(default_factory=dict)
    marks: _Marks = field(default_factory=_Marks)


def marks_note(analysis: Analysis, shown: Sequence[PrintedTable]) -> str:
    """What the marks of these tables mean; empty without marks."""
    lines = explained((mark for table in shown for mark in table.marks), PRINTED)
    if lines and analysis.panels:
        lines.append(test_of(analysis.spec.words.units, analysis.seeds))
    return "; ".join(lines)


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
    bundle = _Bundle() if bundled is None else _bundle(analysis, table, bundled.name)
    outside = analysis.lacking.get(name.partition("/")[0], ())
    return _printed(analysis, name, list(table.names), columns, bundle, outside)


def every_metric(analysis: Analysis, branch: str) -> PrintedTable:
    """All rows and all metrics of one branch."""
    rows = [row.label for row in analysis.rows if not row.reference]
    return _printed(analysis, branch, rows, columns_of(analysis, branch, every=True), _Bundle())


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
    bundle: _Bundle,
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
    grid = {row: [_value(analysis, column, row, bundle.scores) for column in columns] for row in (*rows, *references)}
    marks = [_marks(analysis, column, rows, bundle) for column in columns]
    lines = [
        TableLine(
            row=row,
            same_as=computed[row] if computed[row] != row else "",
            cells=[
                _cell(analysis, column, row, value, bundle.scores, own.of.get(row, ""))
                for column, own, value in zip(columns, marks, grid[row], strict=True)
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
        note=_note(analysis, columns, marks),
    )


def _bundle(analysis: Analysis, table: Table, branch: str) -> _Bundle:
    best = best_of(analysis, table, branch, layouts_of(analysis, table, branch))
    marks = _Marks(of={row: best.mark(distinct) for row, distinct in table.names.items()}, shared=best.scenes)
    return _Bundle(scores={row: table.score(branch, row) for row in table.names}, marks=marks)


def _marks(analysis: Analysis, column: PrintedColumn, rows: Sequence[str], bundle: _Bundle) -> _Marks:
    """The marks of a column; none in one that tells what a score is made of (`BranchSpec.beside`).

    More of such a number need not be better.
    """
    if column.metric == BUNDLE:
        return bundle.marks
    if column.metric.partition("/")[2] in analysis.scoring.of(column.branch).beside:
        return _Marks()
    best = analysis.best(column.metric, rows, column.better)
    return _Marks(of=analysis.marks(best, rows), shared=best.scenes)


def _note(analysis: Analysis, columns: Sequence[PrintedColumn], marks: Sequence[_Marks]) -> str:
    """On which branches with marks there are too few units to show a difference; of published means nothing is said."""
    shared: dict[str, int] = {}
    for column, own in zip(columns, marks, strict=True):
        if analysis.panels and any(own.of.values()):
            shared[column.branch] = max(own.shared, shared.get(column.branch, 0))
    return too_few(shared, analysis.spec.words.units)


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
    mark: Mark,
) -> TableCell:
    if column.metric == BUNDLE and row not in bundle:
        return TableCell(text="–")  # a bundle is a place among the rows of a table, and a reference row has none
    if column.metric == BUNDLE:
        comparable = analysis.is_comparable(column.branch, row)
        return TableCell(text=number(value, 2) if comparable else "–", mark=mark)
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
        mark=mark,
        present=present,
        unanswered=unanswered,
        crossed_out=crossed,
    )
