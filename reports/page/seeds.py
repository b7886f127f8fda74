"""The table of seeds: each branch's headline metric, one mean for each seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.analysis import Analysis
from reports.formats import number
from reports.scoreboard import Headline, headlines


@dataclass(frozen=True, kw_only=True)
class SeedTable:
    """Rows × (branch, seed)."""

    columns: Sequence[tuple[Headline, str]]
    """(metric, seed), a branch's seeds side by side."""
    places: Sequence[int]
    """Of each column, the place of its seed."""
    lines: Sequence[tuple[str, str, Sequence[tuple[str, bool]]]]
    """Row, the row that it is another name of, and for each column a mean (empty: no case has a value; `excluded`:
    the study leaves the cell out) and whether it is crossed out, as a control of this seed did not hold."""


def seed_table(analysis: Analysis, seeds: Sequence[int]) -> SeedTable | None:
    """The means over the cases of each seed; None where there is one seed alone, or nothing to show."""
    shown = [one for one in headlines(analysis) if f"{one.branch}/{one.metric}" in analysis.panels]
    if len(seeds) < 2 or not shown:
        return None
    known: dict[str, list[tuple[str, bool]]] = {}
    whole, crossed = analysis.everything or analysis, analysis.crossed_out
    for one in shown:
        panel = whole.panels[f"{one.branch}/{one.metric}"]
        total, count = panel.total.sum(axis=1), panel.count.sum(axis=1)
        means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        at = [panel.seeds.index(seed) if seed in panel.seeds else None for seed in seeds]
        for i, row in enumerate(panel.rows):
            values = [np.nan if j is None else float(means[i, j]) for j in at]
            left_out = analysis.excluded_seeds.get(row, frozenset())
            texts = [
                "excluded" if seed in left_out else number(value, one.decimals) if np.isfinite(value) else ""
                for seed, value in zip(seeds, values, strict=True)
            ]
            bad = [crossed is not None and crossed.has_seed(row, one.branch, seed) for seed in seeds]
            known.setdefault(row, []).extend(zip(texts, bad, strict=True))
    by = analysis.computed_by
    return SeedTable(
        columns=[(one, str(seed)) for one in shown for seed in seeds],
        places=[place for _ in shown for place in range(len(seeds))],
        lines=[
            (
                row.label,
                by[row.label] if by[row.label] != row.label else "",
                [
                    ("excluded" if not text and seeds[i % len(seeds)] in row.excluded_seeds else text, crossed_out)
                    for i, (text, crossed_out) in enumerate(known[by[row.label]])
                ],
            )
            for row in analysis.rows
            if len(known.get(by[row.label], ())) == len(shown) * len(seeds)
        ],
    )
