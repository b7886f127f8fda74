"""Tiles: the numbers at the top of the page."""

from dataclasses import dataclass

import numpy as np

from reports.analysis import Analysis
from reports.formats import number
from reports.input import ReportInput
from reports.statistics.agreement import kendall, pearson
from reports.statistics.intervals import complete, interval_or_none
from reports.statistics.panel import row_label
from reports.statistics.table import Table, inversions


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number at the top of the page."""

    value: str
    name: str
    detail: str


def tiles(given: ReportInput, analysis: Analysis) -> list[Tile]:
    """Agreement of the two branches, the differences that the study declares, and how complete the values are."""
    table, contrast = analysis.tables.get(analysis.main), analysis.scoring.contrast
    found = (
        []
        if table is None or contrast is None
        else [*_agreement(analysis, table, contrast), *_winners(table, contrast)]
    )
    return [*found, *_differences(analysis), _coverage(given, analysis)]


def _agreement(analysis: Analysis, table: Table, contrast: tuple[str, str]) -> list[Tile]:
    first, second = contrast
    r = float(pearson(table.scores[first], table.scores[second]))
    if not np.isfinite(r):
        return []
    detail = f"Kendall's τ {number(float(kendall(table.scores[first], table.scores[second])), 2)}"
    between = analysis.agreement_limits[analysis.main][contrast].pearson
    if between.low is not None and between.high is not None:
        detail = f"{number(between.low, 2)} to {number(between.high, 2)}, {between.kind}; {detail}"
    return [Tile(value=number(r, 2), name=f"r of {first} and {second} over the rows", detail=detail)]


def _winners(table: Table, contrast: tuple[str, str]) -> list[Tile]:
    first, second = contrast
    scores = table.scores
    if not all(np.isfinite(scores[branch]).any() for branch in contrast):
        return []
    best = {branch: table.rows[int(np.nanargmax(scores[branch]))] for branch in contrast}
    both = int((np.isfinite(scores[first]) & np.isfinite(scores[second])).sum())
    return [
        Tile(
            value=f"{len(inversions(table))} of {both * (both - 1) // 2}",
            name=f"pairs of rows change order between {first} and {second}",
            detail=f"best on {first}: {best[first]}; on {second}: {best[second]}".replace(
                "-", "\N{NON-BREAKING HYPHEN}"
            ),
        )
    ]


def _differences(analysis: Analysis) -> list[Tile]:
    """The differences between rows that the study declares."""
    suffix = analysis.main.partition("/")[2].replace("/", ";")
    found = []
    for tile in analysis.spec.tiles:
        metric = analysis.metric_of(tile.metric)
        panel = analysis.panels.get(metric)
        for row in tile.rows:
            labels = [row_label(name, suffix) for name in (row, tile.over)]
            a, b = (analysis.computed_by.get(label, label) for label in labels)
            if panel is None or a not in panel.rows or b not in panel.rows:
                continue
            cut = complete([panel.layout(a), panel.layout(b)])
            interval = interval_or_none(cut.layouts[0] - cut.layouts[1])
            if interval is not None:
                sign = "+" if interval.mean >= 0 else ""
                between = f"{number(interval.low, tile.decimals)} to {number(interval.high, tile.decimals)}"
                found.append(
                    Tile(
                        value=f"{sign}{number(interval.mean, tile.decimals)} {tile.unit}",
                        name=f"{analysis.titled(tile.name, metric)}, {row} over {tile.over}",
                        detail=f"{between} {tile.unit}, {interval.kind}",
                    )
                )
                break
    return found


def _coverage(given: ReportInput, analysis: Analysis) -> Tile:
    trained = [row.label for row in analysis.rows if not row.reference and row.computed_by == row.label]
    whole = analysis.everything or analysis
    counted = [whole.counted(name, row) for name in whole.panels for row in trained]
    there, total = sum(present for present, _ in counted), sum(expected for _, expected in counted)
    missing, excluded, outside = len(given.missing), len(given.excluded), len(given.outside)
    return Tile(
        value=f"{1000 * there // total / 10:g} %" if total else "0 %",
        name="of the values are there" + (" (metrics without any value are not counted)" if missing else ""),
        detail=(f"absent: {total - there}; " if there < total else "")
        + (f"{missing} results of cells are missing" if missing else "every cell is complete")
        + (f"; {excluded} {'cell is' if excluded == 1 else 'cells are'} excluded" if excluded else "")
        + (f"; {outside} {'row is' if outside == 1 else 'rows are'} not in this profile" if outside else ""),
    )
