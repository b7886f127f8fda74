"""Reference rows: ceiling, floors and reference lines, scored like the other rows and shown separately.

They enter no rank, normalisation, agreement, finding, gain or price. The floors show on which metrics a row that does
nothing scores well: a metric that gives one of them more than the baseline, by more than the interval of the
difference, is *suspect*.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.analysis import Analysis
from reports.formats import decimals_of, number
from reports.suspects import beaten


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric with ceiling, floor and best row, as texts; empty if missing."""

    branch: str
    name: str
    unit: str
    better: str
    ceiling: str
    floor: str
    best: str
    row: str
    """The best row."""
    rewards_floor: bool
    """Whether the floor does at least as well as the best row."""


def measures(analysis: Analysis) -> list[Measure]:
    """The main metrics of all branches that have a ceiling or floor."""
    spec = analysis.spec
    found: list[Measure] = []
    if spec.references is None:
        return found
    names = (spec.references.ceiling, spec.references.floor)
    for branch in analysis.scoring.names:
        for metric in analysis.main_metrics(branch):
            panel = analysis.panels.get(f"{branch}/{metric}")
            if panel is None:
                continue
            means = analysis.means[f"{branch}/{metric}"]
            ceiling, floor = (_mean(analysis, means, name) for name in names)
            rows = {r.label: means[r.label] for r in analysis.rows if not r.reference and r.label in means}
            if (ceiling is None and floor is None) or not rows:
                continue
            best = (max if panel.better == "high" else min)(rows, key=lambda row: rows[row])
            apart = None if floor is None else (floor - rows[best]) * (1 if panel.better == "high" else -1)
            found.append(
                Measure(
                    branch=branch,
                    name=spec.metrics.get(metric, metric),
                    unit=panel.unit,
                    better=panel.better,
                    ceiling=number(ceiling, decimals_of(spec, metric)),
                    floor=number(floor, decimals_of(spec, metric)),
                    best=number(rows[best], decimals_of(spec, metric)),
                    row=best,
                    rewards_floor=apart is not None and apart >= 0,
                )
            )
    return found


@dataclass(frozen=True, kw_only=True)
class ReferenceLine:
    """A reference row with its value of each metric, as texts: empty if it has none."""

    row: str
    kind: str
    about: str
    values: Sequence[tuple[str, bool]]
    """(value, whether it beats the baseline)."""


def reference_lines(analysis: Analysis) -> tuple[list[str], list[ReferenceLine]]:
    """The main metrics of all branches as `branch/metric`, and floors and reference lines with their values."""
    spec = analysis.spec.references
    if spec is None:
        return [], []
    metrics = [
        f"{branch}/{metric}"
        for branch in analysis.scoring.names
        for metric in analysis.main_metrics(branch)
        if f"{branch}/{metric}" in analysis.panels
    ]
    won = {metric: {one.row for one in beaten(analysis, metric)} for metric in metrics}
    kinds = {
        spec.ceiling: ("ceiling", spec.ceiling_name),
        spec.floor: ("floor", spec.floor_name),
        **{name: ("floor", about) for name, about in spec.adversaries.items()},
        **{name: ("line", about) for name, about in spec.lines.items()},
    }
    lines = []
    for row in analysis.rows:
        kind, about = kinds.get(row.label.partition("/")[0], ("", ""))
        if not row.reference or not kind:
            continue
        means = [analysis.mean(metric, row.label) for metric in metrics]
        values = [
            (number(mean, decimals_of(analysis.spec, metric.partition("/")[2])), row.label in won[metric])
            for metric, mean in zip(metrics, means, strict=True)
        ]
        lines.append(ReferenceLine(row=row.label, kind=kind, about=about, values=values))
    return metrics, lines


def guards(analysis: Analysis) -> bool:
    """Whether floors can be compared with the baseline: metrics are guarded, and the baseline is there."""
    spec = analysis.spec.references
    return (
        spec is not None
        and bool(spec.guarded)
        and any(row.label.partition("/")[0] == spec.baseline for row in analysis.rows)
    )


def levels(analysis: Analysis, metric: str) -> list[tuple[str, float]]:
    """(name, mean) of ceiling and floor on `branch/metric`, for lines in figures; without those off the scale."""
    spec = analysis.spec.references
    if spec is None:
        return []
    means, panel = analysis.means.get(metric, {}), analysis.panels.get(metric)
    found = []
    for name, row in ((spec.ceiling_name, spec.ceiling), (spec.floor_name, spec.floor)):
        mean = _mean(analysis, means, row)
        if mean is not None and (panel is None or mean < spec.off_scale.get(panel.unit, math.inf)):
            found.append((name, mean))
    return found


def _mean(analysis: Analysis, means: Mapping[str, float], name: str) -> float | None:
    """Mean of a reference row over axis values, none of which it reads."""
    labels: Sequence[str] = [r.label for r in analysis.rows if r.reference and r.label.split("/")[0] == name]
    known = [means[label] for label in labels if label in means]
    return float(np.mean(known)) if known else None
