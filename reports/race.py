"""Racing: which comparisons of rows with a baseline are decided, after which seeds.

A race is a function of the results: it looks after the third seed, the fourth, and so on, each time at the rows that
are still open. So it needs no state, is the same after any interruption, and may be continued with further seeds. A row
stops

* as it *differs*: its e-value against no difference, adjusted for the family of all comparisons, is 1/`ALPHA` or more.
  Whatever else is equal to the baseline, some row is called different with probability `ALPHA` at most;
* as it lies *within* the margin: the e-values against a difference of the margin or more are 1/`ALPHA` or more. Further
  seeds would find nothing that matters. That is no claim of the family: each row that differs by the margin or more
  stops so with probability `ALPHA` at most.

An e-value of a row that has stopped stays what it was then.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from reports.input import Race, RacedRow, RaceOutcome
from reports.measured import Measured
from reports.race_progress import looks
from reports.spec import RaceSpec
from reports.statistics.anytime import against_none, against_outside, limits, of_family
from reports.statistics.intervals import ALPHA, LEVEL
from reports.statistics.panel import Floats

FEWEST_SCENES = 2
OPEN, DIFFERS, WITHIN = 0, 1, 2


def verdicts(evidence: Floats, outside: Floats, is_open: npt.NDArray[np.bool_]) -> npt.NDArray[np.int_]:
    """What becomes of comparisons at a look: `OPEN`, `DIFFERS` or `WITHIN`, (..., comparisons).

    Args:
        evidence: e-values against no difference, of all comparisons, also of those that stopped.
        outside: e-values against a difference outside the margin.
        is_open: which have not stopped.
    """
    differs = is_open & (of_family(evidence) >= 1 / ALPHA)
    within = is_open & ~differs & (outside >= 1 / ALPHA)
    return np.where(differs, DIFFERS, np.where(within, WITHIN, OPEN))


def race(found: Measured, spec: RaceSpec, seeds: Sequence[int], gone: Mapping[str, str] | None = None) -> Race:
    """How far the race is with these values.

    Args:
        found: the measured values, of all rows that race and of the baseline.
        spec: of the race.
        seeds: all that it may use, in order.
        gone: labels of rows of which results will not come -> why.

    Raises:
        ValueError: the baseline is not among the rows.
    """
    metric = found.metric_of(spec.metric)
    pairs = _pairs(found, spec.baseline)
    states = {row: RacedRow(row=row, outcome="open", seeds=0) for row in pairs}
    for number in looks(len(seeds)):
        running = [row for row, one in states.items() if one.outcome == "open"]
        layouts = {row: _difference(found, metric, row, pairs[row], seeds[:number]) for row in running}
        lost = {row: why for row, why in (gone or {}).items() if row in layouts and layouts[row] is None}
        if not running or any(layout is None for row, layout in layouts.items() if row not in lost):
            break
        for row, why in lost.items():
            states[row] = replace(states[row], outcome="no values", reason=why)
        for row, layout in layouts.items():
            if layout is not None:
                states[row] = _looked_at(row, layout, spec.margin)
        _decide(states, layouts)
    panel = found.panels.get(metric)
    return Race(
        metric=metric,
        unit="" if panel is None else panel.unit,
        baseline=spec.baseline,
        margin=spec.margin,
        reason=spec.reason,
        seeds=list(seeds),
        rows=list(states.values()),
        with_row=_beside(found, spec.baseline, states),
    )


def _pairs(found: Measured, baseline: str) -> dict[str, str]:
    """Label of each row that races -> label of the baseline with the same values of the axes."""
    known = {row.label for row in found.rows}
    if baseline not in {label.partition("/")[0] for label in known}:
        raise ValueError(f"the race's baseline {baseline} is not among the rows: {', '.join(sorted(known))}")
    pairs = {}
    for row in found.rows:
        name, slash, axes = row.label.partition("/")
        other = f"{baseline}{slash}{axes}"
        if not row.reference and row.computed_by == row.label and name != baseline and other in known:
            pairs[row.label] = found.computed_by[other]
    return {row: other for row, other in pairs.items() if row != other}


def _beside(found: Measured, baseline: str, raced: Collection[str]) -> dict[str, str]:
    """`Race.with_row`."""
    raced_names = {label.partition("/")[0] for label in raced}
    other = {
        row.label.partition("/")[0]: row.computed_by.partition("/")[0]
        for row in found.rows
        if not row.reference and row.computed_by != row.label
    }
    noise = found.spec.noise
    again = {} if noise is None else {noise.again: other.get(noise.row, noise.row)}
    same = {name: row for name, row in (other | again).items() if row in raced_names}
    names = dict.fromkeys([baseline, *(row.label.partition("/")[0] for row in found.rows)], "")
    return {name: row for name, row in (names | same).items() if name not in raced_names}


def _difference(found: Measured, metric: str, row: str, baseline: str, seeds: Sequence[int]) -> Floats | None:
    """(scenes, seeds) of the scenes that both have in all of these seeds; None: there are too few."""
    panel = found.panels.get(metric)
    if panel is None or panel.pooled or {row, baseline} - {*panel.rows} or {*seeds} - {*panel.seeds}:
        return None
    at = [panel.seeds.index(seed) for seed in seeds]
    difference = (panel.layout(row) - panel.layout(baseline))[:, at]
    whole: Floats = difference[np.isfinite(difference).all(axis=1)]
    return whole if len(whole) >= FEWEST_SCENES else None


def _looked_at(row: str, difference: Floats, margin: float) -> RacedRow:
    low, high = (float(limit) for limit in limits(difference, LEVEL))
    there = np.isfinite(low)
    return RacedRow(
        row=row,
        outcome="open",
        seeds=difference.shape[1],
        effect=float(difference.mean()),
        low=low if there else None,
        high=high if there else None,
        evidence=float(against_none(difference)),
        outside=float(against_outside(difference, margin)),
    )


def _decide(states: dict[str, RacedRow], looked: Mapping[str, Floats | None]) -> None:
    """Set what becomes of the rows of a look."""
    rows = list(states.values())
    evidence = np.array([one.evidence for one in rows])
    is_open = np.array([one.outcome == "open" for one in rows])
    found = verdicts(evidence, np.array([one.outside for one in rows]), is_open)
    names: Mapping[int, RaceOutcome] = {OPEN: "open", DIFFERS: "differs", WITHIN: "within"}
    for one, code, adjusted in zip(rows, found.tolist(), of_family(evidence).tolist(), strict=True):
        if one.row in looked and one.outcome == "open":
            states[one.row] = replace(one, outcome=names[code], adjusted=adjusted)
