"""Pairs of rows that the two branches of the contrast order differently, table by table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.analysis import Analysis
from reports.formats import decimals_of, number
from reports.page.tables import BUNDLE
from reports.statistics.table import Table, inversions

MOST_LINES = 20
"""Pairs of a table that the page shows; report.json has all."""


@dataclass(frozen=True, kw_only=True)
class InversionTable:
    """Pairs of rows of one table that the two branches order differently."""

    name: str
    headings: Sequence[str]
    """How far apart the pair is on either branch."""
    lines: Sequence[tuple[str, str, str, str, str]]
    """Better on the first branch, on the second, both differences, probability."""
    count: int
    """Pairs that change order, of which `lines` has the first."""
    pairs: int
    """Pairs with both scores."""


def inversion_tables(analysis: Analysis) -> list[InversionTable]:
    """The tables that have such pairs."""
    contrast = analysis.scoring.contrast
    if contrast is None:
        return []
    first, second = contrast
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
                    pair[f"better_on_{first}"],
                    pair[f"better_on_{second}"],
                    number(pair[f"{first}_difference"], decimals[0]),
                    number(pair[f"{second}_difference"], decimals[1]),
                    "–" if pair["probability"] is None else number(pair["probability"], 2),
                )
                for pair in found[:MOST_LINES]
            ],
            count=len(found),
            pairs=pairs_of(table, contrast),
        )
        for name, table in analysis.tables.items()
        if (found := inversions(table))
    ]


def pairs_of(table: Table, contrast: tuple[str, str]) -> int:
    """Pairs of rows that have a score on both branches."""
    both = int(np.logical_and.reduce([np.isfinite(table.scores[branch]) for branch in contrast]).sum())
    return both * (both - 1) // 2
