"""Inter-rater agreement: separates and compares instruments (judges, annotators) that score the same cases.

The unit of a value names its instrument (one of `InstrumentSpec.prefixes`, then its name). One instrument is the
leading one; metrics of the others get its name (`METRIC:NAME`), so that no mean, rank or finding mixes instruments.
"""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reports.columns import Columns, MeasureOfCase
from reports.comparable import violated, violations
from reports.input import CaseValues
from reports.spec import InstrumentSpec
from reports.statistics.agreement import mean_ranks_of_many, pearson


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


def leading(given: CaseValues, values: Columns) -> str | None:
    """Unit of the leading instrument among `values` of `given`; None if there are none of any.

    It is the study's first preference among those with values; else the one with most values.
    """
    spec = given.spec.instruments
    if spec is None:
        return None
    units, at = values.distinct("metric", "unit")
    counts: Counter[str] = Counter()
    for (metric, unit), count in zip(units, np.bincount(at, minlength=len(units)).tolist(), strict=True):
        if metric == spec.metric and is_scored(spec, metric, unit):
            counts[unit] += count
    preferred = (unit for unit in spec.preferred(given.sections) if unit in counts)
    return next(preferred, min(counts, key=lambda unit: (-counts[unit], unit), default=None))


def separated(given: CaseValues, values: Columns) -> Columns:
    """The `values` of `given`, with metrics of every instrument but the leading one renamed to `METRIC:NAME`."""
    spec, first = given.spec.instruments, leading(given, values)
    if spec is None or first is None:
        return values

    def named(of: MeasureOfCase) -> tuple[str, str]:
        if of.unit == first or not is_scored(spec, of.metric, of.unit):
            return of.case, of.metric
        return of.case, f"{of.metric}:{instrument_of(spec, of.unit)}"

    return values.renamed(named)


def is_scored(spec: InstrumentSpec, metric: str, unit: str) -> bool:
    """Whether values of this metric and unit are of an instrument."""
    return unit.startswith(spec.prefixes[0]) and metric.partition("_")[0] == spec.metric


def agreement(given: CaseValues, values: Columns) -> list[InstrumentAgreement]:
    """Every pair of instruments on every branch, over all rows, seeds and cases that both scored.

    Aliases are left out, since they would count twice, and so are reference rows and values of violated controls.
    """
    spec = given.spec.instruments
    if spec is None:
        return []
    counted = [info.name for info in given.rows if info.alias_of is None and not info.reference]
    first = leading(given, values)
    scored = [unit for unit in values.unit.names if is_scored(spec, spec.metric, unit)]
    values = values.of(values.metric.is_in([spec.metric]) & values.row.is_in(counted) & values.unit.is_in(scored))
    values = values.of(~violated(violations(given.controls), values))
    places = values.places("row", "seed", "axes", "case")
    by_instrument, at = values.distinct("branch", "unit")
    scores = {
        one: dict(zip(places[at == i].tolist(), values.value[at == i].tolist(), strict=True))
        for i, one in enumerate(by_instrument)
    }
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
    a: Mapping[int, float],
    b: Mapping[int, float],
) -> InstrumentAgreement:
    both = sorted(a.keys() & b.keys())
    x, y = np.array([a[key] for key in both]), np.array([b[key] for key in both])
    return InstrumentAgreement(
        branch=branch,
        a=names[0],
        b=names[1],
        n=len(both),
        pearson=float(pearson(x, y)),
        spearman=float(pearson(mean_ranks_of_many(x), mean_ranks_of_many(y))),
        a_mean=float(x.mean()) if len(both) else float("nan"),
        b_mean=float(y.mean()) if len(both) else float("nan"),
        only_a=len(a) - len(both),
        only_b=len(b) - len(both),
    )
