"""Metrics against a number that is the group of a case."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures.style import SOFT, FamilyLook, drawn
from reports.group_results import numbers_of, shown
from reports.groups import grouped
from reports.references import levels
from reports.spec import GroupCurves

FLOOR_LINE = (0, (4, 3))
SHIFT = 0.005
"""Of the axis, between the limits of two rows at one number."""
NAME_HEIGHT, NAME_WIDTH = 0.055, 0.45
"""Of the axes, for the name of a row."""


def group_curves(analysis: Analysis, curves: GroupCurves, looks: Mapping[str, FamilyLook]) -> str:
    """A line for each row with limits, over log2 of the number + 1; dashed: the floor and the reference rows.

    Empty where under two numbers were measured.

    Args:
        analysis: of the study.
        curves: which branch and metrics.
        looks: of every row.
    """
    panels = [
        (metric, title) for metric, title in shown(analysis, curves) if len(numbers_of(analysis, curves, metric)) > 1
    ]
    if not panels:
        return ""

    def draw(figure: Figure) -> None:
        for axes, (metric, title) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
            numbers = numbers_of(analysis, curves, metric)
            places = np.log2(np.asarray(numbers, dtype=np.float64) + 1)
            width = float(places[-1] - places[0])
            ends: list[tuple[float, float, str]] = []
            for nth, row in enumerate(_rows(analysis)):
                look, at = looks[row], places + nth * SHIFT * width
                names = [grouped(f"{curves.branch}/{metric}", str(number)) for number in numbers]
                means = [analysis.mean(name, row) for name in names]
                known = [i for i, mean in enumerate(means) if mean is not None]
                floor = row.partition("/")[0] == curves.floor
                heights = [float(means[i] or 0.0) for i in known]
                style = FLOOR_LINE if floor else "solid"
                axes.plot(at[known], heights, color=look.colour, linewidth=1.6, linestyle=style)
                axes.plot(at[known], heights, look.marker, color=look.colour, markersize=5)
                for i, height in zip(known, heights, strict=True):
                    limits = analysis.limits(names[i], row)
                    if limits is not None:
                        axes.plot([at[i], at[i]], limits, color=look.colour, linewidth=1.1, alpha=0.4)
                    if i == known[-1]:
                        ends.append((float(at[i]), height, row))
            for name, level in levels(analysis, grouped(f"{curves.branch}/{metric}", str(numbers[0]))):
                axes.axhline(level, color=SOFT, linewidth=1.0, linestyle=FLOOR_LINE)
                axes.text(places[0], level, name, ha="left", va="bottom", fontsize=8, color=SOFT)
            axes.set_xlim(places[0] - 0.05 * width, places[-1] + NAME_WIDTH * width)
            _label(axes, ends)
            axes.set_xticks(places, [str(number) for number in numbers])
            axes.set_xlabel(curves.axis)
            axes.set_title(title, loc="left", fontsize=10)
            axes.grid(visible=False, axis="x")

    return drawn(4.4 * len(panels) + 0.4, 3.6, draw)


def _label(axes: Any, ends: Sequence[tuple[float, float, str]]) -> None:
    """Names to the right of the lines' ends, apart from each other."""
    low, high = axes.get_ylim()
    step, at = (high - low) * NAME_HEIGHT, -np.inf
    for x, y, name in sorted(ends, key=lambda end: end[1]):
        at = max(y, at + step)
        axes.annotate(name, (x, at), xytext=(8, 0), textcoords="offset points", ha="left", va="center", fontsize=8)


def _rows(analysis: Analysis) -> list[str]:
    """Distinct rows that are no ceiling or floor."""
    return [row.label for row in analysis.rows if not row.reference and row.computed_by == row.label]
