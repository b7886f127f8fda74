"""Cells that the page names without values: left out of a branch, or excluded on purpose."""

from reports.input import ReportInput
from reports.statistics.panel import row_label


def left_out(given: ReportInput) -> list[tuple[str, str, str]]:
    """(row, branch, reason) of the branches on which a reference row has no meaning, once for all seeds."""
    return list(dict.fromkeys((row_label(one.row, one.axes), one.branch, one.reason) for one in given.left_out))


def excluded(given: ReportInput) -> list[tuple[str, str, str, str]]:
    """(row, axes, seeds, entry) of the excluded cells, one for each row and combination of axis values."""
    seeds: dict[tuple[str, str, str], list[int]] = {}
    for one in given.excluded:
        seeds.setdefault((one.row, one.axes, one.entry), []).append(one.seed)
    return [(row, axes, ", ".join(map(str, of)), entry) for (row, axes, entry), of in seeds.items()]
