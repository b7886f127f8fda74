r"""Which rows of a column may be the best, and the mark that each of them has in a table.

*Row i is the best* is one hypothesis a row: no other row is above it. It is rejected where some row is shown to be
above: with $p_{ji}$ the one-sided p of row j being above row i in a paired difference (`pairs.py`), the p of a row's
hypothesis is $(R - 1) \min_j p_{ji}$ among $R$ rows (Bonferroni), and Holm's adjustment runs over the rows. Some row is
the best, so that the last one is never rejected.

The error that is controlled: with probability $1 - \alpha$, no row that is truly the best is called worse, in one
column, however many rows share the best score and whatever the dependence between rows. Of $m$ such rows none has been
rejected before the first one is, so that at least $m$ hypotheses are left, and the first rejection needs one of $m (R -
1)$ pairs in which the row is not below to have $p \le \alpha / (m (R - 1))$. Rows that are called worse are therefore
worse; of the others nothing is said.

This is what a model confidence set promises, for a finite number of scenes and by Bonferroni's inequality instead of
resampling, which has no calibrated p with two or three seeds. `sure_order.py` claims more, the order of every pair, and
so names fewer rows as worse.

Sources: Hansen, Lunde and Nason (2011), Econometrica 79(2), 453-497, on confidence sets of the best; Hsu (1984), Annals
of Statistics 12(3), 1136-1144; Holm (1979), Scandinavian Journal of Statistics 6(2), 65-70.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reports.marks import Mark
from reports.statistics.intervals import ALPHA, FEWEST_SEEDS, holm
from reports.statistics.pairs import NOT_TESTED, row_pairs
from reports.statistics.panel import Floats

LEADING = 16
"""Rows with the best means that every row is compared with. Fewer comparisons make a p larger, whichever they are."""


@dataclass(frozen=True, kw_only=True)
class BestRows:
    """What is known of the best of some distinct rows."""

    rows: frozenset[str] = frozenset()
    """Those that are not shown to be worse than another; of a single row none."""
    leading: frozenset[str] = frozenset()
    """Those with the best mean; of a single row none."""
    is_shown: bool = False
    """Whether some row is shown to be worse than another."""
    scenes: int = 0
    """Most that two rows share; under `FEWEST_SCENES` nothing can be shown."""

    def mark(self, row: str) -> Mark:
        """The mark of a row in a table.

        `best`: every other row is shown to be worse. `may be best`: some row is shown to be worse, and this one is not.
        `best mean`: no row is shown to be worse, so that its mean is the best, and nothing follows.
        """
        if not self.is_shown:
            return "best mean" if row in self.leading else ""
        if row not in self.rows:
            return ""
        return "best" if len(self.rows) == 1 else "may be best"


def best_rows(scores: Mapping[str, float], layouts: Mapping[str, Floats], seeds: int) -> BestRows:
    """The rows that may be the best of these.

    Args:
        scores: of distinct rows; higher is better.
        layouts: row -> (scenes, seeds) of its score, higher is better, NaN is missing; a row without one cannot be
            compared, and so is not shown to be worse.
        seeds: of the study. With one, rows are compared as they were trained; with more, two rows share two at least.
    """
    if len(scores) < 2:
        return BestRows()
    highest = max(scores.values())
    leading = frozenset(row for row, score in scores.items() if score == highest)
    compared_with = sorted(layouts.keys() & scores.keys(), key=lambda row: (-scores[row], row))[:LEADING]
    pairs = row_pairs({row: layouts[row] for row in scores if row in layouts}, against=compared_with)
    others = len(pairs.rows) - 1
    if others < 1:
        return BestRows(rows=frozenset(scores), leading=leading)
    p = np.minimum(NOT_TESTED, others * pairs.above(min(FEWEST_SEEDS, seeds)).min(axis=0))
    p[int(p.argmax())] = NOT_TESTED
    worse = {row for row, adjusted in zip(pairs.rows, holm(p.tolist()), strict=True) if adjusted <= ALPHA}
    return BestRows(
        rows=frozenset(row for row in scores if row not in worse),
        leading=leading,
        is_shown=bool(worse),
        scenes=int(pairs.scenes.max()),
    )
