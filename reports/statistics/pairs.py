"""Differences of all pairs of rows in one score, each paired over the scenes and seeds that both rows have.

The same numbers as `intervals.paired_interval` of every pair, worked out for a whole row of pairs at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from reports.statistics.intervals import TINY, Bools, largest_block
from reports.statistics.panel import Floats

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
        p[exact] = np.where(self.mean[exact] > 0, 0.0, 1.0)
        return p


def row_pairs(layouts: Mapping[str, Floats]) -> RowPairs:
    """Compare every row with every other.

    Args:
        layouts: row -> (scenes, seeds) of one score, NaN is missing; all of one shape.
    """
    rows = tuple(layouts)
    shape = (len(rows), len(rows))
    mean, error, freedom = (np.full(shape, np.nan) for _ in range(3))
    seeds = np.zeros(shape, dtype=np.int_)
    if rows:
        values = np.stack([layouts[row] for row in rows])
        present = np.isfinite(values)
        kinds: dict[bytes, list[int]] = {}
        for i, mask in enumerate(present):
            kinds.setdefault(mask.tobytes(), []).append(i)
        blocks: dict[tuple[bytes, bytes], tuple[Bools, Bools]] = {}
        for i in range(len(rows)):
            own = present[i].tobytes()
            for other, members in kinds.items():
                at = np.array([j for j in members if j > i], dtype=np.int_)
                if not at.size:
                    continue
                if (own, other) not in blocks:
                    blocks[own, other] = largest_block(present[i] & present[members[0]])
                scenes, kept = blocks[own, other]
                if scenes.sum() < 2 or not kept.any():
                    continue
                block = np.ix_(scenes, kept)
                difference = values[i][block] - values[(at[:, None, None], *(axis[None] for axis in block))]
                mean[i, at], error[i, at], freedom[i, at] = _tested(difference)
                seeds[i, at] = kept.sum()
        lower = np.tril_indices(len(rows), -1)
        mean[lower] = -mean.T[lower]
        for one in (error, freedom):
            one[lower] = one.T[lower]
        seeds[lower] = seeds.T[lower]
    return RowPairs(rows=rows, mean=mean, error=error, freedom=freedom, seeds=seeds)


def _tested(difference: Floats) -> tuple[Floats, Floats, Floats]:
    """(mean, standard error, degrees of freedom), each (pairs,), of (pairs, scenes, seeds); as `interval_of_sum`."""
    scenes, seeds = difference.shape[1:]
    mean: Floats = difference.mean(axis=(1, 2))
    scale = np.maximum(np.abs(difference).max(axis=(1, 2)), TINY)
    if seeds == 1:
        variance = difference[:, :, 0].var(axis=1, ddof=1) / scenes
        freedom = np.full(mean.shape, scenes - 1.0)
    else:
        by_scene, by_seed = difference.mean(axis=2), difference.mean(axis=1)
        rest = difference - by_scene[:, :, None] - by_seed[:, None, :] + mean[:, None, None]
        of_scenes = ((by_scene - mean[:, None]) ** 2).sum(axis=1) / (scenes - 1) / scenes
        of_seeds = ((by_seed - mean[:, None]) ** 2).sum(axis=1) / (seeds - 1) / seeds
        of_rest = (rest**2).sum(axis=(1, 2)) / ((scenes - 1) * (seeds - 1)) / (scenes * seeds)
        total = of_scenes + of_seeds - of_rest
        spread = of_scenes**2 / (scenes - 1) + of_seeds**2 / (seeds - 1) + of_rest**2 / ((scenes - 1) * (seeds - 1))
        positive = total > 0
        variance = np.where(positive, total, np.maximum(of_scenes, of_seeds))
        satterthwaite = np.maximum(1.0, total**2 / np.where(spread > 0, spread, 1.0))
        freedom = np.where(positive & (spread > 0), satterthwaite, np.where(positive, 1.0, min(scenes, seeds) - 1.0))
    error = np.where(variance <= (TINY * scale) ** 2, 0.0, np.sqrt(variance))
    exact = (error == 0) & (np.abs(mean) <= TINY * scale)
    return np.where(exact, 0.0, mean), error, freedom
