"""What the figures of the page draw, as files: no point of a figure is without its number."""

import re
from collections.abc import Mapping

from reports.analysis import Analysis
from reports.group_results import numbers_of, shown
from reports.groups import grouped
from reports.input import ReportInput
from reports.page.data_links import Behind
from reports.ranking import RankedBranch
from reports.spec import GroupCurves, ScalingFigure
from reports.statistics.scores import normalised
from reports.statistics.table import branch_ranks
from reports.thinning import thinned

CURVE_POINTS = 4000
"""Points of all loss curves together."""
FEWEST_POINTS = 4
"""Of a curve."""


def of_branches(analysis: Analysis, name: str = "branches") -> Behind | None:
    """Scores, ranks and normalised scores of the main table's rows on both branches of the contrast."""
    table, contrast = analysis.tables.get(analysis.main), analysis.scoring.contrast
    if table is None or contrast is None:
        return None
    places = branch_ranks(table)
    headings = ["row"]
    for branch in contrast:
        headings += [f"{branch} score, more is better", f"{branch} rank", f"{branch} normalised"]
    scaled = {branch: normalised(table.scores[branch]) for branch in contrast}
    lines: list[list[str | float | None]] = []
    for i, row in enumerate(table.rows):
        line: list[str | float | None] = [row]
        for branch in contrast:
            line += [float(values[i]) for values in (table.scores[branch], places[branch], scaled[branch])]
        lines.append(line)
    return Behind(name=name, headings=headings, lines=lines)


def of_scaling(analysis: Analysis, figure: ScalingFigure) -> Behind:
    """Means and limits of the rows of a scaling figure."""
    suffix = analysis.main.partition("/")[2]
    lines: list[list[str | float | None]] = []
    for metric in dict.fromkeys(analysis.metric_of(name) for name, _ in figure.metrics):
        for row in analysis.rows:
            own, _, axes = row.label.partition("/")
            if axes == suffix and re.fullmatch(figure.rows, own) and analysis.mean(metric, row.label) is not None:
                limits = analysis.limits(metric, row.label) or (None, None)
                lines.append([row.label, metric, analysis.mean(metric, row.label), *limits])
    return Behind(name="scaling", headings=["row", "metric", "mean", "from", "to"], lines=lines)


def of_groups(analysis: Analysis, curves: GroupCurves) -> Behind:
    """Means and limits of the rows of a figure over groups of cases."""
    lines: list[list[str | float | None]] = []
    for metric, _ in shown(analysis, curves):
        for number in numbers_of(analysis, curves, metric):
            name = grouped(f"{curves.branch}/{metric}", str(number))
            for row in analysis.rows:
                mean = analysis.mean(name, row.label)
                if mean is not None:
                    limits = analysis.limits(name, row.label) or (None, None)
                    lines.append([row.label, f"{curves.branch}/{metric}", number, mean, *limits])
    return Behind(name=curves.branch, headings=["row", "metric", curves.axis, "mean", "from", "to"], lines=lines)


def of_cost(branch: RankedBranch, price: Mapping[str, float], name: str) -> Behind:
    """Price, score and limits of every row that has a price."""
    lines: list[list[str | float | None]] = [
        [row, price[row], branch.scores[row], *branch.limits.get(row, (None, None))]
        for row in branch.order
        if row in price
    ]
    return Behind(name="cost", headings=["row", name, f"{branch.branch} {branch.name}", "from", "to"], lines=lines)


def of_curves(given: ReportInput, most: int | None = CURVE_POINTS) -> Behind:
    """The training losses, each averaged over equal parts where all have more points together than `most`."""
    of_each = None if most is None else max(FEWEST_POINTS, most // max(1, len(given.curves)))
    lines: list[list[str | float | None]] = []
    for curve in given.curves:
        drawn = curve if of_each is None else thinned(curve, of_each)
        lines += [
            [curve.row, curve.axes, str(curve.seed), step, value]
            for step, value in zip(drawn.steps, drawn.values, strict=True)
        ]
    return Behind(name="loss", headings=["row", "axes", "seed", "step", "loss"], lines=lines)
