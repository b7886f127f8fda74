r"""Simulated worlds: studies whose true means are known, as panels of case values.

Rows have a true score on two branches. A case value of row $r$ in scene $i$ and seed $s$ is

$$ y_{ris} = \mu_r + a_i + b_s + (\mu a)_{ri} + (\mu b)_{rs} + \varepsilon_{ris} , $$

scenes drawn for each branch, seeds shared by both. The first branch is scored by a bundle of three metrics, the second
by one. `noise` is the standard error of a row's mean over the standard deviation of the true means, and `of_seeds` the
share of its variance that is of seeds. Standard library and numpy only; every draw is Philox's, keyed by world and
study, so that a study is the same whoever computes it.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.spec import BranchSpec, ScorePart
from reports.statistics.panel import Floats, Panel
from reports.statistics.scores import Scoring

Truth = Literal["unrelated", "related", "near ties", "same order", "r = 1", "equal rows"]

FIRST, SECOND = "first", "second"
SCORING = Scoring(
    branches=(
        BranchSpec(
            name=FIRST, score=(ScorePart(metric="a"), ScorePart(metric="b"), ScorePart(metric="c", better="low"))
        ),
        BranchSpec(name=SECOND, score=(ScorePart(metric="score"),)),
    ),
    contrast=(FIRST, SECOND),
)
PARTS: Mapping[str, float] = {f"{FIRST}/a": 3.0, f"{FIRST}/b": 0.1, f"{FIRST}/c": -0.05}
"""Metric of the bundle -> its units for one unit of true score; less is better where it is negative."""


@dataclass(frozen=True, kw_only=True)
class CalibrationWorld:
    """How studies are drawn."""

    name: str
    seeds: int = 3
    scenes: tuple[int, int] = (32, 12)
    """Of either branch."""
    rows: int = 8
    truth: Truth = "related"
    noise: float = 0.3
    of_seeds: float = 0.5
    heavy: bool = False
    """Student's t with 3 degrees of freedom instead of normal."""
    uneven: bool = False
    """Rows differ in their noise by up to about ten times."""
    shared: float = 0.0
    """Correlation of what a seed does to a row between the branches."""
    lost: float = 0.0
    """Share of a row's scenes that is missing in a seed, at random."""
    half_done: bool = False
    """Of the last seed, half of the scenes are there."""
    variants: int = 1
    """Cases of a scene; of several, some are missing."""


WORLDS: tuple[CalibrationWorld, ...] = (
    CalibrationWorld(name="two seeds", seeds=2),
    CalibrationWorld(name="two seeds, 8 scenes, scatter of seeds large", seeds=2, scenes=(8, 8), of_seeds=0.9),
    CalibrationWorld(name="two seeds, 128 scenes, scatter of both", seeds=2, scenes=(128, 64), of_seeds=0.7),
    CalibrationWorld(name="three seeds"),
    CalibrationWorld(name="three seeds, 8 scenes", scenes=(8, 8)),
    CalibrationWorld(name="three seeds, 16 rows, branches unrelated", rows=16, truth="unrelated"),
    CalibrationWorld(name="three seeds, 3 rows", rows=3),
    CalibrationWorld(name="three seeds, scatter of seeds large", of_seeds=0.95, noise=0.45, shared=0.7),
    CalibrationWorld(name="three seeds, 128 scenes, scatter of both", scenes=(128, 64), of_seeds=0.7),
    CalibrationWorld(name="three seeds, heavy tails", heavy=True),
    CalibrationWorld(name="three seeds, uneven rows", rows=12, uneven=True),
    CalibrationWorld(name="three seeds, near ties", rows=12, truth="near ties"),
    CalibrationWorld(name="three seeds, same order, not linear", rows=12, truth="same order", noise=0.15),
    CalibrationWorld(name="three seeds, true r = 1", rows=12, truth="r = 1"),
    CalibrationWorld(
        name="three seeds, true r = 1, seeds shared", rows=6, truth="r = 1", shared=0.8, of_seeds=0.9, noise=0.2
    ),
    CalibrationWorld(name="three seeds, equal rows", rows=12, truth="equal rows"),
    CalibrationWorld(name="three seeds, cells missing", rows=5, lost=0.03),
    CalibrationWorld(name="three seeds, the last half done", half_done=True),
    CalibrationWorld(name="three seeds, variants, some missing", rows=6, variants=2),
    CalibrationWorld(name="five seeds", seeds=5),
    CalibrationWorld(name="five seeds, 16 rows, true r = 1", seeds=5, rows=16, truth="r = 1", noise=0.2),
    CalibrationWorld(name="five seeds, 8 scenes, heavy tails, uneven", seeds=5, scenes=(8, 8), heavy=True, uneven=True),
    CalibrationWorld(name="three seeds, much noise", rows=12, noise=0.8),
    CalibrationWorld(name="one seed: of these networks", seeds=1, of_seeds=0.0),
)


@dataclass(frozen=True, kw_only=True)
class DrawnStudy:
    """One drawn study and the truth about it."""

    rows: tuple[str, ...]
    panels: Mapping[str, Panel]
    """By `branch/metric`."""
    true: Mapping[str, Floats]
    """`branch/metric` -> true mean of every row."""

    @property
    def means(self) -> Mapping[str, Floats]:
        """`branch/metric` -> measured mean of every row."""
        return {name: panel.means() for name, panel in self.panels.items()}


