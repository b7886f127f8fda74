r"""Difference of two means that share neither scenes nor seeds: Welch's interval with both as random effects.

With $V_A$ and $V_B$ the variances of the means of two layouts (`intervals`),

$$ \widehat{\mathrm{Var}}(\bar a - \bar b) = V_A + V_B $$

and Student's t with Satterthwaite's degrees of freedom. Where the two share scenes or seeds in part, what they share
varies alike in both, and the interval is wider than need be.

Reference: Welch (1947), Biometrika 34(1-2), 28-35.
"""

import math

from scipy.special import stdtr, stdtrit

from reports.statistics.intervals import LEVEL, TINY, Interval, paired_interval
from reports.statistics.panel import Floats


def two_sample_interval(a: Floats, b: Floats, level: float = LEVEL) -> Interval:
    """Confidence interval for the mean of A minus that of B.

    Args:
        a: complete layout, (scenes, seeds), in the unit of the metric.
        b: another one, of any shape.
        level: wanted coverage.

    Returns:
        The interval; its scenes and seeds are those of the smaller layout. It is over scenes only if either has one
        seed.

    Raises:
        ValueError: a layout with fewer than two scenes, or without a seed.
    """
    parts = [paired_interval(layout, level) for layout in (a, b)]
    error = math.hypot(*(part.error for part in parts))
    mean = parts[0].mean - parts[1].mean
    scale = max(TINY, *(float(abs(layout).max()) for layout in (a, b)))
    if error <= TINY * scale:
        error, freedom, reach = 0.0, min(part.freedom for part in parts), 0.0
        p = 1.0 if abs(mean) <= TINY * scale else 0.0
    else:
        freedom = max(1.0, error**4 / sum(part.error**4 / part.freedom for part in parts))
        reach = float(stdtrit(freedom, 0.5 + level / 2)) * error
        p = 2.0 * float(stdtr(freedom, -abs(mean) / error))
    seeds = min(part.seeds for part in parts)
    return Interval(
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        p=p,
        error=error,
        freedom=freedom,
        scenes=min(part.scenes for part in parts),
        seeds=seeds,
        kind="scenes only" if seeds == 1 else "scenes and seeds",
    )
