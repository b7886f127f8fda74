r"""Pairs of rows whose order is sure, on several branches together; what follows for Kendall's tau and the best.

Every ordered pair of rows on every branch is one hypothesis, "row i is not above row j", with a one-sided p from the
paired difference; Holm's adjustment runs over all of them. So with probability $1 - \alpha$ no pair is called in the
wrong direction, on any branch, whatever the dependence between pairs. What is deduced from these orders is right
whenever they are: all its conclusions together are wrong with probability $\alpha$ at most.

*Kendall's tau.* Each of $N$ pairs is seen ordered alike or oppositely on both branches, with the larger of the two
two-sided p. For tau it does not matter which pairs are as they are seen, but how many: closed testing
(`closed_testing.py`) says so with few seeds too, where no single pair is left after Holm. If at least $C$ of those seen
alike are alike, and at least $D$ of the others opposite, the true tau lies in $[2C/N - 1,\; 1 - 2D/N]$: every other
pair may be discordant, or concordant.

*Best rows.* A row that is surely below another is not the best. The rows that are left contain the best one; if two
branches leave sets without a common row, their best rows differ.

Sources: Holm (1979), Scandinavian Journal of Statistics 6(2), 65-70; confidence sets of the best by multiple
comparisons: Hsu (1984), Annals of Statistics 12(3), 1136-1144, here by all pairs, which needs no equal variances.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.closed_testing import false_hypotheses
from reports.statistics.intervals import ALPHA, FEWEST_SEEDS, Bools, holm
from reports.statistics.pairs import RowPairs
from reports.statistics.panel import Floats

LEVEL_STEP = 1e-6
"""Precision of a level that is searched for."""

UNDECIDED = 0.5
"""One-sided p of equal means."""


@dataclass(frozen=True, kw_only=True)
class OppositePair:
    """Two rows that the branches order differently."""

    better_on_first: str
    better_on_second: str
    p: float
    """Of the less sure order, adjusted over all pairs and branches."""
    p_alone: float
    """The same, of this pair alone."""


@dataclass(frozen=True, kw_only=True)
class SureOrder:
    """Adjusted p of every ordered pair on every branch."""

    rows: tuple[str, ...]
    above: tuple[Floats, ...]
    """branch -> (rows, rows): p of row i being above row j, adjusted over all pairs of all branches."""
    alone: tuple[Floats, ...]
    """The same, not adjusted."""

    @property
    def pairs(self) -> int:
        """Number of pairs of rows."""
        return len(self.rows) * (len(self.rows) - 1) // 2

    def opposite(self) -> list[OppositePair]:
        """The pairs whose means the first two branches order oppositely, the surest first."""
        first, second = self.alone[:2]
        alone, adjusted = np.maximum(first, second.T), np.maximum(self.above[0], self.above[1].T)
        found = [
            OppositePair(
                better_on_first=self.rows[i],
                better_on_second=self.rows[j],
                p=float(adjusted[i, j]),
                p_alone=float(alone[i, j]),
            )
            for i, j in zip(*np.nonzero(alone < UNDECIDED), strict=True)
        ]
        return sorted(found, key=lambda pair: (pair.p_alone, pair.better_on_first, pair.better_on_second))

    def tau_limits(self, alpha: float = ALPHA) -> tuple[float, float]:
        """Limits of Kendall's tau between the first two branches (derivation above)."""
        p, alike = self.seen()
        same, opposite = (false_hypotheses(p[kind], p, alpha) for kind in (alike, ~alike))
        return 2.0 * same / self.pairs - 1.0, 1.0 - 2.0 * opposite / self.pairs

    def seen(self) -> tuple[Floats, Bools]:
        """(p, alike), each (pairs,): whether a pair is seen ordered alike on the first two branches, with its p.

        p is two-sided: that a pair's orders are the ones seen is claimed after seeing them.
        """
        first, second = self.alone[:2]
        upper = np.triu_indices(len(self.rows), 1)
        orders = [np.maximum(first, second), np.maximum(first.T, second.T)]
        turned = [np.maximum(first, second.T), np.maximum(first.T, second)]
        same, opposite = (np.minimum(*both)[upper] for both in (orders, turned))
        return np.minimum(1.0, 2.0 * np.minimum(same, opposite)), np.asarray(same <= opposite)

    def p_tau_above(self, value: float) -> float:
        """The smallest level at which the lower limit of tau is above `value`, to 1e-6; 1 where there is none."""
        if self.tau_limits(1.0)[0] <= value:
            return 1.0
        low, high = 0.0, 1.0
        while high - low > LEVEL_STEP * high:
            middle = (low + high) / 2
            low, high = (low, middle) if self.tau_limits(middle)[0] > value else (middle, high)
            if high < LEVEL_STEP:
                break
        return high

    def beaten(self, branch: int) -> Floats:
        """(rows,): p of each row being below some other one."""
        return np.asarray(self.above[branch].min(axis=0, initial=1.0), dtype=np.float64)

    def best(self, branch: int, alpha: float = ALPHA) -> tuple[str, ...]:
        """The rows that may be the best."""
        return tuple(row for row, p in zip(self.rows, self.beaten(branch), strict=True) if p > alpha)

    def p_no_common_best(self) -> float:
        """The smallest level at which no row may be the best on the first two branches both."""
        return float(np.minimum(self.beaten(0), self.beaten(1)).max(initial=0.0))

    def p_same_best(self) -> float:
        """The smallest level at which the same single row is left on the first two branches; 1 where there is none."""
        if not self.rows:
            return 1.0
        first, second = self.beaten(0), self.beaten(1)
        candidate = int(np.argmax(np.minimum(first, second)))
        others = np.arange(len(self.rows)) != candidate
        return float(max(first[others].max(initial=0.0), second[others].max(initial=0.0)))


def sure_order(branches: Sequence[RowPairs], fewest_seeds: int = FEWEST_SEEDS) -> SureOrder:
    """Adjust the p of every ordered pair over all of these branches.

    Args:
        branches: the differences of the same rows on each.
        fewest_seeds: as `RowPairs.above`. 1: the orders are those of the networks that were trained.
    """
    rows = branches[0].rows
    off_diagonal = ~np.eye(len(rows), dtype=np.bool_)
    raw = [pairs.above(fewest_seeds) for pairs in branches]
    adjusted = np.array(holm(np.concatenate([p[off_diagonal] for p in raw]).tolist()))
    above = []
    for own in np.split(adjusted, len(branches)):
        whole = np.ones((len(rows), len(rows)))
        whole[off_diagonal] = own
        above.append(whole)
    return SureOrder(rows=rows, above=tuple(above), alone=tuple(raw))
