"""Measured values: panels, means and intervals of every row and metric, from case values alone.

What the report, `echo-matrix results` and `orchestrator.results` have in common: each number is worked out here once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from reports import instruments
from reports.checked import check
from reports.columns import Columns, columns
from reports.comparable import CrossedOut, crossed_out
from reports.formats import number
from reports.groups import by_group
from reports.input import CaseValues
from reports.instruments import InstrumentAgreement
from reports.marks import Mark
from reports.noise import competing, repeated
from reports.replaced import is_replaced
from reports.spec import Better, ReportSpec
from reports.statistics.best import BestRows, best_rows
from reports.statistics.differences import intervals
from reports.statistics.intervals import Interval
from reports.statistics.panel import Panel, panels, row_label
from reports.statistics.scores import Scoring, metric_of, scoring
from reports.unanswered import Unanswered, filled, unanswered


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
    factors: Mapping[str, str] = field(default_factory=dict)
    """What it is made of, factor -> level; empty: not known."""
    sizes: Mapping[str, float] = field(default_factory=dict)
    """Name -> number that follows from its declaration."""


ROUNDING = 1e-9
"""Relative difference below which two means are the same."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The complete block of a row's values that its limits are of, with its own mean."""

    mean: float
    low: float
    high: float
    scenes: int
    seeds: int

    def text(self, units: str, decimals: int) -> str:
        """`15.2 ± 0.4 over 30 cases in 2 seeds`, for people."""
        half = number((self.high - self.low) / 2, decimals)
        seeds = f"{self.seeds} seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"{number(self.mean, decimals)} ± {half} over {self.scenes} {units} in {seeds}"


