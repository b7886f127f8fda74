"""Factor effects of the metrics that the study names, as report.json and the page show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.analysis import Analysis
from reports.formats import decimals_of
from reports.statistics.factors import FactorEffects, factor_effects
from reports.statistics.intervals import Interval
from reports.statistics.scores import headline


@dataclass(frozen=True, kw_only=True)
class MetricEffects:
    """The effects of one metric."""

    metric: str
    unit: str
    decimals: int
    effects: FactorEffects

    @property
    def kind(self) -> str:
        """What the intervals are over; empty: there are none."""
        return next((mean.interval.kind for group in self.effects.groups for mean in group.means), "")


def effects_of(analysis: Analysis) -> Sequence[MetricEffects]:
    """Effects of each metric, over the distinct rows of the main table's axes; none where rows have no factors."""
    suffix = analysis.main.partition("/")[2]
    rows = [
        row
        for row in analysis.rows
        if row.label == row.computed_by and not row.reference and row.label.partition("/")[2] == suffix
    ]
    found = []
    for metric in _metrics(analysis) if any(row.factors for row in rows) else ():
        panel = analysis.panels.get(metric)
        if panel is None or panel.pooled:
            continue
        layouts = {row.label: panel.layout(row.label) for row in rows}
        effects = factor_effects(layouts, {row.label: row.factors for row in rows})
        if effects is not None:
            decimals = decimals_of(analysis.spec, metric.split("/", 1)[1])
            found.append(MetricEffects(metric=metric, unit=panel.unit, decimals=decimals, effects=effects))
    return found


def effects_json(analysis: Analysis) -> list[dict[str, Any]]:
    """The effects as in report.json."""
    return [
        {
            "metric": one.metric,
            "unit": one.unit,
            "intervals": one.kind,
            "groups": [
                {
                    "rows": list(group.rows),
                    "levels": {factor: list(levels) for factor, levels in group.levels.items()},
                    "means": [
                        {"factor": mean.factor, "level": mean.level, "rows": list(mean.rows), **_limits(mean.interval)}
                        for mean in group.means
                    ],
                    "contrasts": [
                        {
                            "factor": c.factor,
                            "a": c.a,
                            "b": c.b,
                            **_limits(c.interval),
                            "p_adjusted": c.p_adjusted,
                            "note": c.note,
                        }
                        for c in group.contrasts
                    ],
                }
                for group in one.effects.groups
            ],
            "interactions": [
                {
                    "factors": list(i.factors),
                    "a": i.a,
                    "b": i.b,
                    "c": i.c,
                    "d": i.d,
                    **_limits(i.interval),
                    "p_adjusted": i.p_adjusted,
                }
                for i in one.effects.interactions
            ],
            "interactions_tested": one.effects.tested,
            "inseparable": [dict(vars(apart)) for apart in one.effects.inseparable],
            "left_out": dict(one.effects.left_out),
            "dropped_scenes": one.effects.dropped_scenes,
        }
        for one in effects_of(analysis)
    ]


def _limits(interval: Interval) -> Mapping[str, float]:
    return {"effect": interval.mean, "low": interval.low, "high": interval.high}


def _metrics(analysis: Analysis) -> Sequence[str]:
    spec = analysis.spec.factors
    if spec.metrics:
        return [analysis.metric_of(name) for name in spec.metrics]
    return [headline(analysis.scoring.of(branch), analysis.means.keys())[0] for branch in analysis.scoring.ranked]
