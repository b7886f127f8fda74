"""The section of a comparison with other results: plain values for the template."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.against import ResultsComparison
from reports.against_words import ChangeLine, change_line, differing, summary

CHIPS = {"better": "supported", "worse": "contradicted"}
"""Verdict -> the class of the page that shows it."""


@dataclass(frozen=True, kw_only=True)
class AgainstPart:
    """The section."""

    ours: str
    theirs: str
    said: Sequence[str]
    lines: Sequence[ChangeLine]
    """Of the metrics that stand for branches."""
    others: Sequence[ChangeLine]
    differing: Sequence[str]

    def chip(self, verdict: str) -> str:
        """The class that shows a verdict."""
        return CHIPS.get(verdict, "")


def against_part(found: ResultsComparison) -> AgainstPart:
    """The section of a comparison."""
    shown = found.headlines
    rest = [] if shown is found.changes else [change for change in found.changes if not change.headline]
    return AgainstPart(
        ours=found.ours,
        theirs=found.theirs,
        said=summary(found),
        lines=[change_line(change, found) for change in shown],
        others=[change_line(change, found) for change in rest],
        differing=differing(found),
    )
