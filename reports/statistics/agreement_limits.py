"""Limits of the agreement of two branches over the rows of a table, and of the rows' ranks.

Bundles are held at the ranges of the table (`held_scores.py`): r, tau and rho do not depend on a branch's unit, and
their parts' weights in a bundle vary little with the noise of its best and worst rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reports.statistics.correlation import pearson_limits
from reports.statistics.held_scores import held_scores
from reports.statistics.intervals import Limits, complete_together
from reports.statistics.orders import kendall_limits, rank_limits, spearman_limits
from reports.statistics.pairs import row_pairs
from reports.statistics.panel import Panel
from reports.statistics.sure_order import SureOrder, sure_order
from reports.statistics.table import Table

NO_CASES = Limits(reason="there are means alone, no cases")


@dataclass(frozen=True, kw_only=True)
class AgreementLimits:
    """Limits of the three correlations of two branches, and what they were computed from."""

    pearson: Limits = NO_CASES
    spearman: Limits = NO_CASES
    kendall: Limits = NO_CASES
    ranks: tuple[Mapping[str, tuple[int, int]], ...] = ()
    """For either branch, row -> (best, worst) rank among the rows with both scores."""
    scenes: tuple[int, ...] = ()
    """Of either branch, those that r rests on."""
    seeds: int = 0
    dropped_scenes: int = 0
    dropped_seeds: int = 0

    @property
    def block(self) -> str:
        """What r's limits leave out, for people; empty: nothing."""
        if not self.dropped_scenes and not self.dropped_seeds:
            return ""
        kept = " and ".join(map(str, self.scenes))
        return (
            f"limits of r are of the {kept} scenes and {self.seeds} seeds that all rows have; left out: "
            f"{self.dropped_scenes} scenes, {self.dropped_seeds} seeds"
        )


def agreement_limits(
    table: Table, contrast: tuple[str, str], computed_by: Mapping[str, str], panels: Mapping[str, Panel]
) -> AgreementLimits:
    """Limits over the rows of a table that have both scores.

    r rests on the scenes and seeds that all of these rows have, since it is of all of them at once; tau, rho and ranks
    on those that each pair of rows has.
    """
    scored = np.logical_and.reduce([np.isfinite(table.scores[branch]) for branch in contrast])
    rows = [row for row, both in zip(table.rows, scored, strict=True) if both]
    held = [held_scores(table, branch, [computed_by[row] for row in rows], panels) for branch in contrast]
    if not rows or held[0] is None or held[1] is None:
        return AgreementLimits()
    branches = [held[0], held[1]]
    order = sure_order([row_pairs(layouts) for layouts in branches], fewest_seeds=1)
    cut = complete_together([list(layouts.values()) for layouts in branches])
    first, second = (np.stack(layouts) for layouts in cut.layouts)
    seeds = first.shape[2]
    known = min(first.shape[1], second.shape[1]) >= 2 and seeds >= 1
    tau = kendall_limits(order, seeds)
    return AgreementLimits(
        pearson=pearson_limits(first, second) if known else Limits(reason="no two scenes are there for all rows"),
        spearman=spearman_limits(tau, len(rows)),
        kendall=tau,
        ranks=_ranks(order, rows),
        scenes=(first.shape[1], second.shape[1]),
        seeds=seeds,
        dropped_scenes=cut.dropped_scenes,
        dropped_seeds=cut.dropped_seeds,
    )


def _ranks(order: SureOrder, rows: Sequence[str]) -> tuple[Mapping[str, tuple[int, int]], ...]:
    return tuple(dict(zip(rows, rank_limits(order, branch), strict=True)) for branch in range(len(order.above)))


def limits_json(table: Table, found: Mapping[tuple[str, str], AgreementLimits]) -> dict[str, Any]:
    """Keys of a table in report.json: limits of agreement by pair of branches, and of ranks on the contrast."""
    contrast = table.scoring.contrast
    ranks = found[contrast].ranks if contrast is not None and contrast in found else ()
    return {
        "agreement_limits": {
            f"{a}~{b}": {
                **{name: asdict(limits) for name, limits in zip(("pearson", "spearman", "kendall"), of, strict=True)},
                "scenes": list(one.scenes),
                "seeds": one.seeds,
                "dropped_scenes": one.dropped_scenes,
                "dropped_seeds": one.dropped_seeds,
            }
            for (a, b), one in found.items()
            for of in [(one.pearson, one.spearman, one.kendall)]
        },
        "rank_limits": {
            branch: {row: list(own[name]) for row, name in table.names.items() if name in own}
            for branch, own in zip(contrast or (), ranks, strict=False)
        },
    }
