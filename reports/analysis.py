"""From case values to everything a report says, without a word of layout.

The published tables take the same way from their means on, so that their numbers and ours come out
of one code (study.md section 8).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports import judges
from reports.findings import Material, findings
from reports.input import ReportInput
from reports.statistics import table as tables
from reports.statistics.gain import Gain, retained_gain
from reports.statistics.intervals import Interval, complete, interval_or_none
from reports.statistics.panel import Panel, panels, row_label
from reports.statistics.resampling import Draws, resample
from reports.statistics.table import Table

SHORTEST, LONGEST = "context-k1", "context-k20"
"""The rows between which retained gain is measured."""

BOUND = "bound"
"""Family of the ceiling and the floor: scored like rows, and counted nowhere (`bounds.py`)."""

PRICES = (
    ("train", "flops", "FLOPs per training step"),
    ("train", "tokens", "tokens per forward"),
    ("train", "device_s", "training device seconds"),
)
"""What a row's cost is, by preference: counted before measured; the first that every row has."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as the report prints it; with axes, one for each of their values."""

    label: str
    family: str
    computed_by: str
    """Label of the row whose computation it is; itself unless it is another name of one."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Everything that was computed."""

    rows: tuple[Row, ...]
    panels: Mapping[str, Panel]
    """By `branch/metric`, over distinct rows; empty without case values."""
    means: Mapping[str, Mapping[str, float]]
    """`branch/metric` -> distinct row -> mean."""
    draws: Draws | None
    tables: Mapping[str, Table]
    main: str
    """Name of the table the findings are asked of."""
    gains: Mapping[str, Gain]
    findings: Sequence[Mapping[str, Any]]
    costs: Mapping[str, Mapping[str, Mapping[str, float]]]
    """row -> stage or `evaluate/branch` -> value name -> mean over seeds."""
    price: Mapping[str, float]
    price_name: str

    @property
    def computed_by(self) -> Mapping[str, str]:
        """Label -> label of the distinct row."""
        return {row.label: row.computed_by for row in self.rows}

    def interval(self, metric: str, row: str) -> Interval | None:
        """Interval of a row's mean over scenes and seeds; None for pooled metrics and under two scenes."""
        panel = self.panels.get(metric)
        if panel is None or panel.pooled:
            return None
        return interval_or_none(complete([panel.layout(self.computed_by[row])]).layouts[0])

    def counted(self, metric: str, row: str) -> tuple[int, int]:
        """(values there, values that should be there)."""
        panel = self.panels[metric]
        return int(panel.count[panel.rows.index(self.computed_by[row])].sum()), panel.expected


def analyse(given: ReportInput) -> Analysis:
    """Everything the report of one study says.

    Raises:
        ValueError: two values of one case and metric, or a table that names no row of the matrix.
    """
    axes = _axes(given)
    computed = {info.name: info.alias_of or info.name for info in given.rows}
    rows = tuple(
        Row(label=row_label(info.name, a), family=info.family, computed_by=row_label(computed[info.name], a))
        for a in axes
        for info in given.rows
    )
    distinct = [row.label for row in rows if row.computed_by == row.label]
    found = panels(judges.told_apart(given), distinct, sorted(set(given.seeds)))
    means = {
        name: {r: float(m) for r, m in zip(panel.rows, panel.means(), strict=True) if np.isfinite(m)}
        for name, panel in found.items()
    }
    named: dict[str, list[str]] = {}
    for name, members in given.tables.items():
        unknown = sorted(set(members) - set(computed))
        if unknown:
            raise ValueError(f"table {name!r} names {unknown}; rows of the matrix are {sorted(computed)}")
        bounds = sorted({info.name for info in given.rows if info.family == BOUND} & set(members))
        if bounds:
            raise ValueError(f"table {name!r} names {bounds}, which are ceiling and floor and take no rank")
        for a in axes:
            named[row_label(name, a)] = [row_label(member, a) for member in members]
    costs = _costs(given)
    return _analysis(rows, found, means, resample(found), named, costs)


def analyse_means(
    rows: Sequence[Row], means: Mapping[str, Mapping[str, float]], named: Mapping[str, Sequence[str]]
) -> Analysis:
    """The same from means alone: no interval, no probability, no verdict beyond the point estimate."""
    return _analysis(tuple(rows), {}, means, None, named, {})


