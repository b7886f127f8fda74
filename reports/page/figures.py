"""Which figures the page has."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from reports.analysis import Analysis, price_of
from reports.figures import branches, scaling, training
from reports.figures.frontier import quality_against_size
from reports.figures.style import FamilyLook
from reports.formats import shown_unit
from reports.frontier import Frontier
from reports.input import ReportInput
from reports.page import figure_data
from reports.page.data_links import Behind
from reports.ranking import Ranking
from reports.spec import ScalingFigure
from reports.statistics.scores import Scoring, bundle_name
from reports.statistics.table import Table

REFERENCE = "reference"
"""CSS class of reference rows."""


def _score_name(analysis: Analysis, branch: str) -> str:
    """A branch's score as an axis names it; a metric of which less is better is drawn negated."""
    found = analysis.scoring.of(branch)
    if len(found.score) != 1:
        return f"{branch}: {bundle_name(found, analysis.means.keys())}"
    part = found.score[0]
    metric, sign = f"{branch}/{part.metric}", "\N{MINUS SIGN}" if part.better == "low" else ""
    panel = analysis.panels.get(metric)
    unit = panel.unit if panel is not None else analysis.units.get(metric, "")
    return f"{branch}: {sign}{part.metric}" + (f" ({shown_unit(unit)})" if unit else "")


def page_figures(
    given: ReportInput,
    analysis: Analysis,
    looks: Mapping[str, FamilyLook],
    sized: Frontier | None,
    ranked: Ranking | None,
) -> Mapping[str, Markup]:
    """The figures by name; empty where there is nothing to draw."""
    rows = looks_of_rows(analysis, looks)
    found = dict.fromkeys(("normalised", "scatter", "ranks", "cost", "loss", "frontier"), "")
    table, contrast = analysis.tables.get(analysis.main), analysis.scoring.contrast
    found |= of_contrast(analysis, rows)
    if table is not None and contrast is not None and found["scatter"]:
        found["normalised"] = branches.normalised_branches(table, rows, contrast)
    price, name = price_of_all(analysis, ranked)
    if ranked is not None and sum(row in price for row in ranked.last.order) >= 2:
        label = _score_name(analysis, ranked.last.branch)
        found["cost"] = training.quality_against_cost(ranked.last, price, name, rows, label)
    if sized is not None:
        found["frontier"] = quality_against_size(sized, rows)
    if given.curves:
        families = {name: looks[name] for name in dict.fromkeys(r.family for r in analysis.rows if not r.reference)}
        family_of = {row.label: row.family for row in analysis.rows}
        found["loss"] = training.loss_curves(given.curves, families, family_of, analysis.spec.family_labels)
    return {name: Markup(svg) for name, svg in found.items()}


def price_of_all(analysis: Analysis, ranked: Ranking | None) -> tuple[Mapping[str, float], str]:
    """The price of each distinct row and its name."""
    return ({}, "") if ranked is None else price_of(analysis.spec, ranked.rows, analysis.costs)


def figures_data(given: ReportInput, analysis: Analysis, ranked: Ranking | None) -> Mapping[str, Behind | None]:
    """What is behind the figures, by name."""
    price, name = price_of_all(analysis, ranked)
    return {
        "branches": figure_data.of_branches(analysis),
        "cost": None if ranked is None else figure_data.of_cost(ranked.last, price, name),
        "loss": figure_data.of_curves(given),
        **{f"scaling {one.title}": figure_data.of_scaling(analysis, one) for one in analysis.spec.scaling},
        **{f"groups {one.title}": figure_data.of_groups(analysis, one) for one in analysis.spec.group_curves},
    }


def of_contrast(analysis: Analysis, rows: Mapping[str, FamilyLook]) -> dict[str, str]:
    """Scatter and ranks of the main table; none where under two rows have both scores."""
    table, contrast = analysis.tables.get(analysis.main), analysis.scoring.contrast
    if table is None or contrast is None or _scored(table) < 2:
        return {}
    labels = (_score_name(analysis, contrast[0]), _score_name(analysis, contrast[1]))
    return {
        "scatter": branches.scatter(
            table, rows, contrast, labels, branches.spreads(table, contrast, analysis.computed_by, analysis.panels)
        ),
        "ranks": branches.rank_slopes(table, rows, contrast),
    }


def scalings(analysis: Analysis, looks: Mapping[str, FamilyLook]) -> list[tuple[ScalingFigure, Markup]]:
    """The scaling figures that have at least two rows, over the axes' values of the main table."""
    rows, suffix = looks_of_rows(analysis, looks), analysis.main.partition("/")[2]
    drawn = [(figure, scaling.scaling(analysis, figure, rows, suffix)) for figure in analysis.spec.scaling]
    return [(figure, Markup(svg)) for figure, svg in drawn if svg]


def looks_of_rows(analysis: Analysis, looks: Mapping[str, FamilyLook]) -> dict[str, FamilyLook]:
    """Label -> how the row is drawn; reference rows are not."""
    return {row.label: looks[row.family] for row in analysis.rows if not row.reference}


def row_css(analysis: Analysis, looks: Mapping[str, FamilyLook]) -> dict[str, str]:
    """Label -> CSS class of its family's colour."""
    return {row.label: REFERENCE if row.reference else looks[row.family].css for row in analysis.rows}


def quality_branch(scoring: Scoring) -> str:
    """The branch whose score is set against cost: the second of the contrast."""
    return scoring.ranked[-1] if scoring.ranked else ""


def _scored(table: Table) -> int:
    """Rows that have a score on every ranked branch."""
    ranked = table.scoring.ranked
    if not ranked:
        return 0
    return int(np.logical_and.reduce([np.isfinite(table.scores[branch]) for branch in ranked]).sum())