@dataclass(frozen=True, kw_only=True)
class MeanBounds:
    """A mean of which cases are unanswered, between what it were with all of them at worst and at best."""

    unanswered: int
    at_worst: float
    at_best: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The rows with their values."""

    spec: ReportSpec
    scoring: Scoring
    rows: tuple[AnalysedRow, ...]
    panels: Mapping[str, Panel]
    """By `branch/metric`, over distinct rows; empty without case values."""
    means: Mapping[str, Mapping[str, float]]
    """`branch/metric` -> distinct row -> mean."""
    gone: frozenset[str] = frozenset()
    """Labels of rows that are excluded with these axis values."""
    outside: frozenset[str] = frozenset()
    """Labels of rows that are not in this profile."""
    values: Columns = field(default_factory=lambda: columns(()))
    """Every value that was given."""
    instruments: Sequence[InstrumentAgreement] = ()
    """How far instruments agree on the values (`instruments.py`)."""
    crossed_out: CrossedOut | None = None
    """Rows whose controls did not hold: they have no values here on the branches concerned; None: all held."""
    unanswered: Mapping[str, Unanswered] = field(default_factory=dict)
    """`branch/metric` -> cases that an instrument did not answer, of metrics that have any."""
    everything: "Measured | None" = None
    """The same with the values of these rows, which are shown crossed out; None: all controls held."""

    @cached_property
    def computed_by(self) -> Mapping[str, str]:
        """Label -> label of the distinct row."""
        return {row.label: row.computed_by for row in self.rows}

    @cached_property
    def excluded_seeds(self) -> Mapping[str, frozenset[int]]:
        """Label -> seeds whose cells are excluded."""
        return {row.label: row.excluded_seeds for row in self.rows}

    def metric_of(self, name: str) -> str:
        """`branch/metric` of a name in the specification, which may be a branch."""
        return metric_of(name, self.scoring, self.means.keys())

    def titled(self, text: str, metric: str) -> str:
        """`text` with the display name of `branch/metric` for `{}`."""
        own = metric.partition("/")[2]
        name = self.spec.metrics.get(own, own)
        return text.format(name if name[:2].isupper() else f"{name[:1].lower()}{name[1:]}")

    def shown_metrics(self, branch: str) -> list[str]:
        """The branch's metrics, by name, without those that another one is shown instead of on the page."""
        own = [name for name in self.means if name.startswith(f"{branch}/")]
        return sorted(name.split("/", 1)[1] for name in own if not is_replaced(self.spec, name, self.means.keys()))

    def is_comparable(self, metric: str, row: str) -> bool:
        """Whether a row's numbers of `branch/metric` may be compared: no control that they rest on is violated."""
        return self.crossed_out is None or not self.crossed_out.concerning(row, metric.partition("/")[0])

    def shown(self, metric: str, row: str) -> "Measured":
        """Where a row's own numbers of `branch/metric` are read, be they crossed out or not."""
        return self if self.everything is None or self.is_comparable(metric, row) else self.everything

    def mean(self, metric: str, row: str) -> float | None:
        """A row's mean; None without values."""
        return self.means.get(metric, {}).get(self.computed_by[row])

    def interval(self, metric: str, row: str) -> Interval | None:
        """Interval of a row's mean over scenes and seeds; None for pooled metrics and fewer than two scenes."""
        panel = self.panels.get(metric)
        if panel is None or panel.pooled:
            return None
        if metric not in self._intervals:
            self._intervals[metric] = intervals(panel.layouts)
        return self._intervals[metric][panel.place[self.computed_by[row]]]

    @cached_property
    def _intervals(self) -> dict[str, Sequence[Interval | None]]:
        """`branch/metric` -> interval of each row of its panel, of those asked for."""
        return {}

    def limits(self, metric: str, row: str) -> tuple[float, float] | None:
        """Low and high of the interval; None without interval.

        They lie around the mean of the values that they were computed from: where that is not the row's mean,
        `part` tells which it is.
        """
        interval, mean = self.interval(metric, row), self.mean(metric, row)
        if interval is None or mean is None:
            return None
        if self.part(metric, row) is not None:
            return interval.low, interval.high
        half = (interval.high - interval.low) / 2
        return mean - half, mean + half

    def bounds(self, metric: str, row: str) -> MeanBounds | None:
        """The row's mean with its unanswered cases at worst and at best; None: every case was answered."""
        lost, panel = self.unanswered.get(metric), self.panels.get(metric)
        if lost is None or panel is None:
            return None
        at = panel.rows.index(self.computed_by[row])
        count = int(lost.count[at].sum())
        if not count:
            return None
        total, cases = panel.total[at].sum(), panel.count[at].sum() + count
        worst, best = ((total + float(side[at].sum())) / cases for side in (lost.worst, lost.best))
        return MeanBounds(unanswered=count, at_worst=float(worst), at_best=float(best))

    def part(self, metric: str, row: str) -> Part | None:
        """What a row's limits were computed from, where that is not all of its values alike; None: it is, or none.

        It is the largest complete block of scenes and seeds, in which every scene counts alike, however many of its
        cases are there.
        """
        interval, mean = self.interval(metric, row), self.mean(metric, row)
        if interval is None or mean is None:
            return None
        cells = int(np.isfinite(self.panels[metric].layout(self.computed_by[row])).sum())
        size = max(abs(mean), abs(interval.mean), interval.high - interval.low)
        if cells == interval.scenes * interval.seeds and abs(interval.mean - mean) <= ROUNDING * size:
            return None
        return Part(
            mean=interval.mean, low=interval.low, high=interval.high, scenes=interval.scenes, seeds=interval.seeds
        )

    @property
    def seeds(self) -> int:
        """Of the study; 0 without case values."""
        return max((len(panel.seeds) for panel in self.panels.values()), default=0)

    def best(self, metric: str, rows: Sequence[str], better: Better) -> BestRows:
        """What is known of the best of these rows, by the names of the distinct ones."""
        sign = 1.0 if better == "high" else -1.0
        means, panel = self.means.get(metric, {}), self.panels.get(metric)
        distinct = [row for row in dict.fromkeys(self.computed_by[row] for row in rows) if row in means]
        layouts = {} if panel is None or panel.pooled else {row: sign * panel.layout(row) for row in distinct}
        return best_rows({row: sign * means[row] for row in distinct}, layouts, self.seeds)

    def marks(self, best: BestRows, rows: Sequence[str]) -> dict[str, Mark]:
        """Row -> its mark, of those that have one; an alias has that of its row."""
        found = {row: best.mark(self.computed_by[row]) for row in rows}
        return {row: mark for row, mark in found.items() if mark}

    def counted(self, metric: str, row: str) -> tuple[int, int]:
        """(values present, values expected)."""
        panel = self.panels[metric]
        seeds = len(panel.seeds) - len(self.excluded_seeds[row])
        there = int(panel.present[panel.place[self.computed_by[row]]])
        return there, panel.expected // len(panel.seeds) * seeds