def _analysis(
    rows: tuple[Row, ...],
    found: Mapping[str, Panel],
    means: Mapping[str, Mapping[str, float]],
    draws: Draws | None,
    named: Mapping[str, Sequence[str]],
    costs: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> Analysis:
    computed_by = {row.label: row.computed_by for row in rows}
    analysed = {name: tables.analyse(members, computed_by, means, draws) for name, members in named.items()}
    main = next((name for name in analysed if name.split("/")[0] == "families"), "")
    ranked = [row.label for row in rows if row.family != BOUND]
    table = analysed[main] if main else tables.analyse(ranked, computed_by, means, draws)
    price, price_name = _price(table.rows, costs)
    suffix = main.partition("/")[2]
    gains: dict[str, Gain] = {}
    for axes, compact in _compact(rows).items():
        labels = [row_label(name, axes.replace("/", ";")) for name in (SHORTEST, LONGEST)]
        shortest, longest = (computed_by.get(label, label) for label in labels)
        gains |= retained_gain(compact, shortest, longest, means, found, draws)
    material = Material(
        table=table, computed_by=computed_by, means=means, panels=found, cost=price, cost_name=price_name, suffix=suffix
    )
    return Analysis(
        rows=rows,
        panels=found,
        means=means,
        draws=draws,
        tables=analysed,
        main=main,
        gains={row.label: gains[row.computed_by] for row in rows if row.computed_by in gains},
        findings=findings(material),
        costs=costs,
        price=price,
        price_name=price_name,
    )


def as_json(analysis: Analysis) -> dict[str, Any]:
    """The part of report.json that is computed; NaN and infinities have become null."""
    rows: dict[str, dict[str, Any]] = {}
    for row in analysis.rows:
        rows[row.label] = {}
        for metric in analysis.means:
            mean = analysis.means[metric].get(row.computed_by)
            interval = analysis.interval(metric, row.label)
            there, expected = analysis.counted(metric, row.label) if metric in analysis.panels else (None, None)
            if mean is None and not analysis.panels:
                continue
            half = (interval.high - interval.low) / 2 if interval is not None and mean is not None else None
            rows[row.label][metric] = {
                "mean": mean,
                "low": None if half is None or mean is None else mean - half,
                "high": None if half is None or mean is None else mean + half,
                "n": there,
                "missing": None if there is None or expected is None else expected - there,
            }
    found = {
        "rows": rows,
        "tables": {
            name: tables.as_json(table, analysis.computed_by, analysis.panels)
            for name, table in analysis.tables.items()
        },
        "bounds": [row.label for row in analysis.rows if row.family == BOUND],
        "retained_gain": {row: gain.value for row, gain in analysis.gains.items()},
        "retained_gain_limits": {
            row: {"low": gain.low, "high": gain.high, "reason": gain.reason} for row, gain in analysis.gains.items()
        },
        "findings": list(analysis.findings),
        "cost": analysis.costs,
    }
    plainly: dict[str, Any] = plain(found)
    return plainly


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: NaN and infinities become null, numpy numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _compact(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The compact memories that were computed, by the values of their axes (as labels end in them).

    Context rows, other names of them, and ceiling and floor are none.
    """
    found: dict[str, list[str]] = {}
    context = {row.computed_by for row in rows if row.family == "context"}
    for row in rows:
        if row.computed_by == row.label and row.family != BOUND and row.label not in context:
            found.setdefault(row.label.partition("/")[2], []).append(row.label)
    return found


def _axes(given: ReportInput) -> list[str]:
    """All values of the axes, as `key=value;...`, in order; one empty one without axes."""
    seen = {v.axes for v in given.values} | {m.axes for m in given.missing} | {c.axes for c in given.costs}
    return sorted(seen) or [""]


def _costs(given: ReportInput) -> dict[str, dict[str, dict[str, float]]]:
    gathered: dict[str, dict[str, dict[str, list[float]]]] = {}
    bounds = {info.name for info in given.rows if info.family == BOUND}
    for cost in given.costs:
        if cost.row in bounds:
            continue
        stage = f"{cost.stage}/{cost.branch}" if cost.branch else cost.stage
        values = gathered.setdefault(row_label(cost.row, cost.axes), {}).setdefault(stage, {})
        for name, value in cost.values.items():
            values.setdefault(name, []).append(float(value))
    return {
        row: {stage: {n: sum(v) / len(v) for n, v in sorted(values.items())} for stage, values in stages.items()}
        for row, stages in gathered.items()
    }


def _price(rows: Sequence[str], costs: Mapping[str, Mapping[str, Mapping[str, float]]]) -> tuple[dict[str, float], str]:
    """One number a row, and its name: what every row of the table (that has costs at all) has."""
    priced = [row for row in rows if row in costs]
    for stage, key, name in PRICES:
        values = {row: costs[row].get(stage, {}).get(key) for row in priced}
        if priced and all(value is not None for value in values.values()):
            return {row: value for row, value in values.items() if value is not None}, name
    return {}, ""
