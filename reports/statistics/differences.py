"""Paired differences of many pairs of rows in one score, each over the scenes and seeds that both of its rows have.

The same numbers as `intervals.paired_interval` of every pair, worked out for many pairs at once: those whose rows lack
the same cells are cut to the same block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reports.statistics.intervals import Estimates, Interval, estimates, largest_block
from reports.statistics.panel import Floats

Ints = npt.NDArray[np.int_]

AT_ONCE = 1 << 18
"""Values of the differences that are in memory at once: more do not fit into a processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Differences:
    """One of two rows less the other, an entry for each pair, (pairs,). NaN: under two scenes are there for both."""

    estimates: Estimates
    scenes: Ints
    """Scenes that both rows have."""
    seeds: Ints
    """Seeds that both rows have; with one, the error is over scenes only."""
    dropped_scenes: Ints
    """Scenes that one of the rows has and that do not count."""
    dropped_seeds: Ints

    def interval(self, pair: int) -> Interval | None:
        """The interval of one pair."""
        if not np.isfinite(self.estimates.error[pair]):
            return None
        mean, reach, seeds = float(self.estimates.mean[pair]), float(self.reach[pair]), int(self.seeds[pair])
        return Interval(
            mean=mean,
            low=mean - reach,
            high=mean + reach,
            p=float(self.estimates.p[pair]),
            error=float(self.estimates.error[pair]),
            freedom=float(self.estimates.freedom[pair]),
            scenes=int(self.scenes[pair]),
            seeds=seeds,
            kind="scenes only" if seeds == 1 else "scenes and seeds",
        )

    @cached_property
    def reach(self) -> Floats:
        """How far the limits are from the mean, (pairs,)."""
        return self.estimates.reach()

    @property
    def tested(self) -> npt.NDArray[np.bool_]:
        """Whether there is an interval."""
        found: npt.NDArray[np.bool_] = np.isfinite(self.estimates.error)
        return found


def differences(values: Floats, first: Ints, second: Ints) -> Differences:
    """Of each pair, the first row less the second.

    Args:
        values: (rows, scenes, seeds) of one score, NaN is missing.
        first: (pairs,), a row of each pair.
        second: (pairs,), the other.
    """
    mean, error, freedom, p = (np.full(len(first), np.nan) for _ in range(4))
    counts = [np.zeros(len(first), dtype=np.int_) for _ in range(4)]
    present = np.isfinite(values)
    kinds: dict[bytes, int] = {}
    kind = np.array([kinds.setdefault(mask.tobytes(), len(kinds)) for mask in present], dtype=np.int_)
    _, start, group = np.unique(kind[first] * len(kinds) + kind[second], return_index=True, return_inverse=True)
    together = np.argsort(group, kind="stable")
    for at in np.split(together, np.cumsum(np.bincount(group))[:-1]) if len(start) else ():
        a, b = present[first[at[0]]], present[second[at[0]]]
        scenes, seeds = largest_block(a & b)
        kept = int(scenes.sum()), int(seeds.sum())
        either = a | b
        dropped = int(either.any(axis=1).sum()) - kept[0], int(either.any(axis=0).sum()) - kept[1]
        for into, count in zip(counts, (*kept, *dropped), strict=True):
            into[at] = count
        if kept[0] < 2 or kept[1] < 1:
            continue
        for part in _parts(at, kept[0] * kept[1]):
            of = (
                values[rows] if kept == values.shape[1:] else values[np.ix_(rows, scenes, seeds)]
                for rows in (first[part], second[part])
            )
            found = estimates([np.subtract(*of)])
            mean[part], error[part], freedom[part], p[part] = found.mean, found.error, found.freedom, found.p
    return Differences(
        estimates=Estimates(mean=mean, error=error, freedom=freedom, p=p),
        scenes=counts[0],
        seeds=counts[1],
        dropped_scenes=counts[2],
        dropped_seeds=counts[3],
    )


def intervals(values: Floats) -> list[Interval | None]:
    """The interval of each row alone, on the largest block that it has; None: fewer than two scenes.

    Args:
        values: (rows, scenes, seeds) of one score, NaN is missing.
    """
    rows = len(values)
    nothing = np.zeros((1, *values.shape[1:]))
    found = differences(np.concatenate([values, nothing]), np.arange(rows), np.full(rows, rows))
    return [found.interval(i) for i in range(rows)]


def _parts(at: Ints, size: int) -> Iterator[Ints]:
    count = max(1, AT_ONCE // size)
    return (at[i : i + count] for i in range(0, len(at), count))
