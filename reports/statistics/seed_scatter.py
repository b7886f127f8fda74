r"""What a seed does to rows that differ: its variance, pooled over all rows of a study.

A difference of two rows varies with the seed that both were trained with. Of $S$ seeds its own variance has $S - 1$
degrees of freedom, so that a few seeds that happen to agree look like certainty: among many comparisons at the 95 %
limit of Student's t with Satterthwaite's degrees of freedom, 27 % of simulated studies with three seeds and 73 % with
two called some pair of equal rows different. With $S - 1$ degrees of freedom nothing is called, and nothing is found.

The rows have one more thing to say. With $e_{rs}$ the means over scenes without the effects of row and seed, $v_r =
\sum_s e_{rs}^2$ and

$$ C = \frac{\sum_r v_r}{(R - 1)(S - 1)} $$

is the variance over seeds of one row against the others, and a contrast with weights $w$, which add up to 0, has
$|w|^2 C$. The larger one counts, of this and of the contrast's own: a pair whose seeds agree by chance is not more
certain than rows are otherwise, and a row that scatters more than others keeps its own scatter. Where few rows make up
the scatter, the pooled value has few degrees of freedom:

$$ \nu = (S - 1) \frac{(\sum_r v_r)^2}{\sum_r v_r^2} , \quad S - 1 \le \nu \le (R - 1)(S - 1) . $$

The part of the scenes is added as it is: the mean square of what is left, which both parts contain, is not subtracted
once, as it is for a single interval (`intervals.py`). The variance is then too large by that, at most twice what it
should be, and has the degrees of freedom of a sum; those of a difference of mean squares fall to 1 in small designs,
where nothing is significant after an adjustment.

How often limits made so miss is simulated, rows that scatter up to ten times as much as others among them
(`docs/reference/calibration.md`).

Sources: pooling over rows is the error term of a randomised block design (Scheffe 1959, The Analysis of Variance,
section 4.1); the larger of both is a cautious form of the moderated t of Smyth (2004), Statistical Applications in
Genetics and Molecular Biology 3(1), 3; effective degrees of freedom: Kish (1965), Survey Sampling, section 11.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.panel import Floats


@dataclass(frozen=True, kw_only=True)
class SeedScatter:
    """Pooled scatter over seeds of rows on some branches."""

    covariance: Floats
    """(branches, branches): C, between branches too, since a seed is one network on all of them."""
    freedom: float

    def variance(self, weights: Floats) -> float:
        """Variance over seeds of a contrast; `weights`: (rows, branches), which add up to 0 over the rows."""
        return float(np.einsum("rb,bc,rc->", weights, self.covariance, weights))


def seed_scatter(means: Sequence[Floats]) -> SeedScatter | None:
    """Pool the scatter; None: fewer than two rows or two seeds.

    Args:
        means: one a branch, (rows, seeds): means over scenes, of the same rows and seeds, no missing cells.
    """
    rows, seeds = means[0].shape
    if rows < 2 or seeds < 2:
        return None
    left = np.stack([one - one.mean(axis=1, keepdims=True) - one.mean(axis=0) + one.mean() for one in means])
    covariance = np.einsum("brs,crs->bc", left, left) / ((rows - 1) * (seeds - 1))
    of_rows = (left**2).sum(axis=2)  # (branches, rows)
    squares = (of_rows**2).sum(axis=1)
    effective = np.where(squares > 0, of_rows.sum(axis=1) ** 2 / np.where(squares > 0, squares, 1.0), 1.0)
    freedom = (seeds - 1) * float(np.clip(effective.min(), 1.0, rows - 1.0))
    return SeedScatter(covariance=covariance, freedom=freedom)
