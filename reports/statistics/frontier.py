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


def surely_on_frontier(sizes: Floats, above: npt.NDArray[np.bool_]) -> list[bool | None]:
    """Whether a row surely is on the frontier, or surely is not; None: that is open.

    It is where it is surely better than every row that is at most as large, and is not where one of these is surely
    better. With the orders of `sure_order.py`, all of these statements hold together with 95 %.

    Args:
        sizes: (rows,), smaller is better.
        above: (rows, rows), whether row i is surely better than row j.
    """
    at_most = (sizes[:, None] <= sizes[None, :]) & ~np.eye(len(sizes), dtype=np.bool_)  # [other, row]
    off = np.asarray((at_most & above).any(axis=0))
    on = np.asarray((~at_most | above.T).all(axis=0))
    return [False if out else True if inside else None for out, inside in zip(off.tolist(), on.tolist(), strict=True)]
