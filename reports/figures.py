"""The figures, as SVG that takes its colours from the page.

matplotlib draws with placeholder colours; `_themed` turns them into the page's CSS variables, so
that one drawing serves light and dark. The bytes depend on the values alone.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from reports.analysis import Analysis
from reports.bounds import levels
from reports.input import Curve
from reports.statistics.agreement import pearson
from reports.statistics.intervals import LEVEL
from reports.statistics.panel import row_label
from reports.statistics.resampling import limits
from reports.statistics.scores import normalised
from reports.statistics.table import Table, branch_ranks

COLOURS: Mapping[str, str] = {
    "context": "#0a0b01",
    "compress": "#0a0b02",
    "spatial": "#0a0b03",
    "ssm": "#0a0b04",
    "ink": "#0a0b05",
    "soft": "#0a0b06",
    "line": "#0a0b07",
    "paper": "#0a0b08",
}
"""Placeholders: each becomes `var(--name)`."""

MARKERS: Mapping[str, str] = {"context": "o", "compress": "s", "spatial": "^", "ssm": "D"}

STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "echo-matrix",
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": COLOURS["ink"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.5,
}


def drawn(width: float, height: float, draw: Callable[[Figure], None]) -> str:
    """An inline `<svg>` of `width` × `height` inches with what `draw` puts on the figure."""
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(out.getvalue())


def normalised_branches(table: Table, family: Mapping[str, str]) -> str:
    """Per row its normalised replay and return scores, joined by a line: how far apart the branches see it."""
    replay, back = (normalised(table.scores[branch]) for branch in ("replay", "return"))
    order = sorted(range(len(table.rows)), key=lambda i: (np.nan_to_num(back[i], nan=-1.0), i))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, i in enumerate(order):
            colour = COLOURS[family[table.rows[i]]]
            if np.isfinite(replay[i]) and np.isfinite(back[i]):
                axes.plot([replay[i], back[i]], [place, place], color=colour, linewidth=2.2, alpha=0.35)
            axes.plot(
                replay[i],
                place,
                "o",
                markersize=7,
                markerfacecolor=COLOURS["paper"],
                markeredgecolor=colour,
                markeredgewidth=1.8,
            )
            axes.plot(back[i], place, "o", markersize=8, color=colour)
        axes.set_yticks(range(len(order)), [table.rows[i] for i in order], color=COLOURS["ink"])
        axes.set_xlim(-0.05, 1.05)
        axes.set_xlabel("normalised over the rows of the table:  ○ replay   ● return")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)

    return drawn(6.4, 0.9 + 0.36 * len(order), draw)


def scatter(table: Table, family: Mapping[str, str], labels: tuple[str, str]) -> str:
    """Return against replay, a point a row, with r."""
    x, y = table.scores["replay"], table.scores["return"]
    spread = _spread(table)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for i, row in enumerate(table.rows):
            if np.isfinite(x[i]) and np.isfinite(y[i]):
                _point(axes, x[i], y[i], family[row], spread.get(row))
        _label_points(axes, [(x[i], y[i], row) for i, row in enumerate(table.rows)])
        r = float(pearson(x, y))
        axes.set_title(f"r = {r:.2f}" if math.isfinite(r) else "r is not defined", loc="left", fontsize=11)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.margins(0.14)

    return drawn(6.4, 4.3, draw)


def rank_slopes(table: Table, family: Mapping[str, str]) -> str:
    """Ranks on replay at the left, on return at the right; a steep line is a row the branches disagree on."""
    place = branch_ranks(table)
    rows = [i for i in range(len(table.rows)) if np.isfinite(place["replay"][i])]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for i in rows:
            a, b = float(place["replay"][i]), float(place["return"][i])
            colour, weight = COLOURS[family[table.rows[i]]], 1.4 + 0.35 * abs(a - b)
            axes.plot(
                [0, 1],
                [a, b],
                color=colour,
                linewidth=weight,
                marker="o",
                markersize=6,
                markeredgecolor=COLOURS["paper"],
                solid_capstyle="round",
            )
        for at, branch, side in ((-0.05, "replay", "right"), (1.05, "return", "left")):
            for value in sorted({float(place[branch][i]) for i in rows}):
                tied = [table.rows[i] for i in rows if place[branch][i] == value]
                name = ", ".join(tied)
                text = f"{name}   {value:.0f}" if side == "right" else f"{value:.0f}   {name}"
                axes.text(at, value, text, ha=side, va="center", fontsize=9.5)
        axes.set_xlim(-0.95, 1.95)
        axes.set_ylim(len(table.rows) + 0.6, 0.3)
        axes.set_xticks([0, 1], ["replay rank", "return rank"])
        axes.xaxis.tick_top()
        axes.set_yticks([])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)

    return drawn(6.4, 0.8 + 0.4 * len(rows), draw)


def context_scaling(analysis: Analysis, rows: Sequence[tuple[int, str]], metrics: Sequence[tuple[str, str]]) -> str:
    """Metrics against K over the context rows, with intervals; dashed: ceiling and floor, where they are known.

    Args:
        analysis: of the study.
        rows: (K, label) of the context rows.
        metrics: (`branch/metric`, axis label), a panel each.
    """

    def draw(figure: Figure) -> None:
        for axes, (metric, label) in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
            points = [
                (k, analysis.means.get(metric, {}).get(analysis.computed_by[row]), analysis.interval(metric, row))
                for k, row in rows
            ]
            known = [(i, k, mean, interval) for i, (k, mean, interval) in enumerate(points) if mean is not None]
            axes.plot(
                [i for i, *_ in known], [mean for _, _, mean, _ in known], color=COLOURS["context"], linewidth=1.6
            )
            for i, _, mean, interval in known:
                half = None if interval is None else (interval.high - interval.low) / 2
                _point(axes, float(i), mean, "context", None if half is None else (0.0, 0.0, half, half))
            for name, level in levels(analysis, metric):
                axes.axhline(level, color=COLOURS["soft"], linewidth=1.0, linestyle=(0, (4, 3)))
                axes.text(len(points) - 0.62, level, name, ha="right", va="bottom", fontsize=8, color=COLOURS["soft"])
            axes.set_xticks(range(len(points)), [f"K={k}" for k, *_ in points])
            axes.set_xlim(-0.4, len(points) - 0.6)
            axes.set_title(label, loc="left", fontsize=10)
            axes.grid(visible=False, axis="x")

    return drawn(2.6 * len(metrics) + 0.4, 2.7, draw)


def quality_against_cost(analysis: Analysis, table: Table, family: Mapping[str, str], label: str) -> str:
    """Return score against the price of a row."""
    points = [
        (analysis.price[row], float(table.scores["return"][i]), row)
        for i, row in enumerate(table.rows)
        if row in analysis.price and np.isfinite(table.scores["return"][i])
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for x, y, row in points:
            _point(axes, x, y, family[row], None)
        _label_points(axes, points)
        axes.set_xlabel(analysis.price_name)
        axes.set_ylabel(label)
        axes.margins(0.16)

    return drawn(6.4, 3.9, draw)


def loss_curves(curves: Sequence[Curve], family: Mapping[str, str]) -> str:
    """Training loss of every cell, smoothed for the eye (running mean over a fiftieth of the curve)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name in MARKERS:
            axes.plot([], [], color=COLOURS[name], linewidth=2, label=name)
        for curve in curves:
            label = row_label(curve.row, curve.axes)
            values = np.asarray(curve.values, dtype=np.float64)
            if values.size == 0:
                continue
            window = max(1, values.size // 50)
            smooth = np.convolve(values, np.full(window, 1 / window), mode="valid")
            axes.plot(curve.steps[window - 1 :], smooth, color=COLOURS[family[label]], linewidth=1.0, alpha=0.7)
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False, ncols=4, loc="upper right", labelcolor=COLOURS["soft"])
        axes.grid(visible=False, axis="x")

    return drawn(9.0, 3.0, draw)


