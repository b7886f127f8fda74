"""Rows that may be called best: the one with the best mean, and those that are not significantly worse."""

from collections.abc import Mapping, Sequence

import numpy as np

from reports.spec import Better
from reports.statistics.differences import differences
from reports.statistics.intervals import holm
from reports.statistics.panel import Floats, Panel

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
        best[tested[(adjusted >= LEVEL_P) | (ahead * found.estimates.mean[found.tested] <= 0.0)]] = True
    return frozenset(row for row, is_best in zip(rows, best, strict=True) if is_best)


def not_surely_worse(order: Sequence[str], layouts: Mapping[str, Floats], fewest_seeds: int) -> frozenset[str]:
    """The row with the best mean, and every row of which it is not shown that it is worse; of a single row none.

    Other than `best_rows`, which marks cells of a table, this is for a claim in words: a row that cannot be compared
    with the best one, or on too few seeds, is not shown to be worse.

    Args:
        order: rows with a score, best mean first.
        layouts: row -> (scenes, seeds), higher is better, NaN is missing; a row without one cannot be compared.
        fewest_seeds: that two rows must share.
    """
    if len(order) < 2:
        return frozenset()
    others = [row for row in order[1:] if row in layouts]
    if order[0] not in layouts or not others:
        return frozenset(order)
    values = np.stack([layouts[row] for row in (order[0], *others)])
    found = differences(values, np.zeros(len(others), dtype=np.int_), np.arange(1, len(values)))
    tested = np.flatnonzero(found.tested & (found.seeds >= fewest_seeds))
    adjusted = np.array(holm(found.estimates.p[tested].tolist()))
    worse = tested[(adjusted < LEVEL_P) & (found.estimates.mean[tested] > 0.0)]
    return frozenset(order) - {others[i] for i in worse}
