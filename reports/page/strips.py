"""Strips: one image a row of the same case, embedded in the page."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reports.analysis import Analysis
from reports.input import ReportInput, Strip
from reports.statistics.panel import row_label


@dataclass(frozen=True, kw_only=True)
class StripPicture:
    """The strip of one row: a data URI."""

    row: str
    same: str
    image: str


def chosen(given: ReportInput, analysis: Analysis) -> list[tuple[str, str, dict[str, Strip]]]:
    """(branch, case, strip by row): per branch the case that most rows have; the images that the page shows."""
    found = []
    order = analysis.spec.images.order if analysis.spec.images is not None else ()
    for branch in order or analysis.scoring.names:
        by_case: dict[str, dict[str, Strip]] = {}
        for strip in sorted((s for s in given.strips if s.branch == branch), key=lambda s: s.seed):
            by_case.setdefault(strip.case, {}).setdefault(row_label(strip.row, strip.axes), strip)
        if not by_case:
            continue
        case = min(by_case, key=lambda c: (-len(by_case[c]), c))
        found.append((branch, case, by_case[case]))
    return found


def strips(given: ReportInput, analysis: Analysis) -> list[tuple[str, str, list[StripPicture]]]:
    """(branch, case, pictures): one picture a distinct row."""
    found = []
    for branch, case, by_row in chosen(given, analysis):
        pictures = [_picture(row.label, analysis, by_row) for row in analysis.rows]
        found.append((branch, case, [picture for picture in pictures if picture is not None]))
    return found


def _picture(row: str, analysis: Analysis, strips: Mapping[str, Strip]) -> StripPicture | None:
    if analysis.computed_by[row] != row or row not in strips:
        return None
    same = [label for label, by in analysis.computed_by.items() if by == row and label != row]
    data = base64.b64encode(Path(strips[row].path).read_bytes()).decode("ascii")
    return StripPicture(row=row, same=", ".join(same), image=f"data:image/png;base64,{data}")