Spread = tuple[float, float, float, float]


def _spread(table: Table) -> dict[str, Spread]:
    """Distances from a row's scores to their limits over resamples: left, right, down, up."""
    if table.draws is None:
        return {}
    found = {}
    for i, row in enumerate(table.rows):
        sides = [limits(table.draws[branch][:, i], LEVEL) for branch in ("replay", "return")]
        if sides[0] is not None and sides[1] is not None:
            (left, right), (down, up) = sides[0], sides[1]
            x, y = table.scores["replay"][i], table.scores["return"][i]
            found[row] = (max(0.0, x - left), max(0.0, right - x), max(0.0, y - down), max(0.0, up - y))
    return found


def _point(axes: Any, x: float, y: float, family: str, spread: Spread | None) -> None:
    colour = COLOURS[family]
    if spread is not None:
        left, right, down, up = spread
        axes.errorbar(
            [x], [y], xerr=[[left], [right]], yerr=[[down], [up]], fmt="none", ecolor=colour, elinewidth=1.1, alpha=0.4
        )
    axes.plot([x], [y], MARKERS[family], color=colour, markersize=8, markeredgecolor=COLOURS["paper"], zorder=3)


def _label_points(axes: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Names beside their points: right of them in the left half, left of them in the right; near ones apart."""
    known = [(float(x), float(y), name) for x, y, name in points if np.isfinite(x) and np.isfinite(y)]
    if not known:
        return
    xs, ys = np.array([x for x, _, _ in known]), np.array([y for _, y, _ in known])
    middle = (xs.min() + xs.max()) / 2
    step = (ys.max() - ys.min() or 1.0) * 0.055
    taken: dict[str, list[float]] = {"left": [], "right": []}
    for x, y, name in sorted(known, key=lambda point: point[1]):
        side = "left" if x <= middle else "right"
        at = max([y, *(other + step for other in taken[side][-1:])])
        taken[side].append(at)
        axes.annotate(
            name,
            (x, at),
            xytext=(8 if side == "left" else -8, 6),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=9,
        )


def _themed(svg: str) -> str:
    """The `<svg>` element alone, with CSS variables for colours and the page's font."""
    svg = svg[svg.index("<svg") :]
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    # Several drawings share one page: group ids would be doubled, and nothing refers to them.
    svg = re.sub(r"<g id=\"[^\"]*\"", "<g", svg)
    svg = re.sub(r"(<svg[^>]*?) height=\"[^\"]*\"", r"\1", svg, count=1)
    return re.sub(r"(<svg[^>]*?) width=\"[\d.]+pt\"", r"\1", svg, count=1)