def true_scores(world: CalibrationWorld) -> tuple[Floats, Floats]:
    """Of either branch, with standard deviation 1 (all 0 in the world of equal rows); the same for every study."""
    draws = _generator(world.name, 0)
    first, other = draws.normal(size=(2, world.rows))
    first = _unit(first)
    if world.truth == "equal rows":
        return 0.0 * first, 0.0 * first
    if world.truth == "near ties":
        first = _unit(np.repeat(first[::2], 2)[: world.rows] + 0.02 * np.arange(world.rows))
    weight = {"unrelated": 0.0, "r = 1": 1.0}.get(world.truth, 0.7)
    second = _unit(weight * first + np.sqrt(1 - weight**2) * _unit(other - _unit(other) @ first / world.rows * first))
    if world.truth == "near ties":
        second = _unit(0.7 * first + 0.7 * np.roll(first, 4))
    if world.truth == "same order":
        second = _unit(np.exp(1.5 * first))
    return first, second


def draw(world: CalibrationWorld, study: int) -> DrawnStudy:
    """The study of that number in a world."""
    draws = _generator(world.name, 1 + study)
    first, second = true_scores(world)
    scale = np.ones((world.rows, 1, 1))
    if world.uneven:
        scale = np.exp(0.7 * _generator(world.name, -1).normal(size=scale.shape))
        scale /= np.sqrt((scale**2).mean())
    shape = (world.rows, 1, world.seeds)
    seeds = _values(world, draws)(shape)
    of_branch = [seeds, world.shared * seeds + np.sqrt(1 - world.shared**2) * _values(world, draws)(shape)]
    panels: dict[str, Panel] = {}
    true: dict[str, Floats] = {}
    rows = tuple(f"row-{i:02d}" for i in range(world.rows))
    for branch, truth, scenes, by_seed in zip((FIRST, SECOND), (first, second), world.scenes, of_branch, strict=True):
        present = _present(world, draws, (world.rows, scenes, world.seeds))
        common = _noise(world, draws, scenes, by_seed, scale)
        for name, unit in (PARTS if branch == FIRST else {f"{SECOND}/score": 10.0}).items():
            # Metrics of one branch see the same videos: most of their noise is the same.
            own = _noise(world, draws, scenes, _values(world, draws)(shape), scale)
            mixed = common if branch == SECOND else 0.9 * common + np.sqrt(1 - 0.9**2) * own
            true[name] = unit * truth
            panels[name] = _panel(world, draws, name, rows, true[name][:, None, None] + unit * mixed, present)
    return DrawnStudy(rows=rows, panels=panels, true=true)


def _noise(world: CalibrationWorld, draws: np.random.Generator, scenes: int, by_seed: Floats, scale: Floats) -> Floats:
    """(rows, scenes, seeds), of which a row's mean has a standard error of `world.noise`."""
    values = _values(world, draws)
    variance = world.noise**2
    rest = variance * (1 - world.of_seeds)
    own = by_seed * np.sqrt(variance * world.of_seeds * world.seeds)
    own = own + values((world.rows, scenes, 1)) * np.sqrt(0.6 * rest * scenes)
    own = own + values((world.rows, scenes, world.seeds)) * np.sqrt(0.4 * rest * scenes * world.seeds)
    # What is common to all rows; with one seed there is nothing to tell a seed's part from the truth.
    common = values((1, scenes, 1)) + (0.3 if world.seeds > 1 else 0.0) * values((1, 1, world.seeds))
    return np.asarray(scale * own + common)


def _values(world: CalibrationWorld, draws: np.random.Generator) -> Callable[[tuple[int, ...]], Floats]:
    if world.heavy:
        return lambda shape: np.asarray(draws.standard_t(3, shape) / np.sqrt(3.0))
    return lambda shape: draws.normal(size=shape)


def _present(world: CalibrationWorld, draws: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Cases that are there, (rows, scenes, seeds)."""
    cases = np.full(shape, float(world.variants))
    if world.variants > 1:
        cases -= draws.random(shape) < 0.2
    if world.lost:
        cases[draws.random(shape) < world.lost] = 0.0
    if world.half_done:
        cases[:, shape[1] // 2 :, -1] = 0.0
    return cases


def _panel(
    world: CalibrationWorld, draws: np.random.Generator, name: str, rows: tuple[str, ...], values: Floats, count: Floats
) -> Panel:
    scenes, seeds = values.shape[1:]
    # The cases of a scene differ; a scene's mean over fewer of them is less certain.
    scatter = 0.2 * np.abs(values).mean() * draws.normal(size=values.shape) / np.sqrt(np.maximum(count, 1.0))
    total = (values + (scatter if world.variants > 1 else 0.0)) * count
    return Panel(
        metric=name,
        unit="",
        better="low" if PARTS.get(name, 1.0) < 0 else "high",
        rows=rows,
        scenes=tuple(f"scene-{i}" for i in range(scenes)),
        seeds=tuple(range(seeds)),
        total=total,
        count=count,
        expected=scenes * seeds * world.variants,
    )


def _unit(values: Floats) -> Floats:
    centred = values - values.mean()
    spread = float(np.sqrt((centred**2).mean()))
    found: Floats = centred / (spread or 1.0)
    return found


def _generator(name: str, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode()), counter=[0, 0, 0, number + 2]))
