"""What differs between two sets of results: row by row and metric by metric, with intervals.

Where both have the same scenes and seeds, the difference is paired; else it is one of two samples. The published means
of a paper have neither, and give differences alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from reports.input import ReportInput
from reports.measured import Measured, combinations, measured
from reports.scoreboard import headlines
from reports.spec import PublishedTables, ReportSpec
from reports.statistics.intervals import ALPHA, Interval, complete, holm, interval_or_none
from reports.statistics.panel import Panel
from reports.statistics.two_samples import two_sample_interval

How = Literal["paired", "two samples", "means only"]
ChangeVerdict = Literal["better", "worse", "the same", "not told apart", "no verdict"]

NONE = "none"
CHECK, DEVIATION, CONTROL = "check: ", "deviation: ", "control "
IN_DETAIL = (CHECK, DEVIATION, CONTROL)
"""How facts begin that only a report's whole input has."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two sets of results."""

    name: str
    given: ReportInput | None = None
    """Its values; None: only means are known."""
    means: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """`branch/metric` -> row -> mean, without values."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else is known of it, such as its commit, where the values do not say it."""


@dataclass(frozen=True, kw_only=True)
class RowChange:
    """One row and metric in both."""

    row: str
    branch: str
    metric: str
    unit: str
    better: Literal["high", "low"]
    ours: float
    theirs: float
    effect: float
    """Ours minus theirs: of the means, or of the scenes that both have where it is paired."""
    low: float | None
    """Of the 95 % interval of the effect; None: there is none."""
    high: float | None
    p_adjusted: float | None
    """After Holm, over the changes of the metrics that stand for branches, or over all others."""
    how: How
    over: str
    """`scenes and seeds`, `scenes only` (one seed); empty: no interval."""
    scenes: int
    seeds: int
    headline: bool
    """Whether the metric stands for its branch."""
    verdict: ChangeVerdict
    """Of ours; `no verdict` without seeds to judge by."""


@dataclass(frozen=True, kw_only=True)
class ResultsComparison:
    """Two sets of results."""

    ours: str
    theirs: str
    changes: Sequence[RowChange]
    """Headline metrics first, then by metric and row."""
    rows_only_ours: Sequence[str]
    rows_only_theirs: Sequence[str]
    metrics_only_ours: Sequence[str]
    metrics_only_theirs: Sequence[str]
    not_compared: Sequence[tuple[str, str]]
    """(`branch/metric`, or rows; why)."""
    settings: Sequence[tuple[str, str, str]]
    """(what differs, ours, theirs): commit, seeds, controls."""
    decimals: Mapping[str, int] = field(default_factory=dict)
    """Prefix of a metric's name -> decimals."""

    @property
    def headlines(self) -> Sequence[RowChange]:
        """The changes of the metrics that stand for branches; if there are none, all."""
        return [change for change in self.changes if change.headline] or self.changes


def published_side(published: PublishedTables) -> Side:
    """The means of a paper."""
    return Side(name=published.source, means=published.means)


