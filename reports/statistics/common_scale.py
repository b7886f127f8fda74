r"""Common scale: a metric between its floor and its ceiling, whatever its unit.

With the means $m$ of a row, $f$ of the floor (a row that does nothing) and $c$ of the ceiling (the truth), over the
scenes and seeds that all three have,

$$ s = \frac{m - f}{c - f} . $$

So the floor is at 0, the ceiling at 1, a row that is worse than the floor below 0, and any other unit $a + b x$ gives
the same $s$; with $b < 0$, less is better, which needs no case of its own. All three means vary together from scene to
scene and from seed to seed. To first order around the estimate $\hat s$ (the delta method),

$$ s - \hat s \approx \frac{(m - f) - \hat s\,(c - f)}{\hat c - \hat f} , $$

the mean of one paired contrast of three layouts: its interval is that of any paired difference. It is exact for floor
and ceiling, where the contrast is 0 everywhere, and good where $c - f$ is known well, which `separation` is asked for
first: only a metric whose floor lies below the ceiling by more than the interval of the difference is put on the scale.

References: human-normalised scores, Mnih et al. (2015), Nature 518, 529-533; ratio of paired means, Cochran (1977),
Sampling Techniques, chapter 6.
"""

import numpy as np

from reports.spec import Better
from reports.statistics.intervals import Interval, paired_interval
from reports.statistics.panel import Floats


def separation(floor: Floats, ceiling: Floats, better: Better) -> Interval:
    """By how much the ceiling is better than the floor, with its interval.

    Args:
        floor: (scenes, seeds), complete.
        ceiling: of the same scenes and seeds.
        better: direction of the metric.

    Raises:
        ValueError: as `paired_interval`.
    """
    return paired_interval(ceiling - floor if better == "high" else floor - ceiling)


def scaled(row: Floats, floor: Floats, ceiling: Floats) -> Interval:
    """The score of a row on the common scale, with its interval; its p is against the floor.

    Args:
        row: (scenes, seeds), complete.
        floor: of the same scenes and seeds.
        ceiling: likewise.

    Raises:
        ValueError: floor and ceiling have the same mean, or as `paired_interval`.
    """
    span = float((ceiling - floor).mean())
    if not span:
        raise ValueError("floor and ceiling have the same mean: there is no scale between them")
    score = float((row - floor).mean()) / span
    contrast: Floats = score + ((row - floor) - score * (ceiling - floor)) / span
    return paired_interval(contrast)


def run_scores(row: Floats, floor: float, ceiling: float) -> Floats:
    """Every run of a row, a scene in a seed, on the scale between two means; NaN where it has no value.

    Args:
        row: (scenes, seeds).
        floor: mean of the floor over all scenes and seeds.
        ceiling: mean of the ceiling.

    The scale is that of the whole branch, so that a scene in which floor and ceiling happen to be near each other
    weighs no more than another.
    """
    scores: Floats = np.asarray((row - floor) / (ceiling - floor))
    return scores
