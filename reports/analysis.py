"""Analysis: computes everything that a report shows from case values, or from published means."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports import instruments
from reports.findings import Material, findings
from reports.input import ReportInput
from reports.spec import PublishedTables, ReportSpec
from reports.statistics import table as tables
from reports.statistics.gain import Gain, retained_gain
from reports.statistics.intervals import Interval, complete, interval_or_none
from reports.statistics.panel import Panel, panels, row_label
from reports.statistics.resampling import Draws, resample
from reports.statistics.scores import Scoring, scoring
from reports.statistics.table import Table

ALL_ROWS = "all rows"
"""The table of a study that names none."""


@dataclass(frozen=True, kw_only=True)
class AnalysedRow:
    """A row of the report; with axes, one for each combination of values."""

    label: str
    family: str
    computed_by: str
    """Label of the row with the same computation: its own, unless it is an alias."""
    reference: bool = False
    """A ceiling or floor (`references.py`)."""
    excluded_seeds: frozenset[int] = frozenset()
    """Seeds whose cells are excluded."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Everything that was computed."""

    spec: ReportSpec
    scoring: Scoring
    rows: tuple[AnalysedRow, ...]
    panels: Mapping[str, Panel]
    """By `branch/metric`, over distinct rows; empty without case values."""
    means: Mapping[str, Mapping[str, float]]
    """`branch/metric` -> distinct row -> mean."""
    draws: Draws | None
    tables: Mapping[str, Table]
    main: str
    """Name of the table that figures and findings are about; empty: there is none."""
    gains: Mapping[str, Gain]
    findings: Sequence[Mapping[str, Any]]
    costs: Mapping[str, Mapping[str, Mapping[str, float]]]
    """row -> stage or `evaluate/branch` -> value name -> mean over seeds."""
    price: Mapping[str, float]
    price_name: str
    units: Mapping[str, str]
    """`branch/metric` -> unit, of metrics without panels."""

    def main_metrics(self, branch: str) -> list[str]:
        """The branch's metrics of the first tables, in their order."""
        metrics = [name.split("/", 1)[1] for name in self.means if name.startswith(f"{branch}/")]
        return [metric for metric in self.spec.metrics or sorted(metrics) if metric in metrics]

    @property
    def computed_by(self) -> Mapping[str, str]:
        """Label -> label of the distinct row."""
        return {row.label: row.computed_by for row in self.rows}

    def interval(self, metric: str, row: str) -> Interval | None:
        """Interval of a row's mean over scenes and seeds; None for pooled metrics and fewer than two scenes."""
        panel = self.panels.get(metric)
        if panel is None or panel.pooled:
            return None
        return interval_or_none(complete([panel.layout(self.computed_by[row])]).layouts[0])

    def counted(self, metric: str, row: str) -> tuple[int, int]:
        """(values present, values expected)."""
        panel = self.panels[metric]
        seeds = len(panel.seeds) - next(len(one.excluded_seeds) for one in self.rows if one.label == row)
        there = int(panel.count[panel.rows.index(self.computed_by[row])].sum())
        return there, panel.expected // len(panel.seeds) * seeds


def analyse(given: ReportInput) -> Analysis:
    """The analysis of a study.

    Raises:
        ValueError: two values of one case and metric, or a table that names no row of the matrix.
    """
    axes = _axes(given)
    computed = {info.name: info.alias_of or info.name for info in given.rows}
    excluded: dict[str, frozenset[int]] = {}
    for one in given.excluded:
        label = row_label(one.row, one.axes)
        excluded[label] = excluded.get(label, frozenset()) | {one.seed}
    gone = {label for label, seeds in excluded.items() if seeds >= set(given.seeds)}
    rows = tuple(
        AnalysedRow(
            label=label,
            family=info.family,
            # With other cells than the row that it repeats, a row counts as one of its own.
            computed_by=original if excluded.get(original) == excluded.get(label) else label,
            reference=info.reference,
            excluded_seeds=excluded.get(label, frozenset()),
        )
        for a in axes
        for info in given.rows
        for label, original in [(row_label(info.name, a), row_label(computed[info.name], a))]
        if label not in gone
    )
    distinct = [row.label for row in rows if row.computed_by == row.label]
    variants = {branch.name: branch.variant for branch in given.spec.branches}
    found = panels(instruments.separated(given), distinct, sorted(set(given.seeds)), variants)
    means = {
        name: {r: float(m) for r, m in zip(panel.rows, panel.means(), strict=True) if np.isfinite(m)}
        for name, panel in found.items()
    }
    named: dict[str, list[str]] = {}
    given_tables = given.tables
    if not given_tables and given.spec.main_table is None:
        given_tables = {ALL_ROWS: [info.name for info in given.rows if not info.reference]}
    for name, members in given_tables.items():
        unknown = sorted(set(members) - set(computed) - {one.row for one in given.excluded})
        if unknown:
            raise ValueError(f"table {name!r} names {unknown}; rows of the matrix are {sorted(computed)}")
        references = sorted({info.name for info in given.rows if info.reference} & set(members))
        if references:
            raise ValueError(f"table {name!r} names {references}, which are ceiling and floor and take no rank")
        labels = {row.label for row in rows}
        for a in axes:
            kept = [label for member in members if (label := row_label(member, a)) in labels]
            if kept:
                named[row_label(name, a)] = kept
    costs = _costs(given)
    return _analysis(given.spec, rows, found, means, resample(found), named, costs, {}, gone)