def compare(ours: Side, theirs: Side) -> ResultsComparison:
    """What differs.

    Args:
        ours: what is reported.
        theirs: what it is set against; its values are read by the report specification of ours.

    Raises:
        ValueError: values that contradict each other (`checked`), or no row and metric that both have.
    """
    spec = next((side.given.spec for side in (ours, theirs) if side.given is not None), ReportSpec())
    first, second = _measured(ours, spec), _measured(theirs, spec)
    means = [side.means if found is None else _by_label(found) for side, found in ((ours, first), (theirs, second))]
    shared = [metric for metric in sorted(means[0]) if metric in means[1]]
    of_branches = {
        f"{one.branch}/{one.metric}" for found in (first, second) if found is not None for one in headlines(found)
    }
    changes: list[RowChange] = []
    refused: list[tuple[str, str]] = []
    for metric in shared:
        reason = _incomparable(metric, first, second)
        if reason:
            refused.append((metric, reason))
            continue
        rows = [row for row in means[0][metric] if row in means[1][metric]]
        for row in rows:
            both = (means[0][metric][row], means[1][metric][row])
            changes.append(_change(metric, row, both, first, second, headline=metric in of_branches))
    for found, whose in ((first, "ours"), (second, "theirs")):
        for violation in () if found is None or found.crossed_out is None else found.crossed_out.violations:
            concerned = ", ".join(violation.rows) or "every row"
            refused.append((concerned, f"the control {violation.check} did not hold in {whose}"))
    rows_of = [
        _rows(by_metric) if found is None else [row.label for row in found.rows]
        for found, by_metric in zip((first, second), means, strict=True)
    ]
    if not changes:
        raise ValueError(
            f"{ours.name} and {theirs.name} have no row and metric in common: {_some(rows_of[0])} and "
            f"{_some(rows_of[1])}; allowed: results with the same names of rows, branches and metrics"
        )
    return ResultsComparison(
        ours=ours.name,
        theirs=theirs.name,
        changes=_judged(changes),
        rows_only_ours=[row for row in rows_of[0] if row not in rows_of[1]],
        rows_only_theirs=[row for row in rows_of[1] if row not in rows_of[0]],
        metrics_only_ours=[metric for metric in sorted(means[0]) if metric not in means[1]],
        metrics_only_theirs=[metric for metric in sorted(means[1]) if metric not in means[0]],
        not_compared=refused,
        settings=list(_settings(ours, theirs)),
        decimals=spec.decimals,
    )


def comparison_json(found: ResultsComparison) -> dict[str, Any]:
    """The comparison as JSON can hold it."""
    return {
        "version": 1,
        "ours": found.ours,
        "theirs": found.theirs,
        "changes": [asdict(change) for change in found.changes],
        "rows_only_ours": list(found.rows_only_ours),
        "rows_only_theirs": list(found.rows_only_theirs),
        "metrics_only_ours": list(found.metrics_only_ours),
        "metrics_only_theirs": list(found.metrics_only_theirs),
        "not_compared": [{"metric": metric, "reason": reason} for metric, reason in found.not_compared],
        "settings": [{"what": what, "ours": a, "theirs": b} for what, a, b in found.settings],
    }


def facts_of(given: ReportInput) -> dict[str, str]:
    """What a report's input says beside values, for the comparison: commit, seeds, controls one by one."""
    facts = {
        # A table has the name of its file in their place.
        "study": given.study if given.controls.fingerprint else "",
        "profile": given.profile if given.controls.fingerprint else "",
        "commit": given.git,
        "seeds": ", ".join(map(str, sorted(set(given.seeds)))),
        "controls fingerprint": given.controls.fingerprint,
    }
    for verdict in given.controls.verdicts:
        facts[f"{CHECK}{verdict.get('check', '')}"] = str(verdict.get("verdict", ""))
    for deviation in given.controls.deviations:
        facts[f"{DEVIATION}{deviation.get('key', '')}"] = ", ".join(deviation.get("rows", ()))
    facts |= {f"{CONTROL}{name}": text for name, text in _leaves(given.sections)}
    return {name: text for name, text in facts.items() if text}


def _measured(side: Side, spec: ReportSpec) -> Measured | None:
    if side.given is None:
        return None
    given = replace(side.given, spec=spec)
    return measured(given, combinations(given))


