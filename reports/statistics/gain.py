"""Retained gain: the share of the gain of the longest over the shortest row that a compact row keeps.

(row − shortest) / (longest − shortest) in one metric, with a percentile interval from the resamples; only if the
interval of the denominator excludes 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import LEVEL, complete, interval_or_none
from reports.statistics.panel import Panel
from reports.statistics.resampling import Draws, limits


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
    draws: Draws | None,
) -> dict[str, Gain]:
    """Retained gain of every row of `compact` (distinct rows).

    Without case values (`draws` None) the ratio of the means is given as it stands.
    """
    by_row = means.get(metric, {})
    if shortest not in by_row or longest not in by_row:
        reason = f"{metric} of {shortest} or {longest} is missing"
        return {row: Gain(value=None, reason=reason) for row in compact}
    whole = by_row[longest] - by_row[shortest]
    reason = _undefined(metric, shortest, longest, whole, panels, draws)
    found = {}
    for row in compact:
        if row not in by_row:
            found[row] = Gain(value=None, reason=f"{metric} is missing")
        elif reason:
            found[row] = Gain(value=None, reason=reason)
        else:
            found[row] = _gain(metric, row, shortest, longest, (by_row[row] - by_row[shortest]) / whole, draws)
    return found


def _undefined(
    metric: str, shortest: str, longest: str, whole: float, panels: Mapping[str, Panel], draws: Draws | None
) -> str:
    """Why no ratio can be given; empty where it can."""
    if whole == 0:
        return f"{longest} gains nothing over {shortest}"
    if draws is None:
        return ""
    panel = panels[metric]
    cut = complete([panel.layout(longest), panel.layout(shortest)])
    interval = interval_or_none(cut.layouts[0] - cut.layouts[1])
    if interval is None or interval.low <= 0 <= interval.high:
        return f"the gain of {longest} over {shortest} is not significantly different from 0"
    return ""


def _gain(metric: str, row: str, shortest: str, longest: str, value: float, draws: Draws | None) -> Gain:
    if draws is None:
        return Gain(value=value, reason="no interval: there are means alone, no cases")
    drawn = draws.of((row, shortest, longest)).metrics[metric]
    below = drawn[:, 2] - drawn[:, 1]
    ratio = np.divide(drawn[:, 0] - drawn[:, 1], below, out=np.full(below.shape, np.nan), where=below != 0)
    found = limits(ratio, LEVEL)
    if found is None:
        return Gain(value=value, reason="no interval: under half of the resamples have a value")
    return Gain(value=value, low=found[0], high=found[1])
