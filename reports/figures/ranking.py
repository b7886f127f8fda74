"""Ranking of all rows on two branches: scores with intervals at either side, the change of rank between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reports.figures.labels import MOST_LETTERS, shortened
from reports.figures.style import INK, PAPER, SOFT, FamilyLook, drawn
from reports.formats import number
from reports.ranking import RankedBranch, Ranking

MOST_ROWS = 30
"""Rows that are drawn, the best ones on the last branch; with more, names would be too small to read."""
MOST_IN_TITLE = 60
"""Letters of a title."""
FAR = 1.0
"""A floor or ceiling is drawn where it is no farther from the rows than so many times their range."""
LINE_HEIGHT = 0.185  # inches


def drawn_rows(found: Ranking) -> list[str]:
    """The rows that are drawn, best on the last branch first, then those that have no score on it."""
    last = found.last.order
    others = [row for branch in found.branches[:-1] for row in branch.order if row not in found.last.scores]
    return [*last, *others][:MOST_ROWS]


def ranking_chart(found: Ranking, looks: Mapping[str, FamilyLook], titles: Sequence[str]) -> str:
    """The chart; empty where under two rows have a score on the last branch.

    Args:
        found: the ranking.
        looks: of every row.
        titles: of each branch's side.
    """
    rows = drawn_rows(found)
    if len(found.last.order) < 2:
        return ""
    orders = [[row for row in branch.order if row in rows] for branch in found.branches]
    lines = max(map(len, orders))
    sure = {row for pair in found.sure for row in (pair.better_on_first, pair.better_on_second)}

    def draw(figure: Figure) -> None:
        two = len(found.branches) > 1
        panels = figure.subplots(1, 3 if two else 1, width_ratios=[2, 1.15, 2] if two else None, squeeze=False)[0]
        sides = [panels[0], panels[2]] if two else [panels[0]]
        for axes, branch, order, title, side in zip(
            sides, found.branches, orders, titles, ("left", "right") if two else ("left",), strict=True
        ):
            _side(axes, branch, order, looks, found, side)
            # Towards the names, so that the titles of both sides never meet.
            outwards = "right" if two and side == "left" else "left"
            axes.set_title(shortened(title, MOST_IN_TITLE, len), loc=outwards, fontsize=9.5, color=INK, pad=16)
            axes.set_ylim(lines - 0.4, -0.6)
        if two:
            _slopes(panels[1], orders, looks, sure)
            panels[1].set_ylim(lines - 0.4, -0.6)

    return drawn(8.3 if len(found.branches) > 1 else 6.4, 0.75 + LINE_HEIGHT * lines, draw)


def _side(
    axes: Any, branch: RankedBranch, order: Sequence[str], looks: Mapping[str, FamilyLook], found: Ranking, side: str
) -> None:
    for place, row in enumerate(order):
        colour, marked = looks[row].colour, branch is found.last and bool(found.best.mark(row))
        if row in branch.limits:
            axes.plot(branch.limits[row], [place, place], color=colour, linewidth=1.6, alpha=0.5)
        axes.plot(
            branch.scores[row],
            place,
            looks[row].marker,
            markersize=6,
            markerfacecolor=colour if marked or branch is not found.last else PAPER,
            markeredgecolor=colour,
            markeredgewidth=1.5,
        )
    values = [number(branch.scores[row], branch.decimals) for row in order]
    short = [shortened(row, MOST_LETTERS, len) for row in order]
    names = [
        f"{row}  {value}" if side == "left" else f"{value}  {row}" for row, value in zip(short, values, strict=True)
    ]
    axes.set_yticks(range(len(order)), names, color=INK, fontsize=8.5)
    if side == "right":
        axes.yaxis.tick_right()
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=False, axis="y")
    for spine in ("left", "right"):
        axes.spines[spine].set_visible(False)
    if branch.better == "low":
        axes.invert_xaxis()
    _ends(axes, branch, order)


def _ends(axes: Any, branch: RankedBranch, order: Sequence[str]) -> None:
    """Lines at floor and ceiling, where they are near the rows."""
    values = np.array([value for row in order for value in branch.limits.get(row, (branch.scores[row],))])
    if not values.size:  # no row has a score on this branch
        return
    low, high = float(values.min()), float(values.max())
    for name, level in (("floor", branch.floor), ("ceiling", branch.ceiling)):
        if level is not None and low - FAR * (high - low) <= level <= high + FAR * (high - low):
            axes.axvline(level, color=SOFT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
            axes.annotate(
                name,
                (level, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                color=SOFT,
            )


def _slopes(axes: Any, orders: Sequence[Sequence[str]], looks: Mapping[str, FamilyLook], sure: set[str]) -> None:
    places = [{row: place for place, row in enumerate(order)} for order in orders]
    for row in (row for row in places[0] if row in places[1]):  # a set has another order in each process
        axes.plot(
            [0, 1],
            [places[0][row], places[1][row]],
            color=looks[row].colour,
            linewidth=2.6 if row in sure else 1.3,
            alpha=1.0 if row in sure else 0.75,
            solid_capstyle="round",
        )
    axes.set_xlim(-0.02, 1.02)
    axes.axis("off")
