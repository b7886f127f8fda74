"""Cost and training: quality against price, loss curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from reports.analysis import Analysis
from reports.figures.labels import names_beside
from reports.figures.style import SOFT, FamilyLook, drawn, point
from reports.input import Curve
from reports.statistics.panel import row_label
from reports.statistics.table import Table


def quality_against_cost(
    analysis: Analysis, table: Table, looks: Mapping[str, FamilyLook], branch: str, label: str
) -> str:
    """A branch's score against the price of a row."""
    points = [
        (analysis.price[row], float(table.scores[branch][i]), row)
        for i, row in enumerate(table.rows)
        if row in analysis.price and np.isfinite(table.scores[branch][i])
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for x, y, row in points:
            point(axes, x, y, looks[row], None)
        names_beside(axes, points)
        axes.set_xlabel(analysis.price_name)
        axes.set_ylabel(label)
        axes.margins(0.16)

    return drawn(6.4, 3.9, draw)


def loss_curves(curves: Sequence[Curve], families: Mapping[str, FamilyLook], looks: Mapping[str, FamilyLook]) -> str:
    """Training loss of every cell, smoothed for the eye (running mean over a fiftieth of the curve)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, look in families.items():
            axes.plot([], [], color=look.colour, linewidth=2, linestyle=look.dash, label=name)
        for curve in curves:
            label = row_label(curve.row, curve.axes)
            values = np.asarray(curve.values, dtype=np.float64)
            if values.size == 0:
                continue
            window = max(1, values.size // 50)
            smooth = np.convolve(values, np.full(window, 1 / window), mode="valid")
            look = looks[label]
            axes.plot(
                curve.steps[window - 1 :], smooth, color=look.colour, linestyle=look.dash, linewidth=1.0, alpha=0.7
            )
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False, ncols=4, loc="upper right", labelcolor=SOFT)
        axes.grid(visible=False, axis="x")

    return drawn(9.0, 3.0, draw)
