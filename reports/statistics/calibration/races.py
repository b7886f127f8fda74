"""Simulated races: how often grids of rows are stopped wrongly, and what the seeds that are not run save.

The paired difference of row r with the baseline in scene i and seed s is `effect + a_ri + b_rs + e_ris`, with variances
of scene, seed and rest that are its own; half of each variance is the baseline's, and so common to all rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.race import DIFFERS, OPEN, WITHIN, verdicts
from reports.race_progress import looks
from reports.statistics.anytime import against_none, against_outside
from reports.statistics.intervals import ALPHA
from reports.statistics.panel import Floats

Shape = Literal["normal", "heavy tails", "skewed"]
AT_ONCE = 50
"""Grids that are simulated at a time."""
COMMON = 0.5
"""Share of the variances that is of the baseline."""


@dataclass(frozen=True, kw_only=True)
class RacedGrid:
    """How grids are drawn."""

    name: str
    effects: Floats
    """(rows,), in units of the metric."""
    variances: Floats
    """(rows, 3): of scene, seed and rest."""
    margin: float
    scenes: int = 8
    seeds: int = 10
    shape: Shape = "normal"


@dataclass(frozen=True, kw_only=True)
class RaceRate:
    """What came out in the grids of one kind."""

    name: str
    grids: int
    mistaken: int
    """Grids with a row that is called different and is equal, or different with the wrong sign."""
    differs: float
    """Share of the comparisons that stopped as they differ."""
    within: float
    """... as they lie within the margin."""
    missed: float
    """Of the comparisons that differ by the margin or more, the share that stopped as within it; 0: there are none."""
    saved: float
    """Share of the trainings and of their evaluations, the baseline's among them, that were not run."""


def draw_differences(grid: RacedGrid, grids: int, draws: np.random.Generator) -> Floats:
    """(grids, rows, scenes, seeds)."""
    rows = len(grid.effects)
    kinds: Mapping[Shape, Callable[[tuple[int, ...]], Floats]] = {
        "normal": lambda size: draws.normal(size=size),
        "heavy tails": lambda size: np.asarray(draws.standard_t(3, size) / np.sqrt(3.0)),
        "skewed": lambda size: draws.exponential(size=size) - 1.0,
    }
    values = kinds[grid.shape]
    found = np.broadcast_to(grid.effects[:, None, None], (grids, rows, grid.scenes, grid.seeds)).copy()
    for at, size in enumerate(((grid.scenes, 1), (1, grid.seeds), (grid.scenes, grid.seeds))):
        own, common = values((grids, rows, *size)), values((grids, 1, *size))
        mixed = np.sqrt(1 - COMMON) * own + np.sqrt(COMMON) * common
        found += np.sqrt(grid.variances[:, at])[:, None, None] * mixed
    return found


def raced(differences: Floats, margin: float) -> tuple[Floats, Floats]:
    """(outcome as of `reports.race.verdicts`, seeds), both (grids, rows).

    Args:
        differences: (grids, rows, scenes, seeds).
        margin: of the race.
    """
    shape, seeds = differences.shape[:2], differences.shape[-1]
    outcome, used = np.full(shape, OPEN), np.full(shape, seeds)
    evidence = np.ones(shape)
    for number in looks(seeds):
        is_open = outcome == OPEN
        part = differences[..., :number]
        evidence = np.where(is_open, against_none(part), evidence)
        found = verdicts(evidence, against_outside(part, margin), is_open)
        used = np.where(found != OPEN, number, used)
        outcome = np.where(is_open, found, outcome)
    return outcome, used


def race_rate(grid: RacedGrid, grids: int) -> RaceRate:
    """Simulate; the same grids in every call."""
    draws = np.random.Generator(np.random.Philox(key=len(grid.effects)))
    parts = []
    for start in range(0, grids, AT_ONCE):
        differences = draw_differences(grid, min(AT_ONCE, grids - start), draws)
        outcome, used = raced(differences, grid.margin)
        parts.append((outcome, used, np.sign(differences.mean(axis=(2, 3)))))
    outcome, used, sign = (np.concatenate(part) for part in zip(*parts, strict=True))
    wrong = (outcome == DIFFERS) & ((grid.effects == 0) | (sign != np.sign(grid.effects)))
    far = np.abs(grid.effects) >= grid.margin
    spent = used.sum(axis=1) + used.max(axis=1)  # the baseline goes on with the last row
    return RaceRate(
        name=grid.name,
        grids=grids,
        mistaken=int(wrong.any(axis=1).sum()),
        differs=float((outcome == DIFFERS).mean()),
        within=float((outcome == WITHIN).mean()),
        missed=float((outcome[:, far] == WITHIN).mean()) if far.any() else 0.0,
        saved=1 - float(spent.mean()) / ((len(grid.effects) + 1) * grid.seeds),
    )


def mistaken_too_often(rate: RaceRate) -> bool:
    """Whether more grids are mistaken than may be."""
    return rate.mistaken > ALPHA * rate.grids


def races_markdown(rates: Sequence[RaceRate]) -> str:
    """One line a kind of grids, in per cent."""
    lines = [
        "| grids | mistaken | stopped: differs | stopped: within | of rows beyond the margin, within | saved |",
        "|---" * 6 + "|",
    ]
    for rate in rates:
        mistaken = f"{100 * rate.mistaken / rate.grids:.1f}"
        shown = [f"**{mistaken}**" if mistaken_too_often(rate) else mistaken]
        shown += [f"{100 * share:.1f}" for share in (rate.differs, rate.within, rate.missed)]
        lines.append(f"| {rate.name} | {' | '.join(shown)} | {100 * rate.saved:.0f} |")
    return "\n".join(lines) + "\n"
