"""Inter-rater agreement: separates and compares instruments (judges, annotators) that score the same cases.

The unit of a value names its instrument (one of `InstrumentSpec.prefixes`, then its name). One instrument is the
leading one; metrics of the others get its name (`METRIC:NAME`), so that no mean, rank or finding mixes instruments.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from reports.comparable import is_violated, violations
from reports.input import CaseValues, ResultLine
from reports.spec import InstrumentSpec
from reports.statistics.agreement import pearson


@dataclass(frozen=True, kw_only=True)
class InstrumentAgreement:
    """Two instruments on one branch, over the cases that both scored."""

    branch: str
    a: str
    b: str
    n: int
    """Cases that both scored."""
    pearson: float
    """NaN with fewer than three cases, or if an instrument scored all cases the same."""
    spearman: float
    a_mean: float
    b_mean: float
    """Means over the same cases."""
    only_a: int
    only_b: int
    """Cases that only one of them scored."""


def instrument_of(spec: InstrumentSpec, unit: str) -> str:
    """Name of the instrument in a unit."""
    for prefix in spec.prefixes:
        unit = unit.removeprefix(prefix)
    return unit


def leading(given: CaseValues) -> str | None:
    """Unit of the leading instrument; None if there are no values of any.

    It is the study's first preference among those with values; else the one with most values.
    """
    spec = given.spec.instruments
    if spec is None:
        return None
    counts = Counter(value.unit for value in given.values if is_scored(spec, value) and value.metric == spec.metric)
    preferred = (unit for unit in spec.preferred(given.sections) if unit in counts)
    return next(preferred, min(counts, key=lambda unit: (-counts[unit], unit), default=None))


def separated(given: CaseValues) -> Sequence[ResultLine]:
    """The values, with metrics of every instrument but the leading one renamed to `METRIC:NAME`."""
    spec, first = given.spec.instruments, leading(given)
    if spec is None or first is None:
        return given.values
    if all(value.unit == first for value in given.values if is_scored(spec, value)):
        return given.values
    return [
        replace(value, metric=f"{value.metric}:{instrument_of(spec, value.unit)}")
        if is_scored(spec, value) and value.unit != first
        else value
        for value in given.values
    ]


def is_scored(spec: InstrumentSpec, value: ResultLine) -> bool:
    """Whether the value is of an instrument."""
    return value.unit.startswith(spec.prefixes[0]) and value.metric.partition("_")[0] == spec.metric


def agreement(given: CaseValues) -> list[InstrumentAgreement]:
    """Every pair of instruments on every branch, over all rows, seeds and cases that both scored.

    Aliases are left out, since they would count twice, and so are reference rows and values of violated controls.
    """
    spec = given.spec.instruments
    if spec is None:
        return []
    counted = {info.name for info in given.rows if info.alias_of is None and not info.reference}
    bad = violations(given.controls)
    scores: dict[tuple[str, str], dict[tuple[str, int, str, str], float]] = {}
    for v in given.values:
        if v.metric == spec.metric and is_scored(spec, v) and v.row in counted and not is_violated(bad, v, v.branch):
            scores.setdefault((v.branch, v.unit), {})[v.row, v.seed, v.axes, v.case] = v.value
    first = leading(given)
    units = sorted({unit for _, unit in scores}, key=lambda unit: (unit != first, unit))
    return [
        _agreement(
            branch,
            (instrument_of(spec, one), instrument_of(spec, other)),
            scores[branch, one],
            scores[branch, other],
        )
        for branch in spec.branches or sorted({branch for branch, _ in scores})
        for one, other in itertools.combinations(units, 2)
        if (branch, one) in scores and (branch, other) in scores
    ]


def _agreement(
    branch: str,
    names: tuple[str, str],
    a: Mapping[tuple[str, int, str, str], float],
    b: Mapping[tuple[str, int, str, str], float],
) -> InstrumentAgreement:
    both = sorted(a.keys() & b.keys())
    x, y = np.array([a[key] for key in both]), np.array([b[key] for key in both])
    return InstrumentAgreement(
        branch=branch,
        a=names[0],
        b=names[1],
        n=len(both),
        pearson=float(pearson(x, y)),
        # Ranks by sorting: `agreement.spearman` compares all pairs, which is too slow for thousands of cases.
        spearman=float(pearson(rankdata(x), rankdata(y))),
        a_mean=float(x.mean()) if len(both) else float("nan"),
        b_mean=float(y.mean()) if len(both) else float("nan"),
        only_a=len(a) - len(both),
        only_b=len(b) - len(both),
    )
