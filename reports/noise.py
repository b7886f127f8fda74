"""Noise: what is found between a row and the same row again, trained from another initialisation (`NoiseSpec`).

The two compute the same but for where their parameters start, so a difference between them says how large a difference
between any two rows must be to mean something. It is the same paired difference, with the same interval.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from reports import instruments
from reports.columns import columns
from reports.comparable import violations
from reports.formats import decimals_of
from reports.groups import by_group
from reports.input import CaseValues
from reports.replaced import is_replaced
from reports.statistics.intervals import complete, interval_or_none
from reports.statistics.panel import Floats, panels, row_label

Given = TypeVar("Given", bound=CaseValues)


@dataclass(frozen=True, kw_only=True)
class NoiseLine:
    """One metric of the pair."""

    metric: str
    """`branch/metric`."""
    name: str
    """For people."""
    unit: str
    decimals: int
    row: str
    again: str
    effect: float
    """Of `again` minus `row`."""
    low: float
    """Of the 95 % interval."""
    high: float
    p: float
    scenes: int
    seeds: int
    comparable: bool = True
    """False: a control of one of the two did not hold."""


def repeated(given: CaseValues) -> str | None:
    """The row that is another one again, where both are there."""
    pair, names = given.spec.noise, {info.name for info in given.rows}
    return pair.again if pair is not None and {pair.row, pair.again} <= names else None


def competing(given: Given) -> Given:
    """The input without the values of that row, which takes part in no table, rank, figure or finding."""
    again = repeated(given)
    if again is None:
        return given
    parts: dict[str, Any] = {"rows": [info for info in given.rows if info.name != again]}
    for name in ("values", "costs", "strips", "curves"):
        if hasattr(given, name):
            parts[name] = [one for one in getattr(given, name) if one.row != again]
    return replace(given, **parts)


def noise(given: CaseValues) -> list[NoiseLine]:
    """The differences of the pair, for every combination of axis values; empty: no pair is declared or measured."""
    pair = given.spec.noise
    if pair is None or repeated(given) is None:
        return []
    of_pair = replace(given, values=[line for line in given.values if line.row in (pair.row, pair.again)])
    return list(_lines(of_pair, pair.row, pair.again, pair.metrics))


def noise_difference(given: CaseValues, metric: str) -> Floats | None:
    """`again` minus `row`, (scenes, seeds) in the unit of `branch/metric`; None: the pair was not measured on it.

    With axes, of the first combination of their values.
    """
    pair = given.spec.noise
    if pair is None or repeated(given) is None:
        return None
    branch = metric.partition("/")[0]
    named = (pair.row, pair.again)
    values = [v for v in given.values if v.row in named and v.branch == branch]
    if not values:
        return None
    axes = min(v.axes for v in values)
    variants = {one.name: one.variant for one in given.spec.branches}
    lines = by_group(instruments.separated(given, columns(values)), given.spec.branches)
    panel = panels(lines, [row_label(row, axes) for row in named], sorted(set(given.seeds)), variants).get(metric)
    if panel is None or panel.pooled:
        return None
    cut = complete([panel.layout(row_label(row, axes)) for row in reversed(named)]).layouts
    return None if 0 in cut[0].shape else cut[0] - cut[1]


def _lines(given: CaseValues, row: str, again: str, metrics: Sequence[str]) -> Iterator[NoiseLine]:
    axes, violated = sorted({line.axes for line in given.values}), violations(given.controls)
    labels = [(row_label(row, a), row_label(again, a)) for a in axes]
    variants = {branch.name: branch.variant for branch in given.spec.branches}
    distinct = [label for pair in labels for label in pair]
    # A branch with groups of cases has no metric over all of them, and so none here.
    lines = by_group(instruments.separated(given, columns(given.values)), given.spec.branches)
    found = panels(lines, distinct, sorted(set(given.seeds)), variants)
    branches = list(variants) or sorted({line.branch for line in given.values})
    of_tables = [f"{branch}/{one}" for branch in branches for one in given.spec.metrics] or list(found)
    for metric in metrics or of_tables:
        panel = found.get(metric)
        if panel is None or panel.pooled or is_replaced(given.spec, metric, found.keys()):
            continue
        branch, _, own = metric.partition("/")
        for first, second in labels:
            cut = complete([panel.layout(second), panel.layout(first)])
            interval = interval_or_none(cut.layouts[0] - cut.layouts[1])
            if interval is not None:
                yield NoiseLine(
                    metric=metric,
                    name=f"{branch}: {given.spec.metrics.get(own, own)}",
                    unit=panel.unit,
                    decimals=decimals_of(given.spec, own),
                    row=first,
                    again=second,
                    effect=interval.mean,
                    low=interval.low,
                    high=interval.high,
                    p=interval.p,
                    scenes=interval.scenes,
                    seeds=interval.seeds,
                    comparable=not any(one.concerns(label, branch) for one in violated for label in (first, second)),
                )
