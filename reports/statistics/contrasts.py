"""Interval of a contrast of rows, on one branch or several, with the scatter over seeds of all rows.

A contrast is a sum of rows times weights that add up to 0 on every branch: a difference, a difference of differences, a
linearised ratio. It is paired by scene and seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import LEVEL, Interval, complete_together, interval_of_sum, largest_blocks
from reports.statistics.panel import Floats
from reports.statistics.seed_scatter import SeedScatter, seed_scatter


@dataclass(frozen=True, kw_only=True)
class BranchContrast:
    """The part of a contrast that is on one branch."""

    layouts: Mapping[str, Floats]
    """Every row of the study -> (scenes, seeds) of one score, NaN is missing."""
    weights: Mapping[str, float]
    """Of some of them."""


@dataclass(frozen=True, kw_only=True)
class Contrasted:
    """A contrast's interval; None: under two scenes of a branch are there for all of its rows."""

    interval: Interval | None
    dropped_scenes: int
    dropped_seeds: int


def contrasted(branches: Sequence[BranchContrast], plus: float = 0.0, level: float = LEVEL) -> Contrasted:
    """The sum of the weighted means, over the scenes and seeds that all weighted rows have.

    Args:
        branches: the parts.
        plus: a number that is added, such as the value that a linearised function has where its contrast is 0.
        level: wanted coverage.
    """
    groups = [[branch.layouts[row] for row in branch.weights] for branch in branches]
    cut = complete_together(groups)
    parts = [
        np.tensordot(np.array(list(branch.weights.values())), np.stack(layouts), axes=1)
        for branch, layouts in zip(branches, cut.layouts, strict=True)
    ]
    interval = None
    if all(len(part) > 1 and part.shape[1] for part in parts):
        scatter = _scatter(branches, groups)
        rows = list(dict.fromkeys(row for branch in branches for row in branch.weights))
        weights = np.array([[branch.weights.get(row, 0.0) for branch in branches] for row in rows])
        interval = interval_of_sum(
            [parts[0] + plus, *parts[1:]],
            level,
            most_freedom=max(1.0, parts[0].shape[1] - 1.0) if scatter is None else scatter.freedom,
            least_of_seeds=0.0 if scatter is None else scatter.variance(weights),
        )
    return Contrasted(interval=interval, dropped_scenes=cut.dropped_scenes, dropped_seeds=cut.dropped_seeds)


def _scatter(branches: Sequence[BranchContrast], groups: Sequence[Sequence[Floats]]) -> SeedScatter | None:
    """Of all rows that are whole where the weighted rows are."""
    scenes, seeds = largest_blocks(
        [np.asarray(np.stack([np.isfinite(one) for one in group]).all(axis=0)) for group in groups]
    )
    cells = [
        {row: values[kept][:, seeds] for row, values in branch.layouts.items()}
        for branch, kept in zip(branches, scenes, strict=True)
    ]
    whole = [row for row in cells[0] if all(row in own and np.isfinite(own[row]).all() for own in cells)]
    return seed_scatter([np.stack([own[row].mean(axis=0) for row in whole]) for own in cells])
