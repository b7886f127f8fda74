r"""Half-life of a score: how long until half of what a row had above its floor is gone.

With $s(n)$ the score after a gap of $n$ and $f(n)$ the floor's, the share kept is

$$ r(n) = \frac{s(n) - f(n)}{s(0) - f(0)} $$

and the half-life is the first $n$ with $r(n) < 1/2$, by linear interpolation of $r$ over $\log_2(n + 1)$ between the
gaps that were measured. It is told only between the shortest gap above 0 and the longest one: a curve of which no point
is below one half has `> longest`, and one that is below it at the first gap `< first`. It has no interval: percentile
limits of such a ratio were not calibrated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from reports.statistics.intervals import complete, interval_or_none
from reports.statistics.panel import Panel

HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class HalfLife:
    """A half-life; `text` is how it is printed."""

    value: float | None
    """In the unit of the gaps; None: outside what was measured, or not defined."""
    bound: str = ""
    """`> 16` or `< 2` where it is outside what was measured; else empty."""
    reason: str = ""
    """Why there is none; else empty."""

    @property
    def text(self) -> str:
        """`5.3`, `> 16`, `< 2`; empty where it is not defined."""
        return self.bound if self.value is None else f"{self.value:.1f}"


def half_life(gaps: Sequence[int], scores: Sequence[float | None], floor: Sequence[float | None]) -> HalfLife:
    """The half-life of one row.

    Args:
        gaps: rising, from 0.
        scores: of the row after each gap, more is better; None or NaN: missing.
        floor: the same of a row that keeps nothing.

    Raises:
        ValueError: gaps that do not rise from 0, fewer than two, or another number of scores than of gaps.
    """
    if len(gaps) < 2 or gaps[0] != 0 or any(a >= b for a, b in pairwise(gaps)):
        raise ValueError(f"a half-life needs gaps that rise from 0, and two of them; got {list(gaps)}")
    if not len(gaps) == len(scores) == len(floor):
        raise ValueError(f"{len(gaps)} gaps have {len(scores)} scores and {len(floor)} of the floor")
    above: list[float] = []
    for gap, score, least in zip(gaps, scores, floor, strict=True):
        if score is None or least is None or not math.isfinite(score - least):
            return HalfLife(value=None, reason=f"no value at {gap}")
        above.append(score - least)
    if above[0] <= 0:
        return HalfLife(value=None, reason="no better than the floor at 0")
    kept = [one / above[0] for one in above]
    below = next((i for i, share in enumerate(kept) if share < HALF), None)
    if below is None:
        return HalfLife(value=None, bound=f"> {gaps[-1]}")
    if below == 1:
        return HalfLife(value=None, bound=f"< {gaps[1]}")
    before = below - 1
    part = (kept[before] - HALF) / (kept[before] - kept[below])
    low, high = (math.log2(gaps[i] + 1) for i in (before, below))
    return HalfLife(value=2.0 ** (low + part * (high - low)) - 1)


def outscores(panel: Panel, row: str, floor: str) -> bool:
    """Whether a row is better than the floor, with the limits of their paired difference above 0."""
    cut = complete([panel.layout(row), panel.layout(floor)])
    difference = cut.layouts[0] - cut.layouts[1]
    interval = interval_or_none(difference if panel.better == "high" else -difference)
    return interval is not None and interval.low > 0