def combinations(given: CaseValues, others: Iterable[str] = ()) -> list[str]:
    """All combinations of axis values, as `key=value;...`, in order; without axes, one empty text."""
    return sorted({v.axes for v in given.values} | {m.axes for m in given.missing} | set(others)) or [""]


def measured(given: CaseValues, axes: Sequence[str]) -> Measured:
    """The rows of a study with their values.

    Args:
        given: the case values.
        axes: the `combinations` of axis values.

    Raises:
        ValueError: values that contradict each other (`checked`).
    """
    values, again = columns(given.values), repeated(given)
    check(given, values)
    competing_values = values.of(~values.row.is_in([again])) if again is not None else values
    given = competing(given)
    computed = {info.name: info.alias_of or info.name for info in given.rows}
    excluded: dict[str, frozenset[int]] = {}
    for one in given.excluded:
        label = row_label(one.row, one.axes)
        excluded[label] = excluded.get(label, frozenset()) | {one.seed}
    gone = frozenset(label for label, seeds in excluded.items() if seeds >= set(given.seeds))
    outside = frozenset(row_label(name, a) for name in given.outside for a in axes)
    rows = tuple(
        AnalysedRow(
            label=label,
            family=info.family,
            # With other cells than the row that it repeats, a row counts as one of its own.
            computed_by=original if excluded.get(original) == excluded.get(label) else label,
            reference=info.reference,
            excluded_seeds=excluded.get(label, frozenset()),
            factors=info.factors,
            sizes=info.sizes.get(a, {}),
        )
        for a in axes
        for info in given.rows
        for label, original in [(row_label(info.name, a), row_label(computed[info.name], a))]
        if label not in gone
    )
    distinct = [row.label for row in rows if row.computed_by == row.label]
    variants = {branch.name: branch.variant for branch in given.spec.branches}
    lines = by_group(instruments.separated(given, competing_values), given.spec.branches)
    found = panels(lines, distinct, sorted(set(given.seeds)), variants)
    better = {name: panel.better for name, panel in found.items()}
    scored = scoring(given.spec.branches, given.spec.contrast, given.spec.metrics.keys(), better)
    whole = Measured(
        spec=given.spec,
        scoring=scored,
        rows=rows,
        panels=found,
        means={name: _means(panel) for name, panel in found.items()},
        unanswered=unanswered(lines, found, given.spec.instruments, given.missing, variants),
        gone=gone,
        outside=outside,
        values=values,
        instruments=instruments.agreement(given, competing_values),
    )
    crossed = crossed_out(given, {row.label: row.computed_by for row in rows if not row.reference})
    return whole if crossed is None else _comparable(whole, crossed)


def _means(panel: Panel) -> dict[str, float]:
    return {row: float(mean) for row, mean in zip(panel.rows, panel.means(), strict=True) if np.isfinite(mean)}


def _comparable(whole: Measured, crossed: CrossedOut) -> Measured:
    """Without the values of rows that are not comparable."""
    kept = {name: panel.without(crossed.rows([name.partition("/")[0]])) for name, panel in whole.panels.items()}
    means = {name: _means(panel) for name, panel in kept.items()}
    lost = {
        name: one.without(whole.panels[name], crossed.rows([name.partition("/")[0]]))
        for name, one in whole.unanswered.items()
    }
    return replace(whole, panels=kept, means=means, unanswered=lost, crossed_out=crossed, everything=whole)


def with_failures(found: Measured, worst: Collection[str]) -> Measured:
    """The measured values with one for every unanswered case: the worst in these rows, the best in the others."""
    panels = {
        name: filled(panel, found.unanswered[name], worst) if name in found.unanswered else panel
        for name, panel in found.panels.items()
    }
    return replace(found, panels=panels, means={name: _means(panel) for name, panel in panels.items()}, unanswered={})
