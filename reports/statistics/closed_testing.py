r"""How many of some hypotheses are false, at least: closed testing with Simes' test.

Holm's adjustment names single hypotheses that are false. Often more is known of their number: of a hundred p values of
0.01 none is below 0.05 after Holm, and most are of false hypotheses. A set is rejected by Simes' test if $p_{(k)} \le
k \alpha / n$ for one of its $n$ ordered p values; closed testing rejects it if every larger set is rejected too. With
$h$ the size of the largest set that is not rejected, a set with p values $p_i$ holds at least

$$ \max_u \; 1 - u + \#\{i : h p_i \le u \alpha\} $$

false hypotheses, and with probability $1 - \alpha$ that is right for all sets together, chosen after seeing the values.

Simes' test holds for p values that do not depend on each other in an adverse way (Sarkar 1998), as two-sided ones of
differences of means do not; how often limits made so miss is in `docs/reference/calibration.md`.

Sources: Goeman and Solari (2011), Statistical Science 26(4), 584-597; the formula: Goeman, Meijer, Krebs and Solari
(2019), Biometrika 106(4), 841-856. Sarkar (1998), Annals of Statistics 26(2), 494-504.
"""

import numpy as np

from reports.statistics.panel import Floats


def false_hypotheses(p: Floats, of_all: Floats, alpha: float) -> int:
    """Lower bound of the number of false hypotheses in a set.

    Args:
        p: of the set, (hypotheses,).
        of_all: of all hypotheses, the set among them.
        alpha: probability that a bound is too high, for any set.
    """
    if not p.size:
        return 0
    counts = np.arange(1, p.size + 1)
    under = np.searchsorted(largest_kept(of_all, alpha) * np.sort(p), alpha * counts, side="right")
    return max(0, int((1 - counts + under).max()))


def largest_kept(p: Floats, alpha: float) -> int:
    """Size of the largest set of hypotheses that Simes' test does not reject."""
    ordered = np.sort(p)

    def kept(size: int) -> bool:
        return bool((size * ordered[len(ordered) - size :] > alpha * np.arange(1, size + 1)).all())

    low, high = 0, len(ordered)
    while low < high:  # of a set that is kept, the part with the largest p values is kept
        middle = (low + high + 1) // 2
        low, high = (middle, high) if kept(middle) else (low, middle - 1)
    return low
