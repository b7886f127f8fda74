"""A comparison of two sets of results as text: for a terminal, and as against.md."""

from dataclasses import astuple

from reports.against import ResultsComparison
from reports.against_words import change_line, differing, summary
from reports.forms.markdown import escaped, list_md, table_md

SHOWN = 40
"""Changes and settings that a terminal shows; the others are counted."""
HEADING = ("row", "metric", "ours", "theirs", "difference", "95 % interval", "verdict", "how")
TEXTS = ("row", "metric", "verdict", "how")
"""Columns that are set to the left."""


def against_lines(found: ResultsComparison) -> list[str]:
    """The comparison for a terminal: the metrics that stand for branches, what is only in one, what else differs."""
    changes = found.headlines
    lines = [HEADING, *(astuple(change_line(change, found)) for change in changes[:SHOWN])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADING))]
    table = [
        "  ".join(
            f"{cell:<{width}}" if name in TEXTS else f"{cell:>{width}}"
            for name, cell, width in zip(HEADING, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    more = [f"and {len(changes) - SHOWN} more; against.md has all"] if len(changes) > SHOWN else []
    return [f"{found.ours} against {found.theirs}", "", *table, *more, "", *summary(found), *differing(found, SHOWN)]


def against_md(found: ResultsComparison) -> str:
    """against.md: every change, and what differs beside."""
    parts = [f"# {escaped(found.ours)} against {escaped(found.theirs)}", list_md(summary(found))]
    for title, headline in (("Metrics that stand for branches", True), ("All other metrics", False)):
        changes = [change for change in found.changes if change.headline == headline]
        if changes:
            cells = [[escaped(cell) for cell in astuple(change_line(change, found))] for change in changes]
            parts += [f"## {title}", table_md(HEADING, cells, left=2)]
    rest = differing(found, shown=escaped)
    parts += ["## What else differs", list_md(rest)] if rest else []
    return "\n\n".join(parts) + "\n"
