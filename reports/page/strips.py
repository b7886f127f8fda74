"""Strips: one image a row of the same case, embedded in the page."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.analysis import Analysis
from reports.input import ReportInput, Strip
from reports.statistics.panel import row_label
from reports.statistics.scores import headline

MOST_BYTES = 1 << 20
"""Of the strips of a page, as files; in the page they are a third larger."""


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


@dataclass(frozen=True, kw_only=True)
class BranchStrips:
    """The strips of one branch."""

    branch: str
    case: str
    pictures: Sequence[StripPicture]
    """One a distinct row."""
    count: int
    """Rows that have one; `pictures` has as many as fit, of rows from the best to the worst, and the references."""


def strips(given: ReportInput, analysis: Analysis) -> list[BranchStrips]:
    """The strips of every branch, all together no larger than `MOST_BYTES`."""
    found = chosen(given, analysis)
    return [_of_branch(branch, case, by_row, analysis, MOST_BYTES // len(found)) for branch, case, by_row in found]


def _of_branch(branch: str, case: str, by_row: Mapping[str, Strip], analysis: Analysis, most: int) -> BranchStrips:
    distinct = [row for row in analysis.rows if row.computed_by == row.label and row.label in by_row]
    sizes = {row.label: Path(by_row[row.label].path).stat().st_size for row in distinct}
    kept = {row.label for row in distinct}
    if sum(sizes.values()) > most:
        metric, better = headline(analysis.scoring.of(branch), analysis.means.keys())
        means = analysis.means.get(metric, {})
        kept = {row.label for row in distinct if row.reference}
        worst = -math.inf if better == "high" else math.inf
        rows = [row.label for row in distinct if not row.reference]
        ranked = sorted(rows, key=lambda row: means.get(row, worst), reverse=better == "high")
        left = most - sum(sizes[row] for row in kept)
        kept |= {ranked[i] for i in evenly(len(ranked), max(0, left // max(sizes.values())))}
    pictures = [_picture(row.label, analysis, by_row) for row in distinct if row.label in kept]
    return BranchStrips(branch=branch, case=case, pictures=pictures, count=len(distinct))


def evenly(count: int, most: int) -> Sequence[int]:
    """At most `most` of 0 .. count − 1, evenly spaced, both ends in."""
    if count <= most or most < 2:
        return range(min(count, most))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _picture(row: str, analysis: Analysis, strips: Mapping[str, Strip]) -> StripPicture:
    same = [label for label, by in analysis.computed_by.items() if by == row and label != row]
    data = base64.b64encode(Path(strips[row].path).read_bytes()).decode("ascii")
    return StripPicture(row=row, same=", ".join(same), image=f"data:image/png;base64,{data}")
