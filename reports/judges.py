"""Several judges of the same cases: kept apart, and how far they agree.

A score's unit names its judge (`points:mask`, `points:vlm:MODEL`). One judge of a study gives the return score and
keeps the plain names; every other one's metrics carry its name (`judge:MODEL`), so that no column, mean, rank or
finding is made of two instruments.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from reports.input import CaseValue, ReportInput
from reports.statistics.agreement import pearson

POINTS = "points:"
"""What the units of judges begin with."""

TOTAL = "judge"
BRANCHES = ("return", "loop")
BOUND = "bound"
"""Family of ceiling and floor: known videos, on which judges that can see at all agree."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two judges on one branch, over the cases that both scored."""

    branch: str
    a: str
    b: str
    cases: int
    pearson: float
    """NaN under three cases, or where one judge gave all cases the same."""
    spearman: float
    a_mean: float
    b_mean: float
    """Of their totals over the same cases, points."""
    only_a: int
    only_b: int
    """Cases that one of them alone scored."""


def judge_of(unit: str) -> str:
    """The judge that a unit names: `mask`, or a model."""
    return unit.removeprefix(POINTS).removeprefix("vlm:")


def leading(given: ReportInput) -> str | None:
    """Unit of the judge that gives the return score; None: nobody has judged anything.

    It is the first of `controls.judge.models` that gave scores; in a study whose axes change the judge, the one with
    most scores.
    """
    counts = Counter(value.unit for value in given.values if is_judges(value) and value.metric == TOTAL)
    if not counts:
        return None
    section = given.controls.sections.get("judge", {})
    for model in section.get("models", ()) if isinstance(section, Mapping) else ():
        if f"{POINTS}vlm:{model}" in counts:
            return f"{POINTS}vlm:{model}"
    return min(counts, key=lambda unit: (-counts[unit], unit))


def told_apart(given: ReportInput) -> Sequence[CaseValue]:
    """The values, with the metrics of every judge but the leading one under names of their own."""
    first = leading(given)
    if first is None or all(value.unit == first for value in given.values if is_judges(value)):
        return given.values
    return [
        replace(value, metric=f"{value.metric}:{judge_of(value.unit)}")
        if is_judges(value) and value.unit != first
        else value
        for value in given.values
    ]


def is_judges(value: CaseValue) -> bool:
    """Whether a judge gave this value."""
    return value.unit.startswith(POINTS) and value.metric.partition("_")[0] == TOTAL


def agreement(given: ReportInput) -> list[Agreement]:
    """Every pair of judges on every judged branch, over distinct rows, all seeds and all cases that both scored.

    Other names of a computation are left out, as they would count it twice, and so are ceiling and floor.
    """
    counted = {info.name for info in given.rows if info.alias_of is None and info.family != BOUND}
    scores: dict[tuple[str, str], dict[tuple[str, int, str, str], float]] = {}
    for v in given.values:
        if v.metric == TOTAL and is_judges(v) and v.row in counted and np.isfinite(v.value):
            scores.setdefault((v.branch, v.unit), {})[v.row, v.seed, v.axes, v.case] = v.value
    first = leading(given)
    units = sorted({unit for _, unit in scores}, key=lambda unit: (unit != first, unit))
    return [
        _agreement(branch, one, other, scores[branch, one], scores[branch, other])
        for branch in BRANCHES
        for one, other in itertools.combinations(units, 2)
        if (branch, one) in scores and (branch, other) in scores
    ]


def as_json(given: ReportInput) -> list[dict[str, str | int | float]]:
    """The part of report.json; empty with one judge."""
    return [
        {
            "branch": pair.branch,
            "a": pair.a,
            "b": pair.b,
            "n": pair.cases,
            "pearson": pair.pearson,
            "spearman": pair.spearman,
            "a_mean": pair.a_mean,
            "b_mean": pair.b_mean,
            "only_a": pair.only_a,
            "only_b": pair.only_b,
        }
        for pair in agreement(given)
    ]


def _agreement(
    branch: str,
    one: str,
    other: str,
    a: Mapping[tuple[str, int, str, str], float],
    b: Mapping[tuple[str, int, str, str], float],
) -> Agreement:
    both = sorted(a.keys() & b.keys())
    x, y = np.array([a[key] for key in both]), np.array([b[key] for key in both])
    return Agreement(
        branch=branch,
        a=judge_of(one),
        b=judge_of(other),
        cases=len(both),
        pearson=float(pearson(x, y)),
        # Mean ranks by sorting: `agreement.spearman` compares all pairs, which is for rows, not for cases.
        spearman=float(pearson(rankdata(x), rankdata(y))),
        a_mean=float(x.mean()) if len(both) else float("nan"),
        b_mean=float(y.mean()) if len(both) else float("nan"),
        only_a=len(a) - len(both),
        only_b=len(b) - len(both),
    )
