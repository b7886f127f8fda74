"""What the report prints limits of, on a simulated study: were they printed, and is the truth outside of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.agreement import kendall, pearson, ranks, spearman
from reports.statistics.agreement_limits import AgreementLimits, agreement_limits
from reports.statistics.calibration.worlds import FIRST, SCORING, SECOND, DrawnStudy
from reports.statistics.gain import Gain, retained_gain
from reports.statistics.held_scores import held_scores
from reports.statistics.intervals import Limits, complete, interval_or_none
from reports.statistics.linearised import branch_layouts
from reports.statistics.panel import Floats
from reports.statistics.scores import branch_score
from reports.statistics.table import Table, analyse

Outcome = tuple[str, bool | None]
"""(quantity, whether its limits miss the truth; None: there are none)."""

ROUNDING = 1e-9
SCORE = f"{SECOND}/score"


def outcomes(study: DrawnStudy) -> list[Outcome]:
    """Every quantity of one study that has a truth in its world, some several times."""
    table = table_of(study)
    found = list(_differences(study))
    found += _bars(study, table)
    found += _spread_share(study)
    found += _agreement(study, table)
    found += _gains(study)
    return found


def table_of(study: DrawnStudy) -> Table:
    """The analysed table of all rows."""
    means = {name: dict(zip(study.rows, map(float, values), strict=True)) for name, values in study.means.items()}
    return analyse(study.rows, {row: row for row in study.rows}, means, SCORING)


def missed(truth: float, limits: Limits) -> bool | None:
    """Whether the limits miss it; None: there is no truth, or there are no limits."""
    if limits.low is None or limits.high is None or not np.isfinite(truth):
        return None
    return not limits.low - ROUNDING <= truth <= limits.high + ROUNDING


def _differences(study: DrawnStudy) -> Iterator[Outcome]:
    """A row's mean, and its difference from the next row, of the metric of the second branch."""
    panel, true = study.panels[SCORE], study.true[SCORE]
    for i in (0, 1):
        cut = complete([panel.layout(study.rows[i])]).layouts[0]
        yield "mean of a row", _outside(float(true[i]), cut)
        pair = complete([panel.layout(study.rows[i]), panel.layout(study.rows[i + 1])]).layouts
        yield "difference of two rows", _outside(float(true[i] - true[i + 1]), pair[0] - pair[1])


def _outside(truth: float, layout: Floats) -> bool | None:
    found = interval_or_none(layout)
    return None if found is None else missed(truth, Limits(low=found.low, high=found.high))


def _bars(study: DrawnStudy, table: Table) -> Iterator[Outcome]:
    """A row's score on the first branch, a bundle, with its ranges held."""
    held = held_scores(table, FIRST, study.rows, study.panels)
    if held is None:
        return
    # What the bundle is at the true means of the row, with the ranges that were measured.
    scales = {name: _scale(table.metrics[name], study.panels[name].better) for name in study.true if FIRST in name}
    truth = np.sum([study.true[name] * scale / len(scales) for name, scale in scales.items()], axis=0)
    for i in (0, 1):
        yield "bundle of a row, ranges held", _outside(float(truth[i]), complete([held[study.rows[i]]]).layouts[0])


def _scale(values: Floats, better: str) -> float:
    spread = float(np.nanmax(values) - np.nanmin(values)) or 1.0
    return (1.0 if better == "high" else -1.0) / spread


def _spread_share(study: DrawnStudy) -> Iterator[Outcome]:
    """How far two rows lie apart in shares of the range over the rows: on the second branch less on the first."""
    found = branch_layouts(SCORING, (FIRST, SECOND), study.rows, {row: row for row in study.rows}, study.panels)
    if found is None:
        return

    def share(scores: Sequence[Floats]) -> float:
        first, second = ((own[1] - own[0]) / np.ptp(own) for own in scores)
        return float(second - first)

    scores = _true_scores(study)
    if any(np.ptp(own) == 0 for own in scores):
        return
    interval = found.interval_of(share)
    limits = Limits() if interval is None else Limits(low=interval.low, high=interval.high)
    yield "contrast of branches, linearised", missed(share(scores), limits)


