"""Pairs of rows that the two branches of the contrast order differently, table by table."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.analysis import Analysis
from reports.formats import decimals_of, number, p_text
from reports.page.tables import BUNDLE
from reports.statistics.inversions import InversionCount

MOST_LINES = 20
"""Pairs of a table that the page shows; report.json has all."""


@dataclass(frozen=True, kw_only=True)
class InversionTable:
    """Pairs of rows of one table that the two branches order differently."""

    name: str
    headings: Sequence[str]
    """How far apart the pair is on either branch."""
    lines: Sequence[tuple[str, str, str, str, str, str]]
    """Better on the first branch, on the second, both differences, probability of this direction, adjusted p."""
    chance: str
    """How many there are, beside what noise alone would give."""
    count: int
    """Pairs that change order, of which `lines` has the first."""
    pairs: int
    """Pairs with both scores."""


def inversion_tables(analysis: Analysis) -> list[InversionTable]:
    """The tables that have such pairs."""
    contrast = analysis.scoring.contrast
    if contrast is None:
        return []
    scores = [analysis.scoring.of(branch).score for branch in contrast]
    names = [BUNDLE if len(score) > 1 else score[0].metric if score else "" for score in scores]
    decimals = [
        2 if len(score) > 1 else decimals_of(analysis.spec, name) for score, name in zip(scores, names, strict=True)
    ]
    # Two metrics of one name, and a bundle always, are named with their branches.
    headings = [
        f"{branch} {name}" if name == BUNDLE or names[0] == names[1] else name
        for branch, name in zip(contrast, names, strict=True)
    ]
    return [
        InversionTable(
            name=name,
            headings=[f"difference in {heading}" for heading in headings],
            lines=[
                (
                    pair.better_on_first,
                    pair.better_on_second,
                    number(pair.differences[0], decimals[0]),
                    number(pair.differences[1], decimals[1]),
                    number(pair.probability, 2) or "–",
                    p_text(pair.p_adjusted) or "–",
                )
                for pair in found.pairs[:MOST_LINES]
            ],
            chance=chance(found.count),
            count=found.count.observed,
            pairs=found.count.pairs,
        )
        for name in analysis.tables
        for found in [analysis.inversions[name]]
        if found.count is not None and found.pairs
    ]


def chance(count: InversionCount) -> str:
    """How many pairs are inverted, beside what is expected where both branches order the rows alike, in words."""
    unrelated = f"{number(count.unrelated, 1)} if the branches were unrelated"
    if count.expected is None or count.low is None or count.high is None:
        return f"It would be {unrelated}. What noise alone would give is not known: {count.reason}."
    return (
        f"Noise alone would give {number(count.expected, 1)} ({number(count.low, 0)} to "
        f"{number(count.high, 0)}) if both branches ordered the rows alike: p {_equals(p_text(count.p))}; {unrelated}."
    )


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"
