r"""Performance profile: in which share of its runs a row does better than a threshold.

$$ \hat F(\tau) = \frac{1}{N} \sum_{i,s} 1[x_{is} > \tau] $$

over the $N$ runs, scenes $i$ in seeds $s$, with $x$ on the common scale. A mean hides whether a row is fair everywhere
or excellent in half of the scenes; a profile shows it. One row's curve above another's at every threshold is
stochastic dominance. The area under it from 0 to 1 is the mean of the scores cut off at both ends. Shares are those of
the runs that there are: they carry no interval.

References: Dolan & Moré (2002), Mathematical Programming 91, 201-213; Agarwal et al. (2021), Deep Reinforcement
Learning at the Edge of the Statistical Precipice, arXiv:2108.13264, section 4.1.
"""

import numpy as np

from reports.statistics.panel import Floats

THRESHOLDS: tuple[float, ...] = tuple(i / 20 for i in range(21))
"""On the common scale, floor to ceiling."""


def profile(scores: Floats, thresholds: tuple[float, ...] = THRESHOLDS) -> Floats:
    """The share of runs above each threshold, (thresholds,); NaN without a run.

    Args:
        scores: (scenes, seeds) on the common scale; NaN is no run.
        thresholds: in any order.
    """
    runs = scores[np.isfinite(scores)]
    if not runs.size:
        return np.full(len(thresholds), np.nan)
    shares: Floats = (runs[None, :] > np.array(thresholds)[:, None]).mean(axis=1)
    return shares
