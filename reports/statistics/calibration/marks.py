"""How often tables call a row worse that is the best, and how many rows may be best (`make calibrate`).

A case value of row r in scene i and seed s is `lead_r + a_i + b_rs + c_ri + e_ris`: half of the variance of a row's
mean is of seeds, with one seed none of it, as a mark is then of the networks that were trained. Scores are normal, of
heavy tails, or 0 or 1 by whether that value is above 0, where a few scenes often agree by chance.
"""

import math
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Literal

import numpy as np

from reports.marks import FEWEST_SCENES
from reports.statistics.best import best_rows
from reports.statistics.calibration.command import calibration
from reports.statistics.calibration.page import above_level
from reports.statistics.panel import Floats

BETWEEN = "<!-- marks of the best rows: begin -->", "<!-- marks of the best rows: end -->"
STUDIES = 1000
ROWS = 16
Kind = Literal["normal", "heavy tails", "0 or 1"]
KINDS: tuple[Kind, ...] = ("normal", "heavy tails", "0 or 1")
SEEDS, SCENES = (1, 3, 5), (4, FEWEST_SCENES, 8, 16, 32)
LEAD = 8.0
"""Of the one better row, in standard errors of a difference."""
OF_SEEDS = 0.5
"""Share of seeds in the variance of a row's mean."""
HARDNESS = 0.5
"""Standard deviation of what a scene does to all rows alike, in that of a value."""


@dataclass(frozen=True, kw_only=True)
class MarkedWorld:
    """How studies are drawn."""

    kind: Kind
    seeds: int
    scenes: int
    lead: float = 0.0
    """Of the first row over the others, in standard errors of a difference; 0: all rows are equal."""


@dataclass(frozen=True, kw_only=True)
class MarkRate:
    """What came out in a world."""

    world: MarkedWorld
    studies: int
    wrong: int
    """Studies in which a row that is the best, or one of the best, is called worse."""
    rows: float
    """How many rows are not called worse, on average."""

    @property
    def too_often(self) -> bool:
        """Whether more studies are wrong than the level allows."""
        return above_level(self.wrong, self.studies)


WORLDS: tuple[MarkedWorld, ...] = tuple(
    MarkedWorld(kind=kind, seeds=seeds, scenes=scenes, lead=lead)
    for kind, seeds, scenes, lead in product(KINDS, SEEDS, SCENES, (0.0, LEAD))
)


def draw_values(world: MarkedWorld, draws: np.random.Generator) -> Floats:
    """(rows, scenes, seeds) of one study."""
    scenes, seeds = world.scenes, world.seeds

    def noise(*size: int) -> Floats:
        return draws.standard_t(3, size) / math.sqrt(3.0) if world.kind == "heavy tails" else draws.normal(size=size)

    of_seeds = OF_SEEDS if seeds > 1 else 0.0
    rest = 1 - of_seeds  # the variance of a row's mean is 1
    own = math.sqrt(of_seeds * seeds) * noise(ROWS, 1, seeds)
    own = own + math.sqrt(0.6 * rest * scenes) * noise(ROWS, scenes, 1)
    own = own + math.sqrt(0.4 * rest * scenes * seeds) * noise(ROWS, scenes, seeds)
    own = own + HARDNESS * math.sqrt(scenes) * noise(1, scenes, 1)
    own[0] += world.lead * math.sqrt(2.0)
    return np.where(own > 0, 1.0, 0.0) if world.kind == "0 or 1" else own


def mark_rate(world: MarkedWorld, studies: int) -> MarkRate:
    """Simulate; the same studies in every call."""
    draws = np.random.Generator(np.random.Philox(key=zlib.crc32(repr(world).encode())))
    names = tuple(map(str, range(ROWS)))
    truly_best = set(names[:1] if world.lead else names)
    wrong, rows = 0, 0
    for _ in range(studies):
        values = draw_values(world, draws)
        scores = dict(zip(names, values.mean(axis=(1, 2)).tolist(), strict=True))
        found = best_rows(scores, dict(zip(names, values, strict=True)), world.seeds)
        wrong += not truly_best <= found.rows
        rows += len(found.rows)
    return MarkRate(world=world, studies=studies, wrong=wrong, rows=rows / studies)


def markdown(rates: Sequence[MarkRate]) -> str:
    """Two tables, a line for each kind of scores and number of seeds, a column for each number of scenes."""
    better = [rate for rate in rates if rate.world.lead]
    most = max(rate.wrong / rate.studies for rate in better)
    parts = [
        f"{ROWS} equal rows: some are called worse, in per cent of studies.",
        _table(rates, 0.0, lambda rate: f"{100 * rate.wrong / rate.studies:.1f}"),
        f"One better row of {ROWS}, by {LEAD:g} standard errors of a difference: how many may be the best, on average. "
        f"The better one is called worse in at most {100 * most:.1f} % of studies.",
        _table(rates, LEAD, lambda rate: f"{rate.rows:.1f}"),
    ]
    return "\n\n".join(parts) + "\n"


def _table(rates: Sequence[MarkRate], lead: float, shown: Callable[[MarkRate], str]) -> str:
    by_world = {rate.world: rate for rate in rates}
    lines = [
        f"| scores | seeds | {' | '.join(f'{scenes} scenes' for scenes in SCENES)} |",
        "|---" * (2 + len(SCENES)) + "|",
    ]
    for kind, seeds in product(KINDS, SEEDS):
        own = [by_world[MarkedWorld(kind=kind, seeds=seeds, scenes=scenes, lead=lead)] for scenes in SCENES]
        cells = [f"**{shown(rate)}**" if rate.too_often else shown(rate) for rate in own]
        lines.append(f"| {kind} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def simulate(studies: int, processes: int) -> tuple[str, Sequence[str]]:
    """The table, and the worlds in which too many studies are wrong."""
    with get_context("spawn").Pool(processes) as pool:
        found = pool.map(partial(mark_rate, studies=studies), WORLDS, chunksize=1)
    return (
        f"{studies} studies of each kind.\n\n{markdown(found)}",
        [f"a best row is called worse in {rate.world}: {rate.wrong} of {studies}" for rate in found if rate.too_often],
    )


if __name__ == "__main__":
    sys.exit(calibration("reports.statistics.calibration.marks", __doc__, STUDIES, BETWEEN, simulate))