def analyse_published(spec: ReportSpec, published: PublishedTables) -> Analysis:
    """The analysis of published means: no intervals or probabilities, and point estimates as verdicts."""
    rows = tuple(AnalysedRow(label=name, family=family, computed_by=name) for name, family in published.rows)
    return _analysis(spec, rows, {}, published.means, None, published.tables, {}, published.units)


def _analysis(
    spec: ReportSpec,
    rows: tuple[AnalysedRow, ...],
    found: Mapping[str, Panel],
    means: Mapping[str, Mapping[str, float]],
    draws: Draws | None,
    named: Mapping[str, Sequence[str]],
    costs: Mapping[str, Mapping[str, Mapping[str, float]]],
    units: Mapping[str, str],
    gone: Collection[str] = (),
) -> Analysis:
    """`gone`: labels of rows that are excluded with these axis values."""
    better = {name: found[name].better if name in found else "high" for name in means}
    scored = scoring(spec.branches, spec.contrast, spec.metrics.keys(), better)
    computed_by = {row.label: row.computed_by for row in rows}
    analysed = {name: tables.analyse(members, computed_by, means, draws, scored) for name, members in named.items()}
    main = next((name for name in analysed if spec.main_table in (None, name.split("/")[0])), "")
    ranked = [row.label for row in rows if not row.reference]
    table = analysed[main] if main else tables.analyse(ranked, computed_by, means, draws, scored)
    price, price_name = _price(spec, table.rows, costs)
    suffix = main.partition("/")[2]
    gains: dict[str, Gain] = {}
    for axes, compact in _compact(spec, rows).items():
        if spec.gain is None:
            break
        labels = [row_label(name, axes.replace("/", ";")) for name in (spec.gain.shortest, spec.gain.longest)]
        lost = [label for label in labels if label in gone]
        if lost:
            gains |= {row: Gain(value=None, reason=f"{' and '.join(lost)} is excluded") for row in compact}
            continue
        shortest, longest = (computed_by.get(label, label) for label in labels)
        gains |= retained_gain(spec.gain.metric, compact, shortest, longest, means, found, draws)
    material = Material(
        table=table, computed_by=computed_by, means=means, panels=found, cost=price, cost_name=price_name, suffix=suffix
    )
    return Analysis(
        spec=spec,
        scoring=scored,
        rows=rows,
        panels=found,
        means=means,
        draws=draws,
        tables=analysed,
        main=main,
        gains={row.label: gains[row.computed_by] for row in rows if row.computed_by in gains},
        findings=findings(spec.questions(), material),
        costs=costs,
        price=price,
        price_name=price_name,
        units=units,
    )


def computed_json(analysis: Analysis) -> dict[str, Any]:
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
        "bounds": [row.label for row in analysis.rows if row.reference],
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


def _compact(spec: ReportSpec, rows: Sequence[AnalysedRow]) -> dict[str, list[str]]:
    """The distinct compact rows, by their axis values (the end of their labels).

    Rows of the full families, their aliases and reference rows are not compact.
    """
    found: dict[str, list[str]] = {}
    families = () if spec.gain is None else spec.gain.full_families
    full = {row.computed_by for row in rows if row.family in families}
    for row in rows:
        if row.computed_by == row.label and not row.reference and row.label not in full:
            found.setdefault(row.label.partition("/")[2], []).append(row.label)
    return found


def _axes(given: ReportInput) -> list[str]:
    """All combinations of axis values, as `key=value;...`, in order; without axes, one empty text."""
    seen = {v.axes for v in given.values} | {m.axes for m in given.missing} | {c.axes for c in given.costs}
    return sorted(seen) or [""]


def _costs(given: ReportInput) -> dict[str, dict[str, dict[str, float]]]:
    gathered: dict[str, dict[str, dict[str, list[float]]]] = {}
    references = {info.name for info in given.rows if info.reference}
    for cost in given.costs:
        if cost.row in references:
            continue
        stage = f"{cost.stage}/{cost.branch}" if cost.branch else cost.stage
        values = gathered.setdefault(row_label(cost.row, cost.axes), {}).setdefault(stage, {})
        for name, value in cost.values.items():
            values.setdefault(name, []).append(float(value))
    return {
        row: {stage: {n: sum(v) / len(v) for n, v in sorted(values.items())} for stage, values in stages.items()}
        for row, stages in gathered.items()
    }


def _price(
    spec: ReportSpec, rows: Sequence[str], costs: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> tuple[dict[str, float], str]:
    """The price of each row and its name: the first price that every row with costs has."""
    priced = [row for row in rows if row in costs]
    if spec.prices is None:
        spent = {row: sum(values.get("device_s", 0.0) for values in costs[row].values()) for row in priced}
        return ({row: seconds for row, seconds in spent.items() if seconds}, "device seconds")
    for price in spec.prices:
        values = {row: costs[row].get(price.stage, {}).get(price.key) for row in priced}
        if priced and all(value is not None for value in values.values()):
            return {row: value for row, value in values.items() if value is not None}, price.name
    return {}, ""
