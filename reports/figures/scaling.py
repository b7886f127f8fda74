"""Metrics against a number that is part of the rows' names."""

import re
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures.labels import names_in_column
from reports.figures.style import SOFT, FamilyLook, drawn, point
from reports.references import levels
from reports.spec import ScalingFigure


def scaling(analysis: Analysis, figure_spec: ScalingFigure, looks: Mapping[str, FamilyLook], suffix: str) -> str:
    """Metrics against the number in the rows' names, with intervals; dashed: ceiling and floor. Empty: too few rows.

    Args:
        analysis: of the study.
        figure_spec: which rows and metrics.
        looks: of every row.
        suffix: values of the axes, as labels of the rows end in them.
    """
    rows = sorted(
        (int(named.group(1)), row.label)
        for row in analysis.rows
        if (named := re.fullmatch(figure_spec.rows, row.label.partition("/")[0]))
        and row.label.partition("/")[2] == suffix
    )
    declared = [(analysis.metric_of(name), label) for name, label in figure_spec.metrics]
    metrics = [(metric, analysis.titled(label, metric)) for metric, label in declared if metric in analysis.means]
    if len(rows) < 2 or not metrics:
        return ""
    own = looks[rows[0][1]]

    def draw(figure: Figure) -> None:
        for axes, (metric, label) in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
            points = [
                (k, analysis.means.get(metric, {}).get(analysis.computed_by[row]), analysis.interval(metric, row))
                for k, row in rows
            ]
            known = [(i, k, mean, interval) for i, (k, mean, interval) in enumerate(points) if mean is not None]
            axes.plot([i for i, *_ in known], [mean for _, _, mean, _ in known], color=own.colour, linewidth=1.6)
            for i, _, mean, interval in known:
                half = None if interval is None else (interval.high - interval.low) / 2
                point(axes, float(i), mean, own, None if half is None else (0.0, 0.0, half, half))
            drawn_levels = [(level, name) for name, level in levels(analysis, metric)]
            for level, _ in drawn_levels:
                axes.axhline(level, color=SOFT, linewidth=1.0, linestyle=(0, (4, 3)))
            names_in_column(axes, len(points) - 0.62, drawn_levels, side="left", size=8, color=SOFT, above=True)
            axes.set_xticks(range(len(points)), [figure_spec.tick.format(k) for k, *_ in points])
            axes.set_xlim(-0.4, len(points) - 0.6)
            axes.set_title(label, loc="left", fontsize=10)
            axes.grid(visible=False, axis="x")

    return drawn(2.6 * len(metrics) + 0.4, 2.7, draw)
