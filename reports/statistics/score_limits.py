"""Limits of each row's score on a branch: of a bundle with the ranges of its table held (`held_scores.py`)."""

from collections.abc import Mapping

import numpy as np

from reports.statistics.held_scores import held_scores
from reports.statistics.intervals import Interval, complete, interval_or_none
from reports.statistics.panel import Panel
from reports.statistics.scores import score_parts
from reports.statistics.table import Table


def score_limits(
    table: Table, branch: str, computed_by: Mapping[str, str], panels: Mapping[str, Panel]
) -> dict[str, tuple[float, float]]:
    """Row -> limits, in the unit of its score; without rows that have under two scenes.

    They are of the largest complete block of a row's scenes and seeds; where values are missing, that is not quite what
    its score is the mean of.
    """
    held = held_scores(table, branch, [computed_by[row] for row in table.rows], panels)
    if held is None:
        return {}
    parts = score_parts(table.scoring.of(branch), panels.keys())
    lowest = [np.nanmin(table.metrics[name]) for name, _ in parts]
    highest = [np.nanmax(table.metrics[name]) for name, _ in parts]
    # A bundle begins at its worst row: `held_scores` leaves that out, which is no matter for differences.
    start = 0.0
    for (_, better), low, high in zip(parts, lowest, highest, strict=True):
        if len(parts) > 1:
            spread = float(high - low)
            start += (0.5 * spread if spread <= 0 else 0.0) + (-low if better == "high" else high) / (spread or 1.0)
    start /= len(parts)
    found: dict[str, tuple[float, float]] = {}
    for row in table.rows:
        interval: Interval | None = interval_or_none(complete([held[computed_by[row]]]).layouts[0])
        if interval is not None:
            found[row] = (start + interval.low, start + interval.high)
    return found
