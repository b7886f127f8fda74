"""Cost and training: quality against price, loss curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from reports.figures.labels import MOST_LETTERS, ends, names_beside, names_in_column, shortened
from reports.figures.style import INK, FamilyLook, Spread, drawn, points
from reports.input import Curve
from reports.ranking import RankedBranch
from reports.statistics.panel import Floats, row_label

ENG_FROM = 10_000.0
"""Price from which on ticks have letters for powers of a thousand."""
PANELS = 2
"""Beside each other."""
DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)))
"""Of the rows of a family, in turn."""
MOST_POINTS, ALL_POINTS, FEWEST_POINTS = 100, 8000, 20
"""Of a line after smoothing, where more cannot be seen; of all lines together; and of a line at the least."""
NAMED = 1.45
"""How much longer than the curves the axis is, for the names."""
MOST_ROWS = 16
"""Rows of a panel; of more, those whose loss ends lowest and highest are drawn."""


def quality_against_cost(
    branch: RankedBranch, price: Mapping[str, float], name: str, looks: Mapping[str, FamilyLook], label: str
) -> str:
    """A branch's score against the price of a row."""
    rows = [row for row in branch.order if row in price]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        drawn_rows: list[tuple[float, float, FamilyLook, Spread | None]] = []
        for row in rows:
            low, high = branch.limits.get(row, (branch.scores[row], branch.scores[row]))
            spread = (0.0, 0.0, branch.scores[row] - low, high - branch.scores[row])
            drawn_rows.append((price[row], branch.scores[row], looks[row], spread))
        points(axes, drawn_rows)
        names_beside(axes, [(price[row], branch.scores[row], row) for row in rows])
        if branch.better == "low":
            axes.invert_yaxis()
        if max(price[row] for row in rows) >= ENG_FROM:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel(name)
        axes.set_ylabel(label)
        axes.margins(0.16)

    return drawn(9.0, 3.9, draw)


def loss_curves(
    curves: Sequence[Curve], families: Mapping[str, FamilyLook], family_of: Mapping[str, str], names: Mapping[str, str]
) -> str:
    """Training loss, a panel a family and a line a row: the mean over its seeds, with a band from least to most.

    Args:
        curves: of every cell.
        families: how each is drawn.
        family_of: row -> family.
        names: family -> its name for people, if different.
    """
    by_row: dict[str, list[Curve]] = {}
    for curve in curves:
        if curve.values:
            by_row.setdefault(row_label(curve.row, curve.axes), []).append(curve)
    most = min(MOST_POINTS, max(FEWEST_POINTS, ALL_POINTS // max(1, len(by_row))))
    lines = {row: _mean_and_band(own, most) for row, own in by_row.items()}
    shown = [family for family in families if any(family_of[row] == family for row in lines)]
    if not shown:
        return ""
    down = -(-len(shown) // PANELS)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(down, min(PANELS, len(shown)), sharex=True, sharey=True, squeeze=False).flat
        for axes, family in zip(panels, shown, strict=False):
            every = [row for row in lines if family_of[row] == family]
            rows = ends(sorted(every, key=lambda row: float(lines[row][1][-1])), MOST_ROWS)
            rows = [row for row in every if row in rows]
            for place, row in enumerate(rows):
                steps, mean, low, high = lines[row]
                if len(by_row[row]) > 1:
                    axes.fill_between(steps, low, high, color=families[family].colour, alpha=0.13, linewidth=0)
                axes.plot(
                    steps,
                    mean,
                    color=families[family].colour,
                    linewidth=1.3,
                    linestyle=DASHES[place % len(DASHES)],
                )
            last = max(lines[row][0][-1] for row in rows)
            which = "" if len(rows) == len(every) else f": lowest and highest {len(rows) // 2} of {len(every)} rows"
            _style(axes, f"{shortened(names.get(family, family), MOST_LETTERS, len)}{which}")
            at = [(float(lines[row][1][-1]), row) for row in rows]
            names_in_column(axes, 1.01 * last, at, side="right", size=8, color=INK)
        longest = max(steps[-1] for steps, *_ in lines.values())
        for axes in list(panels)[len(shown) :]:
            axes.axis("off")
        for axes in figure.axes:
            axes.set_xlim(0, NAMED * longest)
            axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= longest])
        for axes in figure.axes[-min(PANELS, len(shown)) :]:
            axes.set_xlabel("training step")

    return drawn(9.0, 0.4 + 2.4 * down, draw)


def _style(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=False, axis="x")


def _mean_and_band(curves: Sequence[Curve], points: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Up to so many steps, and mean, least and most over seeds there; curves are running means over 2 % of them."""
    smooth = []
    for curve in curves:
        values = np.asarray(curve.values, dtype=np.float64)
        window = max(1, values.size // 50)
        kept = np.convolve(values, np.full(window, 1 / window), mode="valid")
        smooth.append((np.asarray(curve.steps[window - 1 :], dtype=np.float64), kept))
    shortest = min((own for own, _ in smooth), key=len)
    steps = shortest[np.unique(np.linspace(0, len(shortest) - 1, points).round().astype(int))]
    together = np.stack([np.interp(steps, own, values) for own, values in smooth])
    return steps, together.mean(axis=0), together.min(axis=0), together.max(axis=0)
