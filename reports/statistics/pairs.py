"""Differences of all pairs of rows in one score, each paired over the scenes and seeds that both rows have.

The same numbers as `intervals.interval_of_sum` of every pair, with the scatter over seeds of all rows
(`seed_scatter.py`), worked out for all pairs at once.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.special import stdtr

from reports.marks import FEWEST_SCENES
from reports.statistics.intervals import TINY, Bools, largest_block, satterthwaite
from reports.statistics.panel import Floats
from reports.statistics.seed_scatter import SeedScatter, seed_scatter

NOT_TESTED = 1.0
"""p of a pair that is not compared."""


@dataclass(frozen=True, kw_only=True)
class RowPairs:
    """All differences, (rows, rows): entry (i, j) is of row i less row j. NaN: under two scenes are there for both."""

    rows: tuple[str, ...]
    mean: Floats
    error: Floats
    """Standard error; 0: the difference is the same everywhere."""
    freedom: Floats
    scenes: npt.NDArray[np.int_]
    """Scenes that both rows have in all of these seeds."""
    seeds: npt.NDArray[np.int_]
    """Seeds that both rows have; with one, the error is over scenes only."""

    def compared(self, fewest_seeds: int = 1) -> Bools:
        """(rows, rows): whether an order may be shown: a pair that shares fewer than `FEWEST_SCENES` scenes has none.

        On a coarse scale a few scenes often differ alike by chance, and a t test takes that for certainty: of 16 equal
        rows with scores of 0 or 1 on 4 scenes and five seeds, some were called worse in 22 % of simulated studies
        (`docs/reference/calibration.md`).

        Args:
            fewest_seeds: a pair with fewer has none either. 1: the networks that were trained are compared.
        """
        found: Bools = np.isfinite(self.error) & (self.scenes >= FEWEST_SCENES) & (self.seeds >= fewest_seeds)
        return found

    def above(self, fewest_seeds: int = 1) -> Floats:
        """(rows, rows): one-sided p of row i being above row j; 1 where the two are not `compared`."""
        p = np.full(self.mean.shape, NOT_TESTED)
        compared = self.compared(fewest_seeds)
        spread = compared & (self.error > 0)
        p[spread] = stdtr(self.freedom[spread], -self.mean[spread] / self.error[spread])
        exact = compared & ~spread
        p[exact] = np.where(self.mean[exact] > TINY, 0.0, 1.0)
        return p


def row_pairs(
    layouts: Mapping[str, Floats],
    pool: Sequence[Floats] = (),
    loads: Floats | None = None,
    against: Collection[str] | None = None,
) -> RowPairs:
    """Compare every row with every other.

    Args:
        layouts: row -> (scenes, seeds) of one score, NaN is missing; all of one shape.
        pool: the rows whose scatter over seeds is pooled, as `layouts`; by default those of `layouts`.
        loads: (rows, rows of the pool), where layouts are sums of rows: how often each row of the pool is in each.
        against: pairs without one of these rows are left out where that saves time; None: none is.
    """
    rows = tuple(layouts)
    shape = (len(rows), len(rows))
    mean, error, freedom = (np.full(shape, np.nan) for _ in range(3))
    scenes, seeds = (np.zeros(shape, dtype=np.int_) for _ in range(2))
    values = np.stack(list(layouts.values())) if rows else np.zeros((0, 2, 1))
    pooled = np.stack(pool) if pool else values
    sizes = np.full(shape, 2.0) if loads is None else cdist(loads, loads, "sqeuclidean")
    present = np.isfinite(values)
    gaps: Floats = (~np.isfinite(pooled)).reshape(len(pooled), math.prod(pooled.shape[1:])).astype(np.float64)
    kinds: dict[bytes, list[int]] = {}
    for i, mask in enumerate(present):
        kinds.setdefault(mask.tobytes(), []).append(i)
    wanted = [against is None or any(rows[i] in against for i in members) for members in kinds.values()]
    for (own, is_wanted), (other, is_too) in combinations_with_replacement(zip(kinds.values(), wanted, strict=True), 2):
        if not (is_wanted or is_too):
            continue
        block = _block(present[own[0]] & present[other[0]], pooled, gaps)
        if block.scenes.sum() < 2 or not block.seeds.any():
            continue
        sides = [values[members][:, block.scenes][:, :, block.seeds] for members in (own, other)]
        at, back = np.ix_(own, other), np.ix_(other, own)
        found = _differences(sides[0], sides[1], block.scatter, sizes[at])
        for one, part in zip((mean, error, freedom), found, strict=True):
            one[at], one[back] = part, (-part.T if one is mean else part.T)
        scenes[at] = scenes[back] = block.scenes.sum()
        seeds[at] = seeds[back] = block.seeds.sum()
    for one in (mean, error, freedom):
        np.fill_diagonal(one, np.nan)
    for count in (scenes, seeds):
        np.fill_diagonal(count, 0)
    return RowPairs(rows=rows, mean=mean, error=error, freedom=freedom, scenes=scenes, seeds=seeds)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Scenes and seeds without a gap, as masks, and the scatter of the rows that have all of them."""

    scenes: Bools
    seeds: Bools
    scatter: SeedScatter | None


