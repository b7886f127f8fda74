"""Where each number comes from: the jobs of every row and branch, and the command that makes them again."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.analysis import Analysis
from reports.input import ReportInput, Source
from reports.statistics.panel import row_label

SHORT = 12
"""Digits of a fingerprint that are printed."""
SCHEMES = ("http://", "https://")
"""Of an address that the page links to."""


@dataclass(frozen=True, kw_only=True)
class JobLink:
    """A job."""

    label: str
    fingerprint: str
    show: str
    """Command that tells all about it."""
    run: str
    """http address of its cell's run; empty: none is known."""


@dataclass(frozen=True, kw_only=True)
class SourceLine:
    """What the numbers of a row on a branch are made from."""

    anchor: str
    row: str
    branch: str
    jobs: Sequence[JobLink]
    again: str
    """Command that makes them again, where they are not there."""


def source_lines(given: ReportInput, analysis: Analysis) -> list[SourceLine]:
    """A line for each distinct row and branch whose jobs are known."""
    by_cell: dict[str, list[Source]] = {}
    for source in given.sources:
        by_cell.setdefault(row_label(source.row, source.axes), []).append(source)
    lines: list[SourceLine] = []
    for at, row in enumerate(analysis.rows):
        own = by_cell.get(row.label, ())
        if row.computed_by != row.label:
            continue
        for branch in dict.fromkeys(source.branch for source in own if source.branch):
            jobs = [source for source in own if source.branch in ("", branch)]
            seeds = sorted({source.seed for source in jobs})
            rows = shlex.quote(row.label.partition("/")[0])
            lines.append(
                SourceLine(
                    anchor=f"from-{at}-{branch}" if branch.isidentifier() else f"from-{at}-{len(lines)}",
                    row=row.label,
                    branch=branch,
                    jobs=[_link(source) for source in jobs],
                    again=f"echo-matrix run --profile {shlex.quote(given.profile)} --rows {rows} "
                    f"--seeds {','.join(map(str, seeds))} --branches {shlex.quote(branch)}",
                )
            )
    return lines


def anchors(lines: Sequence[SourceLine], analysis: Analysis) -> Mapping[tuple[str, str], str]:
    """(row under any of its names, branch) -> anchor of its line."""
    found = {(line.row, line.branch): line.anchor for line in lines}
    return {
        (row.label, branch): found[row.computed_by, branch]
        for row in analysis.rows
        for branch in {line.branch for line in lines}
        if (row.computed_by, branch) in found
    }


def _link(source: Source) -> JobLink:
    return JobLink(
        label=source.job,
        fingerprint=source.fingerprint,
        show=f"echo-matrix show {shlex.quote(source.job)}",
        run=source.run if source.run.startswith(SCHEMES) else "",
    )
