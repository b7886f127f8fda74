r"""Limits of rank statistics of two branches, from the orders of rows that are sure (`sure_order.py`).

Ranks are no smooth functions of the means, and ranks of resampled near ties are wrong as often as not. What can be said
follows from the pairs whose order on both branches is sure: Kendall's tau has at least so many pairs that agree, and
that do not. Spearman's rho follows from tau by Daniels' inequality: for $n$ rows without ties,

$$ | 3 n \tau - 2 (n + 1) \rho | \le n - 2 . $$

A row's rank lies between one more than the number of rows that are surely above it, and $n$ less those surely below.

Sources: Daniels (1950), Journal of the Royal Statistical Society B 12(2), 171-181. Ranks from simultaneous pairwise
comparisons: Klein, Wright and Wieczorek (2020), Journal of the Royal Statistical Society A 183(3), 1101-1122; Mogstad,
Romano, Shaikh and Wilhelm (2024), Review of Economic Studies 91(1), 476-518.
"""

from reports.statistics.intervals import ALPHA, Limits, kind_of
from reports.statistics.sure_order import SureOrder


def kendall_limits(order: SureOrder, seeds: int) -> Limits:
    """Limits of tau of the first two branches of `order`, whose pairs have at least so many seeds."""
    if order.pairs < 1:
        return Limits(reason="there is no pair of rows")
    low, high = order.tau_limits()
    if low <= -1.0 and high >= 1.0:
        return Limits(reason="no pair of rows has a sure order on both branches")
    return Limits(low=low, high=high, kind=kind_of(seeds))


def spearman_limits(tau: Limits, rows: int) -> Limits:
    """Limits of Spearman's rho that follow from those of tau."""
    if tau.low is None or tau.high is None or rows < 2:
        return Limits(reason=tau.reason or "there is no pair of rows")
    slope, off, scale = 3.0 * rows, rows - 2.0, 2.0 * (rows + 1)
    low = max(-1.0, (slope * tau.low - off) / scale)
    high = min(1.0, (slope * tau.high + off) / scale)
    if low <= -1.0 and high >= 1.0:
        return Limits(reason="the limits of τ allow every value")
    return Limits(low=low, high=high, kind=tau.kind)


def rank_limits(order: SureOrder, branch: int) -> list[tuple[int, int]]:
    """(best, worst) rank of every row on a branch, 1 the highest score; all of them hold together with 95 %."""
    sure = order.above[branch] <= ALPHA
    above, below = sure.sum(axis=0), sure.sum(axis=1)
    return [(1 + int(a), len(order.rows) - int(b)) for a, b in zip(above, below, strict=True)]
