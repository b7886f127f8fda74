"""Two branches set against each other: scatter, rank shifts, normalised scores."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from reports.figures.labels import MOST_LETTERS, ends, names_beside, names_in_column, shortened
from reports.figures.style import INK, PAPER, FamilyLook, Spread, drawn, points
from reports.statistics.agreement import pearson
from reports.statistics.panel import Panel
from reports.statistics.score_limits import score_limits
from reports.statistics.scores import normalised
from reports.statistics.table import Table, branch_ranks

MOST_ROWS = 40
"""Rows of a figure with a line for each; of more, those at both ends are drawn."""


def normalised_branches(table: Table, looks: Mapping[str, FamilyLook], contrast: tuple[str, str]) -> str:
    """Per row its normalised scores on both branches, joined by a line: how far apart the branches see it."""
    first, second = (normalised(table.scores[branch]) for branch in contrast)
    every = sorted(range(len(table.rows)), key=lambda i: (np.nan_to_num(second[i], nan=-1.0), i))
    order = ends(every, MOST_ROWS)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, i in enumerate(order):
            colour = looks[table.rows[i]].colour
            if np.isfinite(first[i]) and np.isfinite(second[i]):
                axes.plot([first[i], second[i]], [place, place], color=colour, linewidth=2.2, alpha=0.35)
            axes.plot(
                first[i],
                place,
                "o",
                markersize=7,
                markerfacecolor=PAPER,
                markeredgecolor=colour,
                markeredgewidth=1.8,
            )
            axes.plot(second[i], place, "o", markersize=8, color=colour)
        axes.set_yticks(range(len(order)), [shortened(table.rows[i], MOST_LETTERS, len) for i in order], color=INK)
        axes.set_xlim(-0.05, 1.05)
        which = "" if len(order) == len(every) else f"\n{_which(order, every, contrast[1])}"
        axes.set_xlabel(f"normalised over the rows of the table:  ○ {contrast[0]}   ● {contrast[1]}{which}")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)

    return drawn(6.4, 0.9 + 0.36 * len(order), draw)


def scatter(
    table: Table,
    looks: Mapping[str, FamilyLook],
    contrast: tuple[str, str],
    labels: tuple[str, str],
    spread: Mapping[str, Spread],
) -> str:
    """The second branch against the first, a point a row, with r; `spread` has the rows' bars, as of `spreads`."""
    x, y = (table.scores[branch] for branch in contrast)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        there = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
        points(axes, [(x[i], y[i], looks[table.rows[i]], spread.get(table.rows[i])) for i in there])
        names_beside(axes, [(x[i], y[i], row) for i, row in enumerate(table.rows)])
        r = float(pearson(x, y))
        axes.set_title(f"r = {r:.2f}" if math.isfinite(r) else "r is not defined", loc="left", fontsize=11)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.margins(0.14)

    return drawn(6.4, 4.3, draw)


def rank_slopes(table: Table, looks: Mapping[str, FamilyLook], contrast: tuple[str, str]) -> str:
    """Ranks on the first branch at the left, on the second at the right; a steep line is a row they disagree on."""
    place = branch_ranks(table)
    first, second = contrast
    every = [i for i in range(len(table.rows)) if np.isfinite(place[first][i])]
    rows = sorted(ends(sorted(every, key=lambda i: float(place[second][i])), MOST_ROWS))
    # Of some rows, ranks would leave a void between them: they stand one below the other in their order.
    at = {branch: {i: float(place[branch][i]) for i in rows} for branch in contrast}
    if len(rows) < len(every):
        at = {branch: {i: y for y, i in enumerate(sorted(rows, key=of.__getitem__), 1)} for branch, of in at.items()}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if len(rows) < len(every):
            axes.set_xlabel(_which(rows, every, second))
        for i in rows:
            a, b = float(place[first][i]), float(place[second][i])
            look, weight = looks[table.rows[i]], 1.4 + min(0.35 * abs(a - b), 1.8)
            axes.plot(
                [0, 1],
                [at[first][i], at[second][i]],
                color=look.colour,
                linewidth=weight,
                linestyle=look.dash,
                marker=look.marker,
                markersize=6,
                markeredgecolor=PAPER,
                solid_capstyle="round",
            )
        left = [(at[first][i], f"{table.rows[i]}   {place[first][i]:g}") for i in rows]
        right = [(at[second][i], f"{place[second][i]:g}   {table.rows[i]}") for i in rows]
        names_in_column(axes, -0.05, left, side="left", size=9.5, color=INK)
        names_in_column(axes, 1.05, right, side="right", size=9.5, color=INK)
        axes.set_xlim(-0.95, 1.95)
        axes.set_ylim((len(table.rows) if len(rows) == len(every) else len(rows)) + 0.6, 0.3)
        axes.set_xticks([0, 1], [f"{first} rank", f"{second} rank"])
        axes.xaxis.tick_top()
        axes.set_yticks([])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)

    return drawn(6.4, 0.8 + 0.4 * len(rows), draw)


def _which(rows: Sequence[int], of: Sequence[int], branch: str) -> str:
    """What is said of rows that are not all."""
    return f"{len(rows)} of {len(of)} rows: the best and the worst {len(rows) // 2} on {branch}"


def spreads(
    table: Table, contrast: tuple[str, str], computed_by: Mapping[str, str], panels: Mapping[str, Panel]
) -> dict[str, Spread]:
    """Distances from a row's scores to their limits: left, right, down, up."""
    across, up = (score_limits(table, branch, computed_by, panels) for branch in contrast)
    found: dict[str, Spread] = {}
    for row in (row for row in table.rows if row in across and row in up):
        x, y = (table.score(branch, row) for branch in contrast)
        (left, right), (bottom, top) = across[row], up[row]
        found[row] = (max(0.0, x - left), max(0.0, right - x), max(0.0, y - bottom), max(0.0, top - y))
    return found