def _true_scores(study: DrawnStudy) -> list[Floats]:
    return [branch_score(branch, study.true, len(study.rows)) for branch in SCORING.branches]


def _agreement(study: DrawnStudy, table: Table) -> Iterator[Outcome]:
    first, second = _true_scores(study)
    limits = agreement_limits(table, (FIRST, SECOND), {row: row for row in study.rows}, study.panels)
    measures: Mapping[str, tuple[Callable[[Floats, Floats], Floats], Limits]] = {
        "Pearson's r": (pearson, limits.pearson),
        "Spearman's rho": (spearman, limits.spearman),
        "Kendall's tau": (kendall, limits.kendall),
    }
    for name, (measure, own) in measures.items():
        truth = float(measure(first, second))
        if np.isfinite(truth):
            yield name, missed(truth, own)
    yield "ranks of all rows together", _ranks_missed((first, second), limits, study.rows)


def _ranks_missed(scores: Sequence[Floats], limits: AgreementLimits, rows: Sequence[str]) -> bool | None:
    """Whether any row's true rank, or with ties none of its ranks, is outside."""
    if not limits.ranks:
        return None
    for own, between in zip(scores, limits.ranks, strict=True):
        best, worst = ranks(own), len(rows) + 1 - ranks(-own)
        for i, row in enumerate(rows):
            low, high = between[row]
            if best[i] > high or worst[i] < low:
                return True
    return False


def _gains(study: DrawnStudy) -> Iterator[Outcome]:
    """Of the row in the middle, between the rows that are truly least and most."""
    true = study.true[SCORE]
    if np.ptp(true) == 0:
        return
    order = np.argsort(true)
    shortest, compact, longest = (study.rows[i] for i in (order[0], order[len(order) // 2], order[-1]))
    found = gain_of(study, compact, shortest, longest)
    truth = (true[order[len(order) // 2]] - true[order[0]]) / (true[order[-1]] - true[order[0]])
    yield "retained gain", missed(float(truth), Limits(low=found.low, high=found.high))
    # The gain of two rows that differ little is rarely beyond doubt; where it is printed, it is by luck.
    shortest, longest = (study.rows[i] for i in (order[1], order[2]))
    found = gain_of(study, study.rows[order[0]], shortest, longest)
    if true[order[2]] > true[order[1]]:
        truth = (true[order[0]] - true[order[1]]) / (true[order[2]] - true[order[1]])
        yield "retained gain of a small gain", missed(float(truth), Limits(low=found.low, high=found.high))


def gain_of(study: DrawnStudy, compact: str, shortest: str, longest: str) -> Gain:
    """The retained gain of a row in the metric of the second branch."""
    by_row = dict(zip(study.rows, map(float, study.means[SCORE]), strict=True))
    return retained_gain(SCORE, [compact], shortest, longest, {SCORE: by_row}, study.panels)[compact]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often the limits of a quantity missed the truth in a world."""

    world: str
    quantity: str
    studies: int
    """Times that the quantity was asked for."""
    printed: int
    missed: int

    @property
    def share(self) -> float:
        """Share of the printed limits that missed; NaN: none was printed."""
        return self.missed / self.printed if self.printed else float("nan")

    @property
    def error(self) -> float:
        """Monte Carlo standard error of the share."""
        return float(np.sqrt(self.share * (1 - self.share) / self.printed)) if self.printed else float("nan")


def rates(world: str, found: Sequence[Outcome]) -> list[Rate]:
    """Count the outcomes of many studies of one world."""
    counted: dict[str, list[int]] = {}
    for name, outside in found:
        own = counted.setdefault(name, [0, 0, 0])
        own[0] += 1
        own[1] += outside is not None
        own[2] += bool(outside)
    return [
        Rate(world=world, quantity=name, studies=asked, printed=printed, missed=outside)
        for name, (asked, printed, outside) in counted.items()
    ]
