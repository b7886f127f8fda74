"""Ceiling and floor: known frames scored by the code of every row, shown apart from the rows (study.md section 7).

They are no memories: they take no rank, stretch no min-max range, enter no agreement, finding, gain or price. What
they tell is on which measures a camera that stands still does well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.analysis import BOUND, Analysis
from reports.statistics.scores import BRANCHES
from reports.tables import MAIN, NAMES, digits, number

CEILING, FLOOR = "bound-truth", "bound-anchor"
"""What they show in matrix.yaml: the true frames; the first frame again and again."""

CAPPED_DB = 99.0
"""PSNR at or above this is that of equal frames (capped at 100 dB): a line there would squash any figure."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure with its ceiling and floor, and the best row beside them; texts, empty where missing."""

    branch: str
    name: str
    unit: str
    better: str
    ceiling: str
    floor: str
    best: str
    row: str
    """Which row is best."""
    rewards_standing_still: bool
    """Whether the camera that stands still does at least as well as the best row."""


def measures(analysis: Analysis) -> list[Measure]:
    """The main measures of all branches that have a ceiling or a floor."""
    found = []
    for branch in BRANCHES:
        for metric in MAIN:
            panel = analysis.panels.get(f"{branch}/{metric}")
            if panel is None:
                continue
            means = analysis.means[f"{branch}/{metric}"]
            ceiling, floor = (_mean(analysis, means, name) for name in (CEILING, FLOOR))
            rows = {r.label: means[r.label] for r in analysis.rows if r.family != BOUND and r.label in means}
            if (ceiling is None and floor is None) or not rows:
                continue
            best = (max if panel.better == "high" else min)(rows, key=lambda row: rows[row])
            apart = None if floor is None else (floor - rows[best]) * (1 if panel.better == "high" else -1)
            found.append(
                Measure(
                    branch=branch,
                    name=NAMES.get(metric, metric),
                    unit=panel.unit,
                    better=panel.better,
                    ceiling=number(ceiling, digits(metric)),
                    floor=number(floor, digits(metric)),
                    best=number(rows[best], digits(metric)),
                    row=best,
                    rewards_standing_still=apart is not None and apart >= 0,
                )
            )
    return found


def levels(analysis: Analysis, metric: str) -> list[tuple[str, float]]:
    """(name, mean) of ceiling and floor on `branch/metric`, for lines in figures; equal frames' PSNR left out."""
    means, panel = analysis.means.get(metric, {}), analysis.panels.get(metric)
    found = []
    for name, row in (("truth", CEILING), ("stands still", FLOOR)):
        mean = _mean(analysis, means, row)
        if mean is not None and not (panel is not None and panel.unit == "dB" and mean >= CAPPED_DB):
            found.append((name, mean))
    return found


def _mean(analysis: Analysis, means: Mapping[str, float], name: str) -> float | None:
    """Mean of a bound's value over the axes' values: it trains nothing, so they differ by nothing it reads."""
    labels: Sequence[str] = [r.label for r in analysis.rows if r.family == BOUND and r.label.split("/")[0] == name]
    known = [means[label] for label in labels if label in means]
    return float(np.mean(known)) if known else None
