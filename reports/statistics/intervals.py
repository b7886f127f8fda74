r"""Confidence intervals over scenes and seeds, and Holm's adjustment for multiple comparisons.

Every scene is combined with every seed, and both are random effects: conclusions are about other scenes and seeds.
With $M$ the mean squares of a two-way layout of $I$ scenes and $S$ seeds,

$$ \widehat{\mathrm{Var}}(\bar d) = \frac{M_{scene} + M_{seed} - M_{rest}}{I S} $$

and the limits are Student's t with Satterthwaite's degrees of freedom. Their
coverage is measured in `test_interval_misses_as_often_as_it_says`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from reports.statistics.panel import Floats

LEVEL = 0.95
"""Coverage of every interval in the report."""

TINY = 1e-12
"""Relative size below which a spread is rounding error."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with limits and a two-sided p against zero."""

    mean: float
    low: float
    high: float
    p: float
    scenes: int
    seeds: int
    kind: Literal["scenes and seeds", "scenes only"]
    """`scenes only`: one seed, so that training again is not covered."""


def paired_interval(difference: Floats, level: float = LEVEL, most_freedom: float = math.inf) -> Interval:
    """Confidence interval for the mean of a complete layout, e.g. of A minus B.

    Args:
        difference: (scenes, seeds), in the unit of the metric, no missing cells.
        level: wanted coverage.
        most_freedom: bound of the degrees of freedom where there are two seeds or more. Satterthwaite's are too many
            by chance where those seeds differ little; with seeds − 1 simulated limits hold at 99 % too.

    Raises:
        ValueError: fewer than two scenes, no seed, or a missing cell.

    Reference: Satterthwaite (1946), Biometrics Bulletin 2(6), 110-114.
    """
    scenes, seeds = difference.shape
    if scenes < 2 or seeds < 1:
        raise ValueError(f"an interval needs at least 2 scenes and 1 seed, got {scenes} and {seeds}")
    if not np.isfinite(difference).all():
        raise ValueError("an interval needs a complete layout; leave out scenes with missing cells first")
    mean = float(difference.mean())
    variance, freedom = (_one_way if seeds == 1 else _two_way)(difference)
    freedom = freedom if seeds == 1 else min(freedom, most_freedom)
    kind: Literal["scenes and seeds", "scenes only"] = "scenes only" if seeds == 1 else "scenes and seeds"
    scale = max(float(np.abs(difference).max()), TINY)
    if variance <= (TINY * scale) ** 2:
        p = 1.0 if abs(mean) <= TINY * scale else 0.0
        return Interval(mean=mean, low=mean, high=mean, p=p, scenes=scenes, seeds=seeds, kind=kind)
    error = math.sqrt(variance)
    reach = float(stdtrit(freedom, 0.5 + level / 2)) * error
    p = 2.0 * float(stdtr(freedom, -abs(mean) / error))
    return Interval(mean=mean, low=mean - reach, high=mean + reach, p=p, scenes=scenes, seeds=seeds, kind=kind)


def _one_way(values: Floats) -> tuple[float, float]:
    scenes = values.shape[0]
    return float(values[:, 0].var(ddof=1)) / scenes, float(scenes - 1)


def _two_way(values: Floats) -> tuple[float, float]:
    """Variance of the mean and its degrees of freedom, for at least two scenes and two seeds."""
    scenes, seeds = values.shape
    mean = values.mean()
    by_scene = values.mean(axis=1)
    by_seed = values.mean(axis=0)
    rest = values - by_scene[:, None] - by_seed[None, :] + mean
    ms_scene = seeds * float(((by_scene - mean) ** 2).sum()) / (scenes - 1)
    ms_seed = scenes * float(((by_seed - mean) ** 2).sum()) / (seeds - 1)
    ms_rest = float((rest**2).sum()) / ((scenes - 1) * (seeds - 1))
    combined = ms_scene + ms_seed - ms_rest
    if combined <= 0:
        return max(ms_scene, ms_seed) / (scenes * seeds), float(min(scenes, seeds) - 1)
    spread = ms_scene**2 / (scenes - 1) + ms_seed**2 / (seeds - 1) + ms_rest**2 / ((scenes - 1) * (seeds - 1))
    return combined / (scenes * seeds), max(1.0, combined**2 / spread)


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Layouts cut to the scenes and seeds that all of them have, and how many were dropped."""

    layouts: tuple[Floats, ...]
    """Each (scenes kept, seeds kept)."""
    dropped_scenes: int
    dropped_seeds: int


def complete(layouts: Sequence[Floats]) -> Complete:
    """Cut layouts (scenes, seeds; NaN is missing) to the scenes present for all in every seed all have."""
    present = np.stack([np.isfinite(layout) for layout in layouts])  # (layouts, scenes, seeds)
    seeds = present.any(axis=1).all(axis=0)
    scenes = present[:, :, seeds].all(axis=(0, 2)) if seeds.any() else np.zeros(present.shape[1], dtype=bool)
    return Complete(
        layouts=tuple(layout[scenes][:, seeds] for layout in layouts),
        dropped_scenes=int(present.any(axis=(0, 2)).sum() - scenes.sum()),
        dropped_seeds=int(present.any(axis=(0, 1)).sum() - seeds.sum()),
    )


def interval_or_none(values: Floats) -> Interval | None:
    """`paired_interval`, or None with fewer than two scenes or without a seed."""
    if values.shape[0] < 2 or values.shape[1] < 1:
        return None
    return paired_interval(values)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given.

    Reference: Holm (1979), Scandinavian Journal of Statistics 6(2), 65-70.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - place) * p_values[i]))
        adjusted[i] = running
    return adjusted
