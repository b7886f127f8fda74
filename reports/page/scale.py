"""The section of the common scale: scores between floor and ceiling, profiles, probability of improvement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import scale
from reports.analysis import Analysis
from reports.figures.profiles import performance_profiles
from reports.figures.style import FamilyLook
from reports.formats import number, shown_unit
from reports.page.data_links import Behind

SHOWN = tuple(range(0, 21, 2))
"""Thresholds of a profile that its table shows, by place."""


@dataclass(frozen=True, kw_only=True)
class ScaleColumn:
    """A metric on the common scale."""

    branch: str
    name: str
    floor: str
    """In its unit, as the ceiling."""
    ceiling: str
    unit: str
    capped: bool


@dataclass(frozen=True, kw_only=True)
class ProfilePart:
    """The profiles of one branch, drawn and as a table."""

    branch: str
    metrics: Sequence[str]
    figure: Markup
    thresholds: Sequence[str]
    lines: Sequence[tuple[str, int, Sequence[str]]]
    """(row, runs, share above each threshold)."""
    behind: Behind


@dataclass(frozen=True, kw_only=True)
class ImprovementPart:
    """The probabilities of improvement of one branch."""

    branch: str
    metric: str
    seeds: int
    reason: str
    columns: Sequence[str]
    lines: Sequence[tuple[str, Sequence[str]]]
    """(A, P(A > B) of each column B)."""


@dataclass(frozen=True, kw_only=True)
class ScalePart:
    """The section."""

    columns: Sequence[ScaleColumn]
    lines: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """(row, (score, half its interval) of each column), texts; empty where there is none."""
    own_unit: Sequence[tuple[str, str]]
    """(metric, why it keeps its unit)."""
    notes: Sequence[tuple[str, str]]
    """(metric, what is to be known of its scale)."""
    profiles: Sequence[ProfilePart]
    improvements: Sequence[ImprovementPart]


def scale_part(analysis: Analysis, looks: Mapping[str, FamilyLook]) -> ScalePart | None:
    """The section; None: no metric has both a floor and a ceiling, and there is no improvement to tell.

    Args:
        analysis: of the study.
        looks: label -> how a row is drawn.
    """
    metrics = scale.scaled_metrics(analysis)
    found = [one for one in metrics if one.is_scaled]
    improved = scale.improvements(analysis)
    if not metrics and not improved:
        return None
    ranked = [row.label for row in analysis.rows if not row.reference and row.label == row.computed_by]
    return ScalePart(
        columns=[_column(analysis, one) for one in found],
        lines=[
            (row, [_texts(one.scores.get(row), 3 if one.note else 2) for one in found])
            for row in ranked
            if any(row in one.scores for one in found)
        ],
        own_unit=[(one.metric, one.reason) for one in metrics if one.reason],
        notes=[(one.metric, one.note) for one in found if one.note],
        profiles=[_profile(one, looks) for one in scale.profiles(analysis, metrics)],
        improvements=[_improvement(one) for one in improved],
    )


def _column(analysis: Analysis, one: scale.ScaledMetric) -> ScaleColumn:
    branch, _, metric = one.metric.partition("/")
    return ScaleColumn(
        branch=branch,
        name=analysis.spec.metrics.get(metric, metric),
        floor=number(one.floor, 2),
        ceiling=number(one.ceiling, 2),
        unit="" if one.unit == "1" else shown_unit(one.unit),
        capped=bool(one.note),
    )


def _texts(score: scale.ScaledScore | None, decimals: int) -> tuple[str, str]:
    if score is None:
        return "", ""
    half = "" if score.low is None or score.high is None else number((score.high - score.low) / 2, decimals)
    return number(score.value, decimals), half


def _profile(one: scale.PerformanceProfile, looks: Mapping[str, FamilyLook]) -> ProfilePart:
    return ProfilePart(
        branch=one.branch,
        metrics=one.metrics,
        figure=Markup(performance_profiles(one, looks)),
        thresholds=[number(one.thresholds[at], 1) for at in SHOWN],
        lines=[(row, one.runs[row], [number(shares[at], 2) for at in SHOWN]) for row, shares in one.shares.items()],
        behind=Behind(
            name=f"profiles-{one.branch}",
            headings=("row", "runs", *(f"above {threshold:g}" for threshold in one.thresholds)),
            lines=[(row, float(one.runs[row]), *shares) for row, shares in one.shares.items()],
        ),
    )


def _improvement(one: scale.Improvement) -> ImprovementPart:
    columns = list(dict.fromkeys(b for by_other in one.probabilities.values() for b in by_other))
    # The best row, with which alone many rows are compared, has no line of its own.
    place = {row: i for i, row in enumerate(one.probabilities)}
    columns.sort(key=lambda row: place.get(row, -1))
    return ImprovementPart(
        branch=one.branch,
        metric=one.metric,
        seeds=one.seeds,
        reason=one.reason,
        columns=columns,
        lines=[
            (row, [number(by_other[b], 2) if b in by_other else "" for b in columns])
            for row, by_other in one.probabilities.items()
        ],
    )
