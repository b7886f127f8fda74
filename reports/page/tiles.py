"""Tiles: single numbers, which the answer does not have."""

from dataclasses import dataclass

from reports.analysis import Analysis
from reports.formats import number
from reports.input import ReportInput
from reports.statistics.intervals import complete, interval_or_none
from reports.statistics.panel import row_label


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number with what it is."""

    value: str
    name: str
    detail: str


def tiles(given: ReportInput, analysis: Analysis) -> list[Tile]:
    """The differences that the study declares, and how complete the values are."""
    return [*_differences(analysis), _coverage(given, analysis)]


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
    there = total = 0
    for name in whole.panels:
        counted = [whole.counted(name, row) for row in trained]
        present = sum(n for n, _ in counted)
        if present:  # else it is of reference rows alone
            there, total = there + present, total + sum(n for _, n in counted)
    missing, excluded, outside = len(given.missing), len(given.excluded), len(given.outside)
    return Tile(
        value=f"{1000 * there // total / 10:g} %" if total else "0 %",
        name="of the values are there" + (" (metrics without any value are not counted)" if missing else ""),
        detail=(f"absent: {total - there}; " if there < total else "")
        + (f"{missing} results of cells are missing" if missing else "every cell is complete")
        + (f"; {excluded} {'cell is' if excluded == 1 else 'cells are'} excluded" if excluded else "")
        + (f"; {outside} {'row is' if outside == 1 else 'rows are'} not in this profile" if outside else ""),
    )
