"""Differences of all pairs of rows in one score, each paired over the scenes and seeds that both rows have.

The same numbers as `intervals.interval_of_sum` of every pair, with the scatter over seeds of all rows
(`seed_scatter.py`), worked out for a whole row of pairs at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from reports.statistics.intervals import TINY, Bools, estimates, largest_block
from reports.statistics.panel import Floats
from reports.statistics.seed_scatter import SeedScatter, seed_scatter

NOT_TESTED = 1.0
"""p of a pair without an interval."""


@dataclass(frozen=True, kw_only=True)
class RowPairs:
    """All differences, (rows, rows): entry (i, j) is of row i less row j. NaN: under two scenes are there for both."""

    rows: tuple[str, ...]
    mean: Floats
    error: Floats
    """Standard error; 0: the difference is the same everywhere."""
    freedom: Floats
    seeds: npt.NDArray[np.int_]
    """Seeds that both rows have; with one, the error is over scenes only."""

    def above(self) -> Floats:
        """(rows, rows): one-sided p of row i being above row j; 1 where there is no interval."""
        p = np.full(self.mean.shape, NOT_TESTED)
        tested = np.isfinite(self.error)
        spread = tested & (self.error > 0)
        p[spread] = stdtr(self.freedom[spread], -self.mean[spread] / self.error[spread])
        exact = tested & ~spread
        p[exact] = np.where(self.mean[exact] > TINY, 0.0, 1.0)
        return p


def row_pairs(layouts: Mapping[str, Floats], pool: Sequence[Floats] = (), loads: Floats | None = None) -> RowPairs:
    """Compare every row with every other.

    Args:
        layouts: row -> (scenes, seeds) of one score, NaN is missing; all of one shape.
        pool: the rows whose scatter over seeds is pooled, as `layouts`; by default those of `layouts`.
        loads: (rows, rows of the pool), where layouts are sums of rows: how often each row of the pool is in each.
    """
    rows = tuple(layouts)
    shape = (len(rows), len(rows))
    mean, error, freedom = (np.full(shape, np.nan) for _ in range(3))
    seeds = np.zeros(shape, dtype=np.int_)
    if rows:
        values = np.stack([layouts[row] for row in rows])
        pooled = np.stack(pool) if pool else values
        present = np.isfinite(values)
        kinds: dict[bytes, list[int]] = {}
        for i, mask in enumerate(present):
            kinds.setdefault(mask.tobytes(), []).append(i)
        blocks: dict[tuple[bytes, bytes], _Block] = {}
        for i in range(len(rows)):
            own = present[i].tobytes()
            for other, members in kinds.items():
                at = np.array([j for j in members if j > i], dtype=np.int_)
                if not at.size:
                    continue
                if (own, other) not in blocks:
                    blocks[own, other] = _block(present[i] & present[members[0]], pooled)
                block = blocks[own, other]
                if block.scenes.sum() < 2 or not block.seeds.any():
                    continue
                cells = np.ix_(block.scenes, block.seeds)
                difference = values[i][cells] - values[(at[:, None, None], *(axis[None] for axis in cells))]
                size = 2.0 if loads is None else ((loads[i] - loads[at]) ** 2).sum(axis=1)
                mean[i, at], error[i, at], freedom[i, at] = _tested(difference, block.scatter, size)
                seeds[i, at] = block.seeds.sum()
        lower = np.tril_indices(len(rows), -1)
        mean[lower] = -mean.T[lower]
        for one in (error, freedom):
            one[lower] = one.T[lower]
        seeds[lower] = seeds.T[lower]
    return RowPairs(rows=rows, mean=mean, error=error, freedom=freedom, seeds=seeds)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Scenes and seeds without a gap, as masks, and the scatter of the rows that have all of them."""

    scenes: Bools
    seeds: Bools
    scatter: SeedScatter | None


def _block(present: Bools, pooled: Floats) -> _Block:
    scenes, seeds = largest_block(present)
    cells = pooled[:, scenes][:, :, seeds]
    whole = cells[np.isfinite(cells).all(axis=(1, 2))]
    scatter = seed_scatter([whole.mean(axis=1)]) if whole.size else None
    return _Block(scenes=scenes, seeds=seeds, scatter=scatter)


def _tested(difference: Floats, scatter: SeedScatter | None, size: Floats | float) -> tuple[Floats, Floats, Floats]:
    """(mean, standard error, degrees of freedom), each (pairs,), of (pairs, scenes, seeds) without gaps.

    Args:
        difference: of the pairs.
        scatter: of rows over these seeds.
        size: of the contrast, the sum of its squared weights.
    """
    most = difference.shape[2] - 1.0 if scatter is None else scatter.freedom
    least = 0.0 if scatter is None else size * float(scatter.covariance[0, 0])
    found = estimates([difference], most, least)
    # Rows with the same values are equal, whatever others do.
    alike = np.abs(difference).max(axis=(1, 2)) <= TINY
    return found.mean, np.where(alike, 0.0, found.error), found.freedom
