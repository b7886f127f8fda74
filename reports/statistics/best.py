"""Rows that may be called best: the one with the best mean, and those that are not significantly worse."""

from collections.abc import Mapping, Sequence

import numpy as np

from reports.spec import Better
from reports.statistics.differences import differences
from reports.statistics.intervals import ALPHA, holm
from reports.statistics.pairs import row_pairs
from reports.statistics.panel import Floats, Panel
from reports.statistics.sure_order import sure_order


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


def not_surely_worse(order: Sequence[str], layouts: Mapping[str, Floats], fewest_seeds: int) -> frozenset[str]:
    """The row with the best mean, and every row of which it is not shown that it is worse; of a single row none.

    This is for a claim in words, where `best_rows` marks cells of a table, and it claims less. The best mean is known
    only after looking, so that every pair of rows has to be right in either direction (`sure_order`): of 16 equal rows
    with 5 seeds and 32 scenes `best_rows` leaves some out in 26 % of simulated studies, this in 1 %. A row that cannot
    be compared with the others, or on too few seeds, is not shown to be worse.

    Args:
        order: rows with a score, best mean first.
        layouts: row -> (scenes, seeds), higher is better, NaN is missing; a row without one cannot be compared.
        fewest_seeds: that two rows must share.
    """
    if len(order) < 2:
        return frozenset()
    compared = {row: layouts[row] for row in order if row in layouts}
    if len(compared) < 2:
        return frozenset(order)
    may_be_best = sure_order([row_pairs(compared)], fewest_seeds=fewest_seeds).best(0)
    return frozenset([order[0], *may_be_best, *(row for row in order if row not in compared)])
