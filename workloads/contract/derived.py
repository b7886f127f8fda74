"""Derived metrics: values of cases that are computed from those of jobs whenever results are read.

No job runs for them, so that a study that is finished gets them too. Standard library only.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class DerivedMetric:
    """A metric of cases that is computed from others of the same row, seed, branch and case."""

    name: str
    of: tuple[str, ...]
    """Metrics that it is computed from. The first gives the unit: where it has several, such as those of several
    judges, there is one value for each. The others have that unit too, or a single one."""
    value: Callable[..., float | None]
    """A pure function of their values, in order; None, or what is not finite: not defined. It is not called where one
    of them is missing."""
    better: Literal["high", "low"] = "high"
    unit: str = ""
    """Empty: that of the first."""
    branches: tuple[str, ...] = ()
    """Empty: every branch where the others are measured."""


def derived_lines(
    metrics: Iterable[DerivedMetric], branch: str, lines: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Lines as in cases.jsonl with the derived metrics of one cell on one branch, in order of the metrics.

    Args:
        metrics: a later one may be computed from an earlier one.
        branch: of the lines.
        lines: of all jobs of the cell on that branch: `case`, `metric`, `unit`, `value`.

    Raises:
        ValueError: the function of a metric raises.
    """
    asked = [one for one in metrics if not one.branches or branch in one.branches]
    if not asked:
        return []
    needed = {name for one in asked for name in one.of}
    known: dict[str, dict[str, dict[str, float]]] = {}  # metric -> case -> unit -> value
    for line in lines:
        if line["metric"] in needed:
            known.setdefault(line["metric"], {}).setdefault(line["case"], {})[line["unit"]] = line["value"]
    found: list[dict[str, Any]] = []
    for one in asked:
        for case, values in known.get(one.of[0], {}).items():
            for unit in values:
                value = _value(one, [known.get(name, {}).get(case, {}) for name in one.of], unit)
                if value is not None:
                    own = one.unit or unit
                    found.append(
                        {"case": case, "metric": one.name, "unit": own, "better": one.better, "value": float(value)}
                    )
                    if one.name in needed:
                        known.setdefault(one.name, {}).setdefault(case, {})[own] = float(value)
    return found


def _value(metric: DerivedMetric, by_unit: Sequence[Mapping[str, float]], unit: str) -> float | None:
    values = [units.get(unit, next(iter(units.values())) if len(units) == 1 else None) for units in by_unit]
    if None in values:
        return None
    try:
        found = metric.value(*values)
    except Exception as error:  # a study's own function
        given = ", ".join(f"{name} {value!r}" for name, value in zip(metric.of, values, strict=True))
        raise ValueError(
            f"derived metric {metric.name!r} of {given}: its function raises {type(error).__name__}: {error}; let it "
            "return None where the metric is not defined"
        ) from error
    return found if found is not None and math.isfinite(found) else None
