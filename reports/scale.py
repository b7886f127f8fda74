"""Scores between floor and ceiling, and what follows from them: profiles, probability of improvement, signal to noise.

Which metrics may stand on the common scale, of whatever a study declares (`ReferenceSpec`); the statistics are in
`statistics/common_scale.py`, `profiles.py`, `improvement.py` and `signal.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from reports.analysis import Analysis
from reports.spec import Better, ReferenceSpec
from reports.statistics.common_scale import run_scores, scaled, separation
from reports.statistics.improvement import improvement
from reports.statistics.intervals import complete, interval_or_none
from reports.statistics.panel import Floats
from reports.statistics.profiles import THRESHOLDS, profile
from reports.statistics.scores import headline, score_parts
from reports.statistics.table import Table

MOST_PAIRED = 60
"""Rows of a table up to which every pair is compared; of more, each with the best one alone."""


@dataclass(frozen=True, kw_only=True)
class ScaledScore:
    """A row on the common scale; limits are None with fewer than two scenes."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class ScaledMetric:
    """A metric between its floor and its ceiling."""

    metric: str
    """`branch/metric`."""
    unit: str
    floor: float
    ceiling: float
    reason: str = ""
    """Why it keeps its unit; empty: it is on the scale."""
    note: str = ""
    """What is to be known of its scale."""
    scores: Mapping[str, ScaledScore] = field(default_factory=dict)
    """Label -> score, of ranked rows with values and of both references."""

    @property
    def is_scaled(self) -> bool:
        """Whether it is on the common scale."""
        return not self.reason


@dataclass(frozen=True, kw_only=True)
class PerformanceProfile:
    """Performance profiles of the rows of the main table on a branch."""

    branch: str
    metrics: Sequence[str]
    """`branch/metric`; a run's score is the mean of those."""
    thresholds: Sequence[float]
    shares: Mapping[str, Sequence[float]]
    """Row -> share of its runs above each threshold."""
    runs: Mapping[str, int]
    """Row -> its runs, scenes × seeds."""


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """Probability of improvement on a branch, of the rows of the main table."""

    branch: str
    metric: str
    seeds: int
    reason: str = ""
    """Why there is none; empty: there is."""
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """A -> B -> P(A > B), over pairs of seeds."""


def scaled_metrics(analysis: Analysis) -> list[ScaledMetric]:
    """The main metrics that have a floor and a ceiling, in order; not those that tell what a score is made of."""
    spec = analysis.spec.references
    if spec is None:
        return []
    found = []
    for branch in analysis.scoring.names:
        beside = analysis.scoring.of(branch).beside
        for metric in analysis.main_metrics(branch):
            one = None if metric in beside else _scaled_metric(analysis, spec, f"{branch}/{metric}")
            if one is not None:
                found.append(one)
    return found


def profiles(analysis: Analysis, on_scale: Sequence[ScaledMetric]) -> list[PerformanceProfile]:
    """A profile for each branch of the contrast, of the parts of its score that are on the scale.

    Parts whose floor or ceiling is a cap take part only where no other does.
    """
    table, spec = analysis.tables.get(analysis.main), analysis.spec.references
    known = {one.metric: one for one in on_scale if one.is_scaled}
    found: list[PerformanceProfile] = []
    if table is None or spec is None:
        return found
    for branch in analysis.scoring.ranked:
        parts = [known[m] for m, _ in score_parts(analysis.scoring.of(branch), analysis.means.keys()) if m in known]
        parts = [one for one in parts if not one.note] or parts
        if not parts:
            continue
        scores = {row: _runs(analysis, parts, analysis.computed_by[row]) for row in table.rows}
        scores = {row: values for row, values in scores.items() if np.isfinite(values).any()}
        if scores:
            found.append(
                PerformanceProfile(
                    branch=branch,
                    metrics=[one.metric for one in parts],
                    thresholds=THRESHOLDS,
                    shares={row: [float(share) for share in profile(values)] for row, values in scores.items()},
                    runs={row: int(np.isfinite(values).sum()) for row, values in scores.items()},
                )
            )
    return found


def improvements(analysis: Analysis) -> list[Improvement]:
    """The probability of improvement between rows of the main table, on the first metric of each ranked branch."""
    table = analysis.tables.get(analysis.main)
    found: list[Improvement] = []
    for branch in () if table is None else analysis.scoring.ranked:
        metric, better = headline(analysis.scoring.of(branch), analysis.means.keys())
        panel = analysis.panels.get(metric)
        if table is None or panel is None or panel.pooled:
            continue
        seeds = len(panel.seeds)
        if seeds < 2:
            why = "one seed: a second training of either row might turn any of them"
            found.append(Improvement(branch=branch, metric=metric, seeds=seeds, reason=why))
            continue
        sign = 1.0 if better == "high" else -1.0
        layouts = {row: sign * panel.layout(analysis.computed_by[row]) for row in table.rows}
        found.append(
            Improvement(branch=branch, metric=metric, seeds=seeds, probabilities=_probabilities(layouts, table, branch))
        )
    return found


def scale_json(analysis: Analysis) -> dict[str, Any]:
    """The keys `common_scale`, `profiles`, `improvement` and `signal_to_noise` of report.json."""
    on_scale = scaled_metrics(analysis)
    return {
        "common_scale": {one.metric: {k: v for k, v in asdict(one).items() if k != "metric"} for one in on_scale},
        "profiles": [asdict(one) for one in profiles(analysis, on_scale)],
        "improvement": [asdict(one) for one in improvements(analysis)],
        "signal_to_noise": {metric: asdict(one) for metric, one in analysis.signals.items()},
    }


