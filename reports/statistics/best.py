"""Rows that may be called best: the one with the best mean, and those that are not significantly worse."""

from collections.abc import Sequence

import numpy as np

from reports.spec import Better
from reports.statistics.differences import differences
from reports.statistics.intervals import ALPHA, holm
from reports.statistics.panel import Panel


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
    values = panel.layouts[[panel.place[row] for row in rows]]
    whole = np.logical_and.reduce(np.isfinite(values).any(axis=1), axis=1)
    rows, values = [row for row, kept in zip(rows, whole, strict=True) if kept], values[whole]
    if len(rows) < 2:
        return frozenset()
    means = panel.means()[[panel.place[row] for row in rows]]
    first = int((np.argmax if better == "high" else np.argmin)(means))
    others = np.array([i for i in range(len(rows)) if i != first])
    best = means == means[first]
    if not panel.pooled:
        found = differences(values, np.full(len(others), first), others)
        tested = others[found.tested]
        adjusted = np.array(holm(found.estimates.p[found.tested].tolist()))
        ahead = 1.0 if better == "high" else -1.0
        best[tested[(adjusted >= ALPHA) | (ahead * found.estimates.mean[found.tested] <= 0.0)]] = True
    return frozenset(row for row, is_best in zip(rows, best, strict=True) if is_best)
