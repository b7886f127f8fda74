"""Tables as the page prints them: cells of text, worked out before the template sees them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.analysis import BOUND, Analysis
from reports.statistics.scores import BRANCHES, bundle_name

MAIN = (
    "psnr",
    "ssim",
    "lpips",
    "rf_distance",
    "psnr_truth",
    "judge",
    "psnr_first",
    "psnr_truth_last",
)
"""Metrics of the first tables, in their order; the rest stand under "every metric"."""

NAMES: Mapping[str, str] = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "rf_distance": "rf_distance",
    "psnr_truth": "PSNR, truth",
    "psnr_first": "PSNR, first",
    "psnr_truth_last": "PSNR, truth last",
    "judge": "Judge",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: one metric, or the bundle."""

    branch: str
    metric: str
    name: str
    unit: str
    better: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed value; `text` empty: missing."""

    text: str
    spread: str = ""
    best: bool = False
    present: str = ""
    """`k/N` where values are missing, else empty."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One printed row."""

    row: str
    family: str
    same_as: str
    cells: Sequence[Cell]


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A table ready for the template."""

    name: str
    columns: Sequence[Column]
    branches: Sequence[tuple[str, int]]
    """(branch, how many columns)."""
    lines: Sequence[Line]
    bounds: Sequence[Line]
    """Ceiling and floor, printed beneath: none of them is ever best."""
    expected: str
    """How many values a complete cell is a mean of, for the caption."""


def digits(metric: str) -> int:
    """Decimals of a metric: enough to tell rows apart, no more."""
    if metric.startswith("judge"):
        return 1
    return 2 if metric.startswith("psnr") else 3


def number(value: float | None, decimals: int) -> str:
    """`value` with a true minus sign; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    text = f"{value:.{decimals}f}"
    return "0" + text[2:] if float(text) == 0 and text.startswith("-") else text.replace("-", "−")


def columns_of(analysis: Analysis, branch: str, *, every: bool) -> list[Column]:
    """The columns of one branch: the main metrics, or every one."""
    metrics = [name.split("/", 1)[1] for name in analysis.means if name.startswith(f"{branch}/")]
    chosen = sorted(metrics) if every else [metric for metric in MAIN if metric in metrics]
    found = []
    for metric in chosen:
        panel = analysis.panels.get(f"{branch}/{metric}")
        low = metric in ("lpips", "rf_distance") or (panel is not None and panel.better == "low")
        found.append(
            Column(
                branch=branch,
                metric=f"{branch}/{metric}",
                name=NAMES.get(metric, metric),
                unit=panel.unit if panel is not None else "",
                better="low" if low else "high",
            )
        )
    return found


def printed(analysis: Analysis, name: str) -> Printed:
    """One table of the matrix with its main metrics and its replay bundle."""
    table = analysis.tables[name]
    columns: list[Column] = []
    for branch in BRANCHES:
        columns += columns_of(analysis, branch, every=False)
        if branch == "replay" and columns:
            columns.append(
                Column(
                    branch="replay",
                    metric="bundle",
                    name=bundle_name(set(analysis.means)).replace("replay_", ""),
                    unit="",
                    better="high",
                )
            )
    bundle = {row: table.score("replay", row) for row in table.names}
    return _printed(analysis, name, list(table.names), columns, bundle)


def every_metric(analysis: Analysis, branch: str) -> Printed:
    """All rows and all metrics of one branch."""
    rows = [row.label for row in analysis.rows if row.family != BOUND]
    return _printed(analysis, branch, rows, columns_of(analysis, branch, every=True), {})


def _printed(
    analysis: Analysis, name: str, rows: Sequence[str], columns: Sequence[Column], bundle: Mapping[str, float]
) -> Printed:
    family = {row.label: row.family for row in analysis.rows}
    computed = analysis.computed_by
    axes = {row.partition("/")[2] for row in rows}
    bounds = [r.label for r in analysis.rows if r.family == BOUND and r.label.partition("/")[2] in axes]
    grid = {row: [_value(analysis, column, row, bundle) for column in columns] for row in (*rows, *bounds)}
    best: list[float | None] = []
    for i, column in enumerate(columns):
        values = [value for row in rows if (value := grid[row][i]) is not None]
        best.append((max if column.better == "high" else min)(values) if values else None)
    lines = [
        Line(
            row=row,
            family=family[row],
            same_as=computed[row] if computed[row] != row else "",
            cells=[
                _cell(
                    analysis, column, row, value, bundle, is_best=value is not None and value == best[i] and row in rows
                )
                for i, (column, value) in enumerate(zip(columns, grid[row], strict=True))
            ],
        )
        for row in (*rows, *bounds)
    ]
    branches = [(branch, sum(column.branch == branch for column in columns)) for branch in BRANCHES]
    expected = sorted({analysis.panels[c.metric].expected for c in columns if c.metric in analysis.panels})
    return Printed(
        name=name,
        columns=columns,
        branches=[(branch, count) for branch, count in branches if count],
        lines=lines[: len(rows)],
        bounds=lines[len(rows) :],
        expected=" or ".join(map(str, expected)),
    )


def _value(analysis: Analysis, column: Column, row: str, bundle: Mapping[str, float]) -> float | None:
    if column.metric == "bundle":
        return bundle[row] if math.isfinite(bundle.get(row, math.nan)) else None
    return analysis.means[column.metric].get(analysis.computed_by[row])


def _cell(
    analysis: Analysis, column: Column, row: str, value: float | None, bundle: Mapping[str, float], *, is_best: bool
) -> Cell:
    if column.metric == "bundle" and row not in bundle:
        return Cell(text="–")  # a bundle is a place among the rows of a table, and a bound has none
    decimals = 2 if column.metric == "bundle" else digits(column.metric.split("/", 1)[1])
    present = ""
    if column.metric in analysis.panels:
        there, expected = analysis.counted(column.metric, row)
        present = f"{there}/{expected}" if there < expected else ""
    interval = analysis.interval(column.metric, row) if column.metric in analysis.panels else None
    spread = number((interval.high - interval.low) / 2, decimals) if interval is not None else ""
    return Cell(text=number(value, decimals), spread=spread, best=is_best, present=present)
