"""Suspect metrics: those that give a floor more than the baseline, by more than the interval of the difference.

A floor does not do what was asked for (`ReferenceSpec.floor`, `adversaries`), so such a metric rewards something else.
Only `ReferenceSpec.guarded` metrics are looked at.
"""

from dataclasses import dataclass

from reports.measured import Measured
from reports.statistics.intervals import complete, interval_or_none


@dataclass(frozen=True, kw_only=True)
class Beaten:
    """A floor to which a metric gives more than to the baseline."""

    row: str
    """The floor's label."""
    baseline: str
    mean: float
    baseline_mean: float
    low: float
    """Least difference in favour of the floor, of the interval of paired differences."""


def beaten(found: Measured, metric: str) -> list[Beaten]:
    """The floors that beat the baseline on `branch/metric` by more than the interval of the difference, most first.

    None on a metric that is not guarded, or pooled over cases.
    """
    spec, panel = found.spec.references, found.panels.get(metric)
    if spec is None or panel is None or panel.pooled or metric not in spec.guarded:
        return []
    sign = 1.0 if panel.better == "high" else -1.0
    wins = []
    for row in found.rows:
        name, _, axes = row.label.partition("/")
        baseline = "/".join(filter(None, (spec.baseline, axes)))
        if not row.reference or name not in (spec.floor, *spec.adversaries) or baseline not in found.computed_by:
            continue
        cut = complete([panel.layout(found.computed_by[label]) for label in (row.label, baseline)])
        apart = interval_or_none(sign * (cut.layouts[0] - cut.layouts[1]))
        mean, of_baseline = found.mean(metric, row.label), found.mean(metric, baseline)
        if apart is not None and apart.low > 0 and mean is not None and of_baseline is not None:
            wins.append(Beaten(row=row.label, baseline=baseline, mean=mean, baseline_mean=of_baseline, low=apart.low))
    return sorted(wins, key=lambda one: -sign * one.mean)
