"""Noise: what is found between a row and the same row again, trained from another initialisation (`NoiseSpec`).

The two compute the same but for where their parameters start, so a difference between them says how large a difference
between any two rows must be to mean something. It is the same paired difference, with the same interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from reports.analysis import Analysis
from reports.formats import decimals_of
from reports.statistics.intervals import complete, interval_or_none


@dataclass(frozen=True, kw_only=True)
class NoiseLine:
    """One metric of the pair."""

    metric: str
    """`branch/metric`."""
    name: str
    """For people."""
    unit: str
    decimals: int
    row: str
    again: str
    effect: float
    """Of `again` minus `row`."""
    low: float
    """Of the 95 % interval."""
    high: float
    p: float
    scenes: int
    seeds: int


def noise(analysis: Analysis) -> list[NoiseLine]:
    """The differences of the pair, for every combination of axis values; empty: no pair is declared or measured."""
    return list(_lines(analysis))


def _lines(analysis: Analysis) -> Iterator[NoiseLine]:
    spec = analysis.spec.noise
    if spec is None:
        return
    of_tables = (f"{branch}/{one}" for branch in analysis.scoring.names for one in analysis.main_metrics(branch))
    for metric in spec.metrics or of_tables:
        panel = analysis.panels.get(metric)
        if panel is None or panel.pooled:
            continue
        for again in panel.rows:
            name, slash, axes = again.partition("/")
            row = analysis.computed_by.get(label := f"{spec.row}{slash}{axes}", label)
            if name != spec.again or row not in panel.rows:
                continue
            cut = complete([panel.layout(again), panel.layout(row)])
            interval = interval_or_none(cut.layouts[0] - cut.layouts[1])
            if interval is not None:
                branch, _, own = metric.partition("/")
                yield NoiseLine(
                    metric=metric,
                    name=f"{branch}: {analysis.spec.metrics.get(own, own)}",
                    unit=panel.unit,
                    decimals=decimals_of(analysis.spec, own),
                    row=row,
                    again=again,
                    effect=interval.mean,
                    low=interval.low,
                    high=interval.high,
                    p=interval.p,
                    scenes=interval.scenes,
                    seeds=interval.seeds,
                )
