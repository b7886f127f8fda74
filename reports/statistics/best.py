"""Rows that may be called best: the one with the best mean, and those that are not significantly worse."""

from collections.abc import Sequence

import numpy as np

from reports.spec import Better
from reports.statistics.intervals import complete, holm, interval_or_none
from reports.statistics.panel import Panel

LEVEL_P = 0.05
"""Adjusted p from which on a difference from the best mean may be chance."""


def best_rows(panel: Panel, rows: Sequence[str], better: Better) -> frozenset[str]:
    """The row with the best mean, and every row whose paired difference from it may be chance.

    Rows share scenes and seeds, so that differences are paired; their p values are adjusted (Holm) within the metric.
    Without two scenes there is no test, and the best mean is alone. With one seed the test is over scenes only: it
    says nothing of another training. A row that lacks values may have the best mean by having the easy scenes alone:
    one that is no worse on the values that both have is best with it. Of a single row there is no best.

    Args:
        panel: of the metric.
        rows: distinct rows that are compared; those that lack every value of a seed take no part.
        better: whether high or low values are better.
    """
    layouts = {row: panel.layout(row) for row in rows}
    layouts = {row: values for row, values in layouts.items() if np.isfinite(values).any(axis=0).all()}
    if len(layouts) < 2:
        return frozenset()
    means = dict(zip(panel.rows, panel.means(), strict=True))
    first = (max if better == "high" else min)(layouts, key=lambda row: means[row])
    others = [row for row in layouts if row != first]
    if panel.pooled:
        intervals = {}
    else:
        cuts = {row: complete([layouts[first], layouts[row]]).layouts for row in others}
        intervals = {row: interval_or_none(a - b) for row, (a, b) in cuts.items()}
    tested = {row: interval.p for row, interval in intervals.items() if interval is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    ahead = 1.0 if better == "high" else -1.0
    same = {row for row in others if means[row] == means[first]}
    no_worse = {row for row, one in intervals.items() if one is not None and ahead * one.mean <= 0.0}
    return frozenset({first, *same, *no_worse, *(row for row, p in adjusted.items() if p >= LEVEL_P)})
