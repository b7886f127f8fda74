r"""Probability of improvement: how often a training of one row beats a training of another.

For a scene $i$ with the scores $a_{is}$ of row A in its seeds and $b_{it}$ of row B in its, every pair of seeds is
compared; a tie counts half:

$$ P(A > B) = \frac{1}{I} \sum_i \frac{1}{S_A S_B} \sum_{s,t} \left( 1[a_{is} > b_{it}] + \tfrac12 1[a_{is} = b_{it}]
\right) . $$

It is Mann and Whitney's statistic, averaged over scenes. It says how often, not how much, and no monotone change of the
unit moves it. Its unit is the seed, so with one there is none: one training of each row says nothing of a second one.
It is a description of these seeds: no interval of so few was found to hold, and none is given.

Reference: Agarwal et al. (2021), arXiv:2108.13264, section 4.2; Mann & Whitney (1947), Annals of Mathematical
Statistics 18(1), 50-60.
"""

import numpy as np

from reports.statistics.intervals import FEWEST_SEEDS
from reports.statistics.panel import Floats


def improvement(a: Floats, b: Floats) -> float | None:
    """P(A > B); None with fewer than two seeds of either, or without a scene that both have.

    Args:
        a: (scenes, seeds), higher is better; a scene with a missing seed is left out.
        b: of the same scenes.
    """
    both = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    if min(a.shape[1], b.shape[1]) < FEWEST_SEEDS or not both.any():
        return None
    first, second = a[both][:, :, None], b[both][:, None, :]
    return float((first > second).mean() + 0.5 * (first == second).mean())
