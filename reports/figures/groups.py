"""Metrics against a number that is the group of a case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures.labels import names_in_column
from reports.figures.style import INK, SOFT, FamilyLook, drawn
from reports.group_results import numbers_of, shown
from reports.groups import grouped
from reports.references import levels
from reports.spec import GroupCurves

DASHED = (0, (4, 3))
BESIDE = 0.04
"""Of the axis: how far apart the points of all rows at one number may be."""
NEAR = 0.25
"""A reference row is drawn where it is so near the rows, in parts of their range: others would flatten them."""
NAME_WIDTH = 0.45
"""Of the axes, for the name of a row."""


@dataclass(frozen=True)
class Line:
    """One row: its means where it has any, by place among the numbers, with limits where they are known."""

    row: str
    means: Mapping[int, float]
    limits: Mapping[int, tuple[float, float]]


def group_curves(analysis: Analysis, curves: GroupCurves, looks: Mapping[str, FamilyLook]) -> str:
    """A line for each row with limits, over log2 of the number + 1; dashed: the floor, and reference rows near by.

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
            _panel(axes, analysis, curves, metric, looks)
            axes.set_xlabel(curves.axis)
            axes.set_title(title, loc="left", fontsize=10)
            axes.grid(visible=False, axis="x")

    return drawn(4.4 * len(panels) + 0.4, 3.6, draw)


def _panel(axes: Any, analysis: Analysis, curves: GroupCurves, metric: str, looks: Mapping[str, FamilyLook]) -> None:
    numbers = numbers_of(analysis, curves, metric)
    names = [grouped(f"{curves.branch}/{metric}", str(number)) for number in numbers]
    places = np.log2(np.asarray(numbers, dtype=np.float64) + 1)
    width = float(places[-1] - places[0])
    lines = _lines(analysis, names)
    beside = np.linspace(-0.5, 0.5, len(lines)) * BESIDE * width if len(lines) > 1 else np.zeros(1)
    for line, aside in zip(lines, beside, strict=True):
        look, at = looks[line.row], {i: float(places[i] + aside) for i in line.means}
        style = DASHED if line.row.partition("/")[0] == curves.floor else "solid"
        axes.plot(list(at.values()), list(line.means.values()), color=look.colour, linewidth=1.6, linestyle=style)
        axes.plot(list(at.values()), list(line.means.values()), look.marker, color=look.colour, markersize=5)
        for i, limits in line.limits.items():
            axes.plot([at[i], at[i]], limits, color=look.colour, linewidth=1.1, alpha=0.4)
    low, high = axes.get_ylim()
    near = [
        (level, name)
        for name, level in levels(analysis, names[0])
        if low - NEAR * (high - low) <= level <= high + NEAR * (high - low)
    ]
    for level, _ in near:
        axes.axhline(level, color=SOFT, linewidth=1.0, linestyle=DASHED)
    names_in_column(axes, float(places[0]), near, side="right", size=8, color=SOFT, above=True)
    axes.set_xlim(places[0] - 0.05 * width, places[-1] + NAME_WIDTH * width)
    axes.set_xticks(places, [str(number) for number in numbers])
    ends = [(line.means[max(line.means)], line.row) for line in lines]
    names_in_column(axes, float(places[-1] + 2 * BESIDE * width), ends, side="right", size=8, color=INK)


def _lines(analysis: Analysis, names: Sequence[str]) -> list[Line]:
    """The distinct rows with values, without ceilings and floors; `names`: the metric in each group."""
    found = []
    for row in (one.label for one in analysis.rows if not one.reference and one.computed_by == one.label):
        means = {i: mean for i, name in enumerate(names) if (mean := analysis.mean(name, row)) is not None}
        limits = {i: both for i in means if (both := analysis.limits(names[i], row)) is not None}
        if means:
            found.append(Line(row, means, limits))
    return found