def _scaled_metric(analysis: Analysis, spec: ReferenceSpec, metric: str) -> ScaledMetric | None:
    """One metric; None: it has no floor or no ceiling."""
    panel = analysis.panels.get(metric)
    floors, ceilings = (_references(analysis, name, metric) for name in (spec.floor, spec.ceiling))
    if panel is None or not floors or not ceilings:
        return None
    floor, ceiling = (float(np.mean(list(by_axes.values()))) for by_axes in (floors, ceilings))
    one = ScaledMetric(metric=metric, unit=panel.unit, floor=floor, ceiling=ceiling)
    reason = _reason(analysis, spec, one)
    if reason:
        return replace(one, reason=reason)
    scores = {}
    for row in analysis.rows:
        axes = row.label.partition("/")[2]
        bounds = [axes if axes in floors else "", axes if axes in ceilings else ""]
        if (row.reference and row.label.partition("/")[0] not in (spec.floor, spec.ceiling)) or (
            bounds[0] not in floors or bounds[1] not in ceilings
        ):
            continue
        labels = ["/".join(filter(None, (n, a))) for n, a in zip((spec.floor, spec.ceiling), bounds, strict=True)]
        score = _score(analysis, metric, row.label, *labels)
        if score is not None:
            scores[row.label] = score
    return replace(one, scores=scores, note=_note(spec, one))


def _references(analysis: Analysis, name: str, metric: str) -> dict[str, float]:
    """Axis values, as labels end in them -> mean of a reference row."""
    found = {}
    for row in analysis.rows:
        own, _, axes = row.label.partition("/")
        mean = analysis.mean(metric, row.label)
        if row.reference and own == name and mean is not None:
            found[axes] = mean
    return found


def _reason(analysis: Analysis, spec: ReferenceSpec, one: ScaledMetric) -> str:
    """Why a metric keeps its unit; empty: it is on the scale."""
    panel = analysis.panels[one.metric]
    better: Better = "low" if panel.better == "low" else "high"
    if panel.pooled:
        return "it is computed over all cases at once: no interval tells whether the floor lies below the ceiling"
    if one.floor >= _cap(spec, one.unit):
        return f"the floor ({spec.floor_name}) is at the cap of {one.floor:g} {one.unit}".rstrip()
    first = (
        next(iter(_references(analysis, spec.floor, one.metric))),
        next(iter(_references(analysis, spec.ceiling, one.metric))),
    )
    labels = ["/".join(filter(None, (n, a))) for n, a in zip((spec.floor, spec.ceiling), first, strict=True)]
    layouts = complete([panel.layout(analysis.computed_by[label]) for label in labels]).layouts
    if interval_or_none(layouts[0]) is None:
        return f"under two {analysis.spec.words.units} have a floor and a ceiling"
    apart = separation(layouts[0], layouts[1], better)
    if apart.low <= 0:
        return "the floor lies below the ceiling by no more than the interval of the difference"
    ranked = {
        r.label: m for r in analysis.rows if not r.reference and (m := analysis.mean(one.metric, r.label)) is not None
    }
    if ranked:
        best = (max if better == "high" else min)(ranked, key=lambda row: ranked[row])
        if (one.floor - ranked[best]) * (1 if better == "high" else -1) >= 0:
            return f"the floor ({spec.floor_name}) does as well as the best row, {best}"
    return ""


def _note(spec: ReferenceSpec, one: ScaledMetric) -> str:
    if one.ceiling < _cap(spec, one.unit):
        return ""
    return f"the ceiling ({spec.ceiling_name}) is at the cap of {one.ceiling:g} {one.unit}: 1 is where the cap is set"


def _cap(spec: ReferenceSpec, unit: str) -> float:
    """Value of a unit from which on it is a cap."""
    return spec.off_scale.get(unit, math.inf)


def _score(analysis: Analysis, metric: str, row: str, floor: str, ceiling: str) -> ScaledScore | None:
    """A row's score; None without values, or where floor and ceiling are equal on the scenes that it has."""
    panel, mean = analysis.panels[metric], analysis.mean(metric, row)
    if mean is None:
        return None
    cut = complete([panel.layout(analysis.computed_by[label]) for label in (row, floor, ceiling)]).layouts
    if not cut[0].size or float((cut[2] - cut[1]).mean()) == 0.0:
        return None
    if interval_or_none(cut[0]) is None:
        value = float((cut[0] - cut[1]).mean() / (cut[2] - cut[1]).mean())
        return ScaledScore(value=value, low=None, high=None)
    found = scaled(*cut)
    return ScaledScore(value=found.mean, low=found.low, high=found.high)


def _runs(analysis: Analysis, parts: Sequence[ScaledMetric], row: str) -> Floats:
    """The scores of a row's runs, (scenes, seeds): means of the parts; NaN where one is missing."""
    layouts = [run_scores(analysis.panels[one.metric].layout(row), one.floor, one.ceiling) for one in parts]
    found: Floats = np.mean(layouts, axis=0)
    return found


def _probabilities(layouts: Mapping[str, Floats], table: Table, branch: str) -> dict[str, dict[str, float]]:
    rows = list(layouts)
    scores = table.scores[branch]
    best = [table.rows[int(np.nanargmax(scores))]] if np.isfinite(scores).any() else []
    others = rows if len(rows) <= MOST_PAIRED else best
    found: dict[str, dict[str, float]] = {}
    for a in rows:
        for b in others:
            value = None if a == b else improvement(layouts[a], layouts[b])
            if value is not None:
                found.setdefault(a, {})[b] = value
    return found
