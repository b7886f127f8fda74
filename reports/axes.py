"""Contrasts between the values of an axis: the same row, with one control changed.

Each value is set against the study's own value of that control; where it is not among the values, against the first
one. A difference is paired over scenes and seeds, and p is adjusted (Holm) over all contrasts of the report.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from reports.analysis import Analysis
from reports.scoreboard import headlines
from reports.statistics.contrasts import BranchContrast, Contrasted, contrasted
from reports.statistics.intervals import Interval, holm


@dataclass(frozen=True, kw_only=True)
class ValueContrast:
    """One row at `value` less the same row at `over`."""

    axis: str
    value: str
    over: str
    held: str
    """Values of the other axes, `key=value/...`; empty: there are none."""
    row: str
    metric: str
    """`branch/metric`."""
    effect: float
    low: float
    high: float
    p: float
    p_adjusted: float
    scenes: int
    seeds: int
    dropped_scenes: int
    dropped_seeds: int


def axis_values(analysis: Analysis) -> dict[str, tuple[str, ...]]:
    """Axis -> its values in this report, the study's own first, then as they are sorted."""
    found: dict[str, dict[str, None]] = {}
    for suffix in analysis.pools:
        for axis, value in _values(suffix).items():
            found.setdefault(axis, {})[value] = None
    return {axis: tuple(values) for axis, values in found.items()}


def value_contrasts(analysis: Analysis, defaults: Mapping[str, str]) -> list[ValueContrast]:
    """All contrasts, by axis, value, metric and row.

    Args:
        analysis: of the study.
        defaults: axis -> the study's own value of its control.
    """
    metrics = [f"{column.branch}/{column.metric}" for column in headlines(analysis)]
    found = []
    for axis, values in axis_values(analysis).items():
        base = defaults[axis] if defaults.get(axis) in values else values[0]
        for suffix in analysis.pools:
            own = _values(suffix)
            partner = _suffix({**own, axis: base})
            if own.get(axis) in (base, None) or partner not in analysis.pools:
                continue
            held = _suffix({key: value for key, value in own.items() if key != axis})
            for metric in metrics:
                for row, made, interval in _of_metric(analysis, metric, suffix, partner):
                    found.append(
                        ValueContrast(
                            axis=axis,
                            value=own[axis],
                            over=base,
                            held=held,
                            row=row,
                            metric=metric,
                            effect=interval.mean,
                            low=interval.low,
                            high=interval.high,
                            p=interval.p,
                            p_adjusted=interval.p,
                            scenes=interval.scenes,
                            seeds=interval.seeds,
                            dropped_scenes=made.dropped_scenes,
                            dropped_seeds=made.dropped_seeds,
                        )
                    )
    adjusted = holm([one.p for one in found])
    return [replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True)]


def axes_json(analysis: Analysis, defaults: Mapping[str, str]) -> dict[str, Any]:
    """The key `axes` of report.json."""
    return {
        "values": {axis: list(values) for axis, values in axis_values(analysis).items()},
        "defaults": dict(defaults),
        "contrasts": [asdict(one) for one in value_contrasts(analysis, defaults)],
    }


def _of_metric(
    analysis: Analysis, metric: str, suffix: str, partner: str
) -> Iterator[tuple[str, Contrasted, Interval]]:
    """Every row with one combination of values less the same row with another, where both have values."""
    panel = analysis.panels.get(metric)
    if panel is None or panel.pooled:
        return
    pool = {row: panel.layout(row) for row in (*analysis.pools[suffix], *analysis.pools[partner])}
    for label in analysis.pools[suffix]:
        name = label.partition("/")[0]
        other = analysis.computed_by.get(f"{name}/{partner}")
        if other is None or other not in pool:
            continue
        made = contrasted([BranchContrast(layouts=pool, weights={label: 1.0, other: -1.0})])
        if made.interval is not None:
            yield name, made, made.interval


def _values(suffix: str) -> dict[str, str]:
    """Axis -> value of `key=value/key=value`."""
    return dict(part.split("=", 1) for part in suffix.split("/")) if suffix else {}


def _suffix(values: Mapping[str, str]) -> str:
    return "/".join(f"{axis}={value}" for axis, value in values.items())
