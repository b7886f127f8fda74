"""Pareto frontier: rows that no other row matches with less."""

import numpy as np
import numpy.typing as npt

from reports.statistics.panel import Floats


def on_frontier(sizes: Floats, scores: Floats) -> npt.NDArray[np.bool_]:
    """Whether a row is on the frontier, (..., rows): no other is at most as large and at least as good, and one better.

    Args:
        sizes: (rows,), smaller is better.
        scores: (..., rows), higher is better; a row without a score (NaN) is not on the frontier.
    """
    at_most = sizes[:, None] <= sizes[None, :]  # [other, row]
    smaller = sizes[:, None] < sizes[None, :]
    known = np.isfinite(scores)
    at_least = scores[..., :, None] >= scores[..., None, :]
    better = scores[..., :, None] > scores[..., None, :]
    beaten = (at_most & at_least & (smaller | better)).any(axis=-2)
    found: npt.NDArray[np.bool_] = known & ~beaten
    return found
