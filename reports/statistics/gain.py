r"""Retained gain: the share of the gain of the longest over the shortest row that a compact row keeps.

With $c$, $s$ and $l$ the means of the compact, the shortest and the longest row in one metric, it is
$\theta = (c - s) / (l - s)$. A ratio of means has no variance, and resampled ratios miss 5 to 38 % with few seeds. Its
limits are Fieller's: every value $\theta$ is in them for which the contrast $(c - s) - \theta (l - s)$, a mean of
paired differences, does not differ significantly from 0 (`intervals.paired_interval`). The ratio is given only where
the interval of the gain $l - s$ excludes 0, and has limits only where that is beyond doubt (`SURE`): near 0, what is
measured is a ratio to the noise.

Source: Fieller (1954), Journal of the Royal Statistical Society B 16(2), 175-185.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import (
    LEVEL,
    Bools,
    Limits,
    complete,
    estimates,
    interval_or_none,
    kind_of,
    paired_interval,
)
from reports.statistics.panel import Floats, Panel

SURE = 0.99
"""Level of the interval of the whole gain that must exclude 0 for the ratio to have limits."""
DOUBTFUL = f"no interval: the {100 * SURE:g} % limits of the whole gain, over the cases of all three rows, hold 0"
FARTHEST = 100.0
"""Limits of more, to either side, are none."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The retained gain of one row; `reason` says why there is no value or no interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def retained_gain(
    metric: str,
    compact: Sequence[str],
    shortest: str,
    longest: str,
    means: Mapping[str, Mapping[str, float]],
    panels: Mapping[str, Panel],
) -> dict[str, Gain]:
    """Retained gain of every row of `compact` (distinct rows).

    Without case values (`panels` empty) the ratio of the means is given as it stands.
    """
    by_row = means.get(metric, {})
    if shortest not in by_row or longest not in by_row:
        reason = f"{metric} of {shortest} or {longest} is missing"
        return {row: Gain(value=None, reason=reason) for row in compact}
    whole = by_row[longest] - by_row[shortest]
    panel = panels.get(metric)
    reason = _undefined(shortest, longest, whole, panel, cases=bool(panels))
    found = {}
    for row in compact:
        if row not in by_row:
            found[row] = Gain(value=None, reason=f"{metric} is missing")
        elif reason:
            found[row] = Gain(value=None, reason=reason)
        elif panel is None:
            ratio = (by_row[row] - by_row[shortest]) / whole
            found[row] = Gain(value=ratio, reason="no interval: there are means alone, no cases")
        else:
            found[row] = _gain(*(panel.layout(one) for one in (row, shortest, longest)))
    return found


def _undefined(shortest: str, longest: str, whole: float, panel: Panel | None, *, cases: bool) -> str:
    """Why no ratio can be given; empty where it can."""
    if whole == 0:
        return f"{longest} gains nothing over {shortest}"
    if not cases:
        return ""
    doubtful = f"the gain of {longest} over {shortest} is not significantly different from 0"
    if panel is None:
        return doubtful
    cut = complete([panel.layout(longest), panel.layout(shortest)])
    interval = interval_or_none(cut.layouts[0] - cut.layouts[1])
    return doubtful if interval is None or interval.low <= 0 <= interval.high else ""


def _gain(compact: Floats, shortest: Floats, longest: Floats) -> Gain:
    """The ratio and its limits, over the scenes and seeds that all three rows have."""
    cut = complete([compact, shortest, longest])
    if cut.layouts[0].shape[0] < 2:
        return Gain(value=None, reason="the three rows have no two scenes in common")
    above, whole = cut.layouts[0] - cut.layouts[1], cut.layouts[2] - cut.layouts[1]
    found = fieller(above, whole)
    value = float(above.mean() / whole.mean()) if whole.mean() else None
    return Gain(value=value, low=found.low, high=found.high, reason=found.reason)


def fieller(above: Floats, below: Floats, level: float = LEVEL) -> Limits:
    """Limits of the ratio of the means of two paired layouts.

    Args:
        above: (scenes, seeds), no missing cells.
        below: of the same scenes and seeds.
        level: wanted coverage.
    """
    if below.mean() == 0 or paired_interval(below, SURE).p > 1 - SURE:
        return Limits(reason=DOUBTFUL)

    def kept(ratios: Floats) -> Bools:
        """Whether each ratio is within the limits, (ratios,)."""
        found = estimates([above - ratios[:, None, None] * below])
        return np.asarray(np.abs(found.mean) <= found.reach(level))

    point = float(above.mean() / below.mean())
    sides = [_farthest(kept, point, sign) for sign in (-1.0, 1.0)]
    if not all(map(math.isfinite, sides)):
        return Limits(reason="no interval: no ratio is excluded")
    return Limits(low=sides[0], high=sides[1], kind=kind_of(above.shape[1]))


def _farthest(kept: Callable[[Floats], Bools], point: float, sign: float) -> float:
    """The farthest ratio in this direction that is kept, from a point that is; infinite: none is excluded.

    Degrees of freedom change with the ratio, so that what is kept need not be in one piece: it is looked for on a
    geometric grid up to `FARTHEST`, and from the last point on it that is kept, halved down to the border, five times
    at once.
    """
    steps = np.concatenate([[0.0], np.geomspace(1e-3, FARTHEST, 26)])
    inside = np.flatnonzero(kept(point + sign * steps[1:])) + 1
    last = int(inside[-1]) if inside.size else 0
    if last == len(steps) - 1:
        return sign * math.inf
    low, high = float(steps[last]), float(steps[last + 1])
    for _ in range(6):
        between = np.array([low, high])
        for _ in range(5):
            between = np.insert(between, np.arange(1, len(between)), (between[:-1] + between[1:]) / 2)
        outside = np.flatnonzero(~kept(point + sign * between[1:-1]))
        first = int(outside[0]) + 1 if outside.size else len(between) - 1
        low, high = float(between[first - 1]), float(between[first])
    return point + sign * high
