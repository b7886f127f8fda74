"""Analysis: computes everything that a report shows from case values, or from published means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from reports.comparable import NOT_COMPARABLE, answered
from reports.findings import Material, findings, not_in_profile
from reports.input import ReportInput
from reports.measured import AnalysedRow, Measured, combinations, measured, with_failures
from reports.noise import competing, repeated
from reports.spec import PublishedTables, ReportSpec
from reports.statistics import table as tables
from reports.statistics.agreement_limits import AgreementLimits, agreement_limits
from reports.statistics.comparisons import comparisons
from reports.statistics.gain import Gain, retained_gain
from reports.statistics.inversions import Inversions, inversions
from reports.statistics.panel import row_label
from reports.statistics.scores import scoring
from reports.statistics.signal import SignalToNoise, signal_to_noise
from reports.statistics.table import Table
from reports.unanswered import scenarios

ALL_ROWS = "all rows"
"""The table of a study that names none."""


@dataclass(frozen=True, kw_only=True)
class Analysis(Measured):
    """Everything that was computed."""

    tables: Mapping[str, Table]
    main: str
    """Name of the table that figures are about, with the study's own values of the axes; empty: there is none."""
    gains: Mapping[str, Gain]
    findings: Sequence[Mapping[str, Any]]
    costs: Mapping[str, Mapping[str, Mapping[str, float]]]
    """row -> stage or `evaluate/branch` -> value name -> mean over seeds."""
    price: Mapping[str, float]
    price_name: str
    units: Mapping[str, str]
    """`branch/metric` -> unit, of metrics without panels."""
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Table of the matrix -> its rows that are not in this profile."""
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of the axes -> the distinct rows that are trained: their scatter over seeds is pooled."""

    @cached_property
    def inversions(self) -> Mapping[str, Inversions]:
        """Table -> the pairs of its rows that the branches of the contrast order differently."""
        return {name: inversions(table, self.panels) for name, table in self.tables.items()}

    @cached_property
    def comparisons(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Table -> the paired differences of its rows."""
        return {name: comparisons(table, self.computed_by, self.panels) for name, table in self.tables.items()}

    @cached_property
    def signals(self) -> Mapping[str, SignalToNoise]:
        """`branch/metric` -> how far rows are apart in units of their seeds, where there are two seeds or more.

        Over rows with the axes' values of the main table: what an axis changes is no difference of rows.
        """
        found = {}
        rows = [
            row.label
            for row in self.rows
            if not row.reference
            and row.label == row.computed_by
            and (not self.main or row.label.partition("/")[2] == self.main.partition("/")[2])
        ]
        for name, panel in self.panels.items():
            signal = signal_to_noise([panel.layout(row) for row in rows]) if len(panel.seeds) > 1 else None
            if signal is not None:
                found[name] = signal
        return found

    @cached_property
    def agreement_limits(self) -> Mapping[str, Mapping[tuple[str, str], AgreementLimits]]:
        """Table -> pair of branches -> limits of their agreement."""
        return {
            name: {pair: agreement_limits(table, pair, self.computed_by, self.panels) for pair in table.scoring.pairs}
            for name, table in self.tables.items()
        }

    def main_metrics(self, branch: str) -> list[str]:
        """The branch's metrics of the first tables, in their order."""
        metrics = self.shown_metrics(branch)
        return [metric for metric in self.spec.metrics or metrics if metric in metrics]


def analyse(given: ReportInput) -> Analysis:
    """The analysis of a study.

    Raises:
        ValueError: values that contradict each other (`checked`), or a table that names no row of the matrix.
    """
    again = repeated(given)
    given = competing(given)
    axes = combinations(given, (cost.axes for cost in given.costs))
    found = measured(given, axes)
    computed = {info.name for info in given.rows}
    named: dict[str, list[str]] = {}
    given_tables = given.tables
    if not given_tables and given.spec.main_table is None:
        given_tables = {ALL_ROWS: [info.name for info in given.rows if not info.reference]}
    for name, members in given_tables.items():
        unknown = sorted(set(members) - set(computed) - {one.row for one in given.excluded} - set(given.outside))
        if again in members:
            raise ValueError(
                f"table {name!r} names {again}, which is another row again: it shows noise, and has no rank"
            )
        if unknown:
            raise ValueError(f"table {name!r} names {unknown}; rows of the matrix are {sorted(computed)}")
        references = sorted({info.name for info in given.rows if info.reference} & set(members))
        if references:
            raise ValueError(f"table {name!r} names {references}, which are ceiling and floor and take no rank")
        labels = found.computed_by.keys()
        for a in axes:
            kept = [label for member in members if (label := row_label(member, a)) in labels]
            if kept:
                named[row_label(name, a)] = kept
    apart = [] if found.crossed_out is None else found.crossed_out.rows(found.scoring.names)
    own = ";".join(f"{axis}={value}" for axis, value in given.defaults.items())
    asked = _Asked(
        axes=tuple(sorted(axes, key=lambda one: one != own)),
        seeds=tuple(sorted(set(given.seeds))),
        apart=frozenset(apart),
    )
    costs = _costs(given)
    analysis = _analysis(found, named, costs, {}, asked)
    if found.everything is not None:
        of_all = _analysis(found.everything, named, costs, {}, asked)
        analysis = replace(analysis, findings=answered(analysis.findings, of_all.findings, apart))
    if bounded := _verdicts_with_failures(found, named, costs, asked):
        analysis = replace(
            analysis,
            findings=[
                one if one["verdict"] == NOT_COMPARABLE else {**one, "verdicts_with_failures": verdicts}
                for one, verdicts in zip(analysis.findings, bounded, strict=True)
            ],
        )
    lacking = {name: [one for one in members if one in given.outside] for name, members in given_tables.items()}
    return replace(analysis, lacking={name: tuple(rows) for name, rows in lacking.items() if rows})


def analyse_published(spec: ReportSpec, published: PublishedTables) -> Analysis:
    """The analysis of published means: no intervals or probabilities, and point estimates as verdicts."""
    rows = tuple(AnalysedRow(label=name, family=family, computed_by=name) for name, family in published.rows)
    scored = scoring(spec.branches, spec.contrast, spec.metrics.keys(), dict.fromkeys(published.means, "high"))
    found = Measured(spec=spec, scoring=scored, rows=rows, panels={}, means=published.means)
    return _analysis(found, published.tables, {}, published.units)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What findings are asked of."""

    axes: tuple[str, ...] = ("",)
    """Combinations of axis values, the study's own first."""
    seeds: tuple[int, ...] = ()
    apart: frozenset[str] = frozenset()
    """Rows that are not comparable: their scatter over seeds says nothing of the others."""


def _analysis(
    found: Measured,
    named: Mapping[str, Sequence[str]],
    costs: Mapping[str, Mapping[str, Mapping[str, float]]],
    units: Mapping[str, str],
    asked: "_Asked | None" = None,
) -> Analysis:
    asked = asked or _Asked()
    spec, rows, means, scored, computed_by = found.spec, found.rows, found.means, found.scoring, found.computed_by
    analysed = {name: tables.analyse(members, computed_by, means, scored) for name, members in named.items()}
    suffixes = [one.replace(";", "/") for one in asked.axes]
    mains = {
        suffix: name
        for suffix in suffixes
        for name in analysed
        if name.partition("/")[2] == suffix and spec.main_table in (None, name.partition("/")[0])
    }
    ranked = {
        suffix: [row.label for row in rows if not row.reference and row.label.partition("/")[2] == suffix]
        for suffix in suffixes
    }
    pools = {
        suffix: tuple(label for label in ranked[suffix] if computed_by[label] == label and label not in asked.apart)
        for suffix in suffixes
    }
    materials = []
    for suffix in suffixes:
        name = mains.get(suffix, "")
        table = analysed[name] if name else tables.analyse(ranked[suffix], computed_by, means, scored)
        price, price_name = price_of(spec, table.rows, costs)
        materials.append(
            Material(
                table=table,
                computed_by=computed_by,
                means=means,
                panels=found.panels,
                cost=price,
                cost_name=price_name,
                suffix=suffix,
                outside=found.outside,
                pool=pools[suffix],
                seeds=asked.seeds,
                units=spec.words.units,
            )
        )
    gains: dict[str, Gain] = {}
    for axes, compact in _compact(spec, rows).items():
        if spec.gain is None:
            break
        labels = [row_label(name, axes.replace("/", ";")) for name in (spec.gain.shortest, spec.gain.longest)]
        lost = [label for label in labels if label in found.gone]
        if without := not_in_profile(label for label in labels if label in found.outside):
            gains |= {row: Gain(value=None, reason=without) for row in compact}
            continue
        if lost:
            gains |= {row: Gain(value=None, reason=f"{' and '.join(lost)} is excluded") for row in compact}
            continue
        shortest, longest = (computed_by.get(label, label) for label in labels)
        gains |= retained_gain(found.metric_of(spec.gain.metric), compact, shortest, longest, means, found.panels)
    return Analysis(
        spec=spec,
        scoring=scored,
        rows=rows,
        panels=found.panels,
        means=means,
        gone=found.gone,
        outside=found.outside,
        unanswered=found.unanswered,
        values=found.values,
        instruments=found.instruments,
        crossed_out=found.crossed_out,
        everything=found.everything,
        tables=analysed,
        main=next(iter(mains.values()), ""),
        gains={row.label: gains[row.computed_by] for row in rows if row.computed_by in gains},
        findings=findings(spec.questions(), materials),
        costs=costs,
        price=materials[0].cost,
        price_name=materials[0].cost_name,
        units=units,
        pools=pools,
    )


def _verdicts_with_failures(
    found: Measured,
    named: Mapping[str, Sequence[str]],
    costs: Mapping[str, Mapping[str, Mapping[str, float]]],
    asked: "_Asked",
) -> list[list[str]]:
    """The verdicts of each finding with unanswered cases at worst and at best; empty: every case was answered."""
    ranked = {row.label for row in found.rows if not row.reference}
    rows = sorted(ranked & {row for name, one in found.unanswered.items() for row in one.rows(found.panels[name])})
    if not rows:
        return []
    means = found.means.get(found.metric_of(found.scoring.ranked[-1]), {}) if found.scoring.ranked else {}
    tried = []
    for worst in scenarios(rows, means):
        one = with_failures(found, worst)
        findings_of = _analysis(one, named, costs, {}, asked).findings
        tried.append([finding["verdict"] for finding in findings_of])
    return [sorted(set(verdicts)) for verdicts in zip(*tried, strict=True)]


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


def price_of(
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