def _rows(means: Mapping[str, Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(row for by_row in means.values() for row in by_row))


def _by_label(found: Measured) -> dict[str, dict[str, float]]:
    """Metric -> label of every row, aliases too -> mean."""
    return {
        metric: {row.label: by_row[row.computed_by] for row in found.rows if row.computed_by in by_row}
        for metric, by_row in found.means.items()
    }


def _incomparable(metric: str, ours: Measured | None, theirs: Measured | None) -> str:
    """Why the two metrics of one name are not the same; empty: they are."""
    panels = [found.panels[metric] for found in (ours, theirs) if found is not None and metric in found.panels]
    if len(panels) < 2:
        return ""
    for kind in ("unit", "better"):
        a, b = (getattr(panel, kind) for panel in panels)
        if a != b:
            return f"{kind} is {a!r} in ours and {b!r} in theirs"
    return ""


def _change(
    metric: str,
    row: str,
    means: tuple[float, float],
    ours: Measured | None,
    theirs: Measured | None,
    *,
    headline: bool,
) -> RowChange:
    panels = [None if found is None else found.panels.get(metric) for found in (ours, theirs)]
    known = next((panel for panel in panels if panel is not None), None)
    how, interval = _interval(row, ours, theirs, panels)
    branch, _, name = metric.partition("/")
    return RowChange(
        row=row,
        branch=branch,
        metric=name,
        unit="" if known is None else known.unit,
        better="low" if known is not None and known.better == "low" else "high",
        ours=means[0],
        theirs=means[1],
        effect=means[0] - means[1] if interval is None else interval.mean,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        p_adjusted=None if interval is None else interval.p,
        how=how,
        over="" if interval is None else interval.kind,
        scenes=0 if interval is None else interval.scenes,
        seeds=0 if interval is None else interval.seeds,
        headline=headline,
        verdict="no verdict",
    )


def _interval(
    row: str, ours: Measured | None, theirs: Measured | None, panels: Sequence[Panel | None]
) -> tuple[How, Interval | None]:
    """How a difference is computed, and its interval; None: there are no values, or too few."""
    a, b = panels
    if ours is None or theirs is None or a is None or b is None or a.pooled or b.pooled:
        return "means only", None
    first, second = a.layout(ours.computed_by[row]), b.layout(theirs.computed_by[row])
    own, other = _measured_at(a, first), _measured_at(b, second)
    if own == other:
        order = [b.scenes.index(scene) for scene in sorted(other[0])]
        seeds = [b.seeds.index(seed) for seed in sorted(other[1])]
        at = [a.scenes.index(scene) for scene in sorted(own[0])], [a.seeds.index(seed) for seed in sorted(own[1])]
        cut = complete([first[np.ix_(*at)], second[np.ix_(order, seeds)]])
        return "paired", interval_or_none(cut.layouts[0] - cut.layouts[1])
    layouts = [complete([layout]).layouts[0] for layout in (first, second)]
    if any(layout.shape[0] < 2 or layout.shape[1] < 1 for layout in layouts):
        return "two samples", None
    return "two samples", two_sample_interval(layouts[0], layouts[1])


def _measured_at(panel: Panel, layout: Any) -> tuple[frozenset[str], frozenset[int]]:
    """The scenes and seeds with a value."""
    there = np.isfinite(layout)
    return (
        frozenset(scene for scene, any_there in zip(panel.scenes, there.any(axis=1), strict=True) if any_there),
        frozenset(seed for seed, any_there in zip(panel.seeds, there.any(axis=0), strict=True) if any_there),
    )


def _judged(changes: Sequence[RowChange]) -> list[RowChange]:
    """The changes with adjusted p and verdict, headline metrics first: Holm over these, and over all others."""
    found: list[RowChange] = []
    for headline in (True, False):
        part = [change for change in changes if change.headline == headline]
        with_p = [change for change in part if change.p_adjusted is not None]
        adjusted = iter(holm([change.p_adjusted or 0.0 for change in with_p]))
        for change in part:
            p = None if change.p_adjusted is None else next(adjusted)
            found.append(replace(change, p_adjusted=p, verdict=_verdict(change, p)))
    return found


def _verdict(change: RowChange, p: float | None) -> ChangeVerdict:
    if change.low is not None and change.low == change.high == 0.0:
        return "the same"
    if p is None or change.over == "scenes only":
        return "no verdict"
    if p >= ALPHA:
        return "not told apart"
    return "better" if (change.effect > 0) == (change.better == "high") else "worse"


def _settings(ours: Side, theirs: Side) -> Iterator[tuple[str, str, str]]:
    """What is known of both and differs, and what only one says."""
    facts = [side.facts or ({} if side.given is None else facts_of(side.given)) for side in (ours, theirs)]
    whole = all(any(name.startswith(IN_DETAIL) for name in one) for one in facts)
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        a, b = (one.get(name, "") for one in facts)
        # A side that says nothing of something does not differ in it, unless all is known of both.
        if a != b and (whole or (a and b)):
            yield name, a or NONE, b or NONE


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted path, text) of every value of nested mappings."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, "null" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "no rows"
