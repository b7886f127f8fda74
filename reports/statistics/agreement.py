"""Correlation of two scores of the same rows, over batches (..., rows).

A row with a missing score (NaN) is left out of its batch. The result is NaN for fewer than three rows or equal scores.
"""

import numpy as np
import numpy.typing as npt

from reports.statistics.panel import Floats

FEWEST = 3
"""Rows that a correlation needs: two always correlate perfectly."""


def pearson(a: Floats, b: Floats) -> Floats:
    """Pearson's r, (...)."""
    both = np.isfinite(a) & np.isfinite(b)
    rows = both.sum(axis=-1)
    da, db = _centred(a, both), _centred(b, both)
    product = np.sqrt((da**2).sum(axis=-1) * (db**2).sum(axis=-1))
    return _ratio((da * db).sum(axis=-1), product, rows)


def spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's rho: Pearson's r of mean ranks, (...)."""
    both = np.isfinite(a) & np.isfinite(b)
    return pearson(mean_ranks(np.where(both, a, np.nan)), mean_ranks(np.where(both, b, np.nan)))


def kendall(a: Floats, b: Floats) -> Floats:
    """Kendall's tau-b: concordant less discordant pairs, corrected for ties, (...)."""
    both = np.isfinite(a) & np.isfinite(b)
    sa = _signs(np.where(both, a, np.nan))
    sb = _signs(np.where(both, b, np.nan))
    untied = np.sqrt(np.abs(sa).sum(axis=(-1, -2)) * np.abs(sb).sum(axis=(-1, -2)))
    return _ratio((sa * sb).sum(axis=(-1, -2)), untied, both.sum(axis=-1))


def ranks(scores: Floats) -> Floats:
    """1 for the highest score, ties share the smaller rank, NaN for a missing one; (..., rows)."""
    higher = (scores[..., None, :] > scores[..., :, None]).sum(axis=-1)
    return np.where(np.isfinite(scores), higher + 1.0, np.nan)


def mean_ranks(scores: Floats) -> Floats:
    """Ranks in which ties share their mean, lowest score 1; (..., rows)."""
    lower = (scores[..., None, :] < scores[..., :, None]).sum(axis=-1)
    equal = (scores[..., None, :] == scores[..., :, None]).sum(axis=-1)
    return np.where(np.isfinite(scores), lower + (equal + 1) / 2, np.nan)


def mean_ranks_of_many(scores: Floats) -> Floats:
    """As `mean_ranks` of (n,) finite scores, by sorting: comparing all pairs takes too long for thousands.

    `scipy.stats.rankdata` does the same, and importing `scipy.stats` for it takes half a second of each report.
    """
    _, place, equal = np.unique(scores, return_inverse=True, return_counts=True)
    ranked: Floats = (np.cumsum(equal) - (equal - 1) / 2)[place]
    return ranked


def _centred(x: Floats, kept: npt.NDArray[np.bool_]) -> Floats:
    count = np.maximum(kept.sum(axis=-1, keepdims=True), 1)
    mean = np.where(kept, x, 0.0).sum(axis=-1, keepdims=True) / count
    centred: Floats = np.where(kept, x - mean, 0.0)
    # What differs by rounding alone is equal: r of a constant is not defined.
    largest = np.abs(np.where(kept, x, 0.0)).max(axis=-1, keepdims=True, initial=0.0)
    return np.where(np.abs(centred) <= 1e-14 * largest, 0.0, centred)


def _signs(x: Floats) -> Floats:
    return np.nan_to_num(np.sign(x[..., :, None] - x[..., None, :]), nan=0.0)


def _ratio(above: Floats, below: Floats, rows: npt.NDArray[np.int_]) -> Floats:
    usable = (below > 0) & (rows >= FEWEST)
    ratio: Floats = np.full(np.shape(below), np.nan)
    np.divide(above, below, out=ratio, where=usable)
    return ratio
