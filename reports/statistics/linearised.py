r"""Intervals of smooth functions of means over several branches, by linearisation (the delta method).

With $m$ the means of some components (rows, or metrics of rows) on branches $b$ and $f$ smooth near them,

$$ f(\hat m) - f(m) \approx \sum_b \sum_k \frac{\partial f}{\partial m_{bk}} (\hat m_{bk} - m_{bk}) , $$

a sum of means again: on each branch the components' layouts, weighted by the gradient, are one layout of scenes ×
seeds, and `intervals.interval_of_sum` has the limits of their sum, with the seeds that the branches share. They hold as
far as $f$ is linear over the noise of the means; `docs/reference/calibration.md` has how often they miss. At a point
where the gradient vanishes (a correlation of 1) they do not hold at all.

Reference: Cramér (1946), Mathematical Methods of Statistics, section 28.4.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.statistics.intervals import LEVEL, Interval, complete_together, interval_of_sum
from reports.statistics.panel import Floats, Panel
from reports.statistics.scores import Scoring, branch_score, score_parts

STEP = 1e-5
"""Of a central difference, relative to the spread of the components."""

Means = Sequence[Floats]
"""One array a branch, (components,) or of any other shape that `interval_of` was given, without scenes and seeds."""


def gradient(function: Callable[[Means], float], means: Means) -> list[Floats]:
    """Derivative of `function` by every component, by central differences: arrays as those of `means`."""
    found = []
    for b, own in enumerate(means):
        slopes = np.zeros(own.shape)
        for at in np.ndindex(own.shape):
            step = STEP * (float(np.ptp(own[(*at[:-1], ...)])) or max(abs(float(own[at])), 1.0))
            sides = []
            for sign in (1.0, -1.0):
                moved = own.copy()
                moved[at] += sign * step
                sides.append(function([*means[:b], moved, *means[b + 1 :]]))
            slopes[at] = (sides[0] - sides[1]) / (2.0 * step)
        found.append(slopes)
    return found


def influence(function: Callable[[Means], float], layouts: Sequence[Floats]) -> list[Floats]:
    """The linearised function as one layout a branch, (scenes_b, seeds), whose means add up to the function.

    Args:
        function: of the components' means on each branch; finite near them.
        layouts: each (components..., scenes_b, seeds), with the same seeds, no missing cells.
    """
    means = [values.mean(axis=(-2, -1)) for values in layouts]
    found = []
    for slopes, own, values in zip(gradient(function, means), means, layouts, strict=True):
        centred = values - own[..., None, None]
        found.append(np.tensordot(slopes, centred, axes=slopes.ndim))
    return [found[0] + function(means), *found[1:]]


def interval_of(
    function: Callable[[Means], float], layouts: Sequence[Floats], level: float = LEVEL, most_freedom: float = np.inf
) -> Interval | None:
    """Interval of a smooth function of means, with its p against 0; None where it is not finite near them.

    Args:
        function: takes, for every branch, the components' means, in the shape of its layouts without scenes and
            seeds; may normalise, divide, take ranges: whatever has a derivative at the means.
        layouts: one a branch, each (components..., scenes_b, seeds): the same seeds in all, other scenes in each, no
            missing cells (`branch_layouts` makes them).
        level: wanted coverage.
        most_freedom: as of `intervals.paired_interval`.

    Raises:
        ValueError: as of `intervals.interval_of_sum`.
    """
    parts = influence(function, layouts)
    if not all(np.isfinite(part).all() for part in parts):
        return None
    point = function([values.mean(axis=(-2, -1)) for values in layouts])
    found = interval_of_sum(parts, level, most_freedom)
    # What differs from the function by rounding alone is the function.
    return replace(found, mean=point, low=found.low + point - found.mean, high=found.high + point - found.mean)


@dataclass(frozen=True, kw_only=True)
class BranchLayouts:
    """The case values that branch scores are made of, on scenes and seeds that all of their rows have."""

    rows: tuple[str, ...]
    branches: tuple[str, ...]
    layouts: tuple[Floats, ...]
    """One a branch, (parts of the score, rows, scenes_b, seeds)."""
    scoring: Scoring
    parts: Mapping[str, tuple[str, ...]]
    """branch -> `branch/metric` of each part."""
    dropped_scenes: int
    dropped_seeds: int

    def scores(self, means: Means) -> list[Floats]:
        """Scores of the rows on every branch, (rows,), of the means of `layouts`; bundles are normalised over them."""
        found = []
        for branch, own in zip(self.branches, means, strict=True):
            by_metric = dict(zip(self.parts[branch], own, strict=True))
            found.append(branch_score(self.scoring.of(branch), by_metric, len(self.rows)))
        return found

    def interval_of(self, function: Callable[[Sequence[Floats]], float], level: float = LEVEL) -> Interval | None:
        """`interval_of` of a function of the rows' scores, (rows,) a branch, in the order of `branches`."""
        return interval_of(lambda means: function(self.scores(means)), self.layouts, level)


def branch_layouts(
    scoring: Scoring,
    branches: Sequence[str],
    rows: Sequence[str],
    computed_by: Mapping[str, str],
    panels: Mapping[str, Panel],
) -> BranchLayouts | None:
    """The values of some branches' scores; None: a metric has none, or fewer than two scenes are there for all rows.

    Args:
        scoring: of the study.
        branches: whose scores are wanted.
        rows: distinct rows, which must all have a score on each of the branches.
        computed_by: row -> the row of the panels.
        panels: by `branch/metric`.
    """
    parts = {name: tuple(metric for metric, _ in score_parts(scoring.of(name), panels.keys())) for name in branches}
    if any(not names for names in parts.values()) or not rows:
        return None
    if any(metric not in panels or panels[metric].pooled for names in parts.values() for metric in names):
        return None
    groups = [[panels[metric].layout(computed_by[row]) for metric in parts[b] for row in rows] for b in branches]
    cut = complete_together(groups)
    layouts = [
        np.stack(own).reshape(len(parts[b]), len(rows), *own[0].shape)
        for b, own in zip(branches, cut.layouts, strict=True)
    ]
    if any(values.shape[-2] < 2 or values.shape[-1] < 1 for values in layouts):
        return None
    return BranchLayouts(
        rows=tuple(rows),
        branches=tuple(branches),
        layouts=tuple(layouts),
        scoring=scoring,
        parts=parts,
        dropped_scenes=cut.dropped_scenes,
        dropped_seeds=cut.dropped_seeds,
    )