def _block(present: Bools, pooled: Floats, gaps: Floats) -> _Block:
    """The block of two rows; `gaps`: (rows of the pool, scenes × seeds), 1 where a value is missing."""
    scenes, seeds = largest_block(present)
    has_all = gaps @ np.outer(scenes, seeds).ravel() == 0.0
    whole = pooled[has_all][:, scenes][:, :, seeds]
    scatter = seed_scatter([whole.mean(axis=1)]) if whole.size else None
    return _Block(scenes=scenes, seeds=seeds, scatter=scatter)


def _differences(
    first: Floats, second: Floats, scatter: SeedScatter | None, sizes: Floats
) -> tuple[Floats, Floats, Floats]:
    """(mean, standard error, degrees of freedom), each (rows, others), of every row less every other.

    Args:
        first: (rows, scenes, seeds) without gaps.
        second: (others, scenes, seeds).
        scatter: of rows over these seeds.
        sizes: (rows, others): of each difference, the sum of its squared weights.
    """
    scenes, seeds = first.shape[1:]
    mean = first.mean(axis=(1, 2))[:, None] - second.mean(axis=(1, 2))
    apart = [side - side.mean(axis=(1, 2), keepdims=True) for side in (first, second)]
    of_scenes = _squares(*(side.mean(axis=2) for side in apart)) / (scenes - 1) / scenes
    if seeds == 1:
        variance, freedom = of_scenes, np.full(mean.shape, scenes - 1.0)
    else:
        most = seeds - 1.0 if scatter is None else scatter.freedom
        least = 0.0 if scatter is None else sizes * float(scatter.covariance[0, 0])
        own = _squares(*(side.mean(axis=1) for side in apart)) / (seeds - 1)
        of_seeds = np.maximum(own, least) / seeds
        variance, freedom = satterthwaite([(of_scenes, scenes - 1.0), (of_seeds, most)])
        freedom = np.minimum(freedom, most)
    # Rows with the same values are equal, whatever others do.
    furthest = cdist(first.reshape(len(first), -1), second.reshape(len(second), -1), "chebyshev")
    exact = (furthest <= TINY) | (variance <= (TINY * np.maximum(furthest, TINY)) ** 2)
    return np.where(furthest <= TINY, 0.0, mean), np.where(exact, 0.0, np.sqrt(variance)), freedom


def _squares(first: Floats, second: Floats) -> Floats:
    """(rows, others): sums of squared differences of (rows, n) and (others, n)."""
    found: Floats = cdist(first, second, "sqeuclidean")
    return found
