r"""Confidence intervals over scenes and seeds, and Holm's adjustment for multiple comparisons.

Every scene is combined with every seed, and both are random effects: conclusions are about other scenes and seeds.
With $M$ the mean squares of a two-way layout of $I$ scenes and $S$ seeds,

$$ \widehat{\mathrm{Var}}(\bar d) = \frac{M_{scene} + M_{seed} - M_{rest}}{I S} $$

and the limits are Student's t with Satterthwaite's degrees of freedom, but no more than `calibrated_freedom`: with two
or three seeds that differ little by chance, Satterthwaite's are too many (12 % missed at two seeds and 32 scenes). How
often the limits miss is in `docs/reference/calibration.md`.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from reports.statistics.panel import Floats

Bools = npt.NDArray[np.bool_]

LEVEL = 0.95
"""Coverage of every interval in the report."""
ALPHA = 0.05
"""Level of every test in the report."""
FEWEST_SEEDS = 2
"""Of what is said beyond the networks that were trained."""

TINY = 1e-12
"""Relative size below which a spread is rounding error."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with limits and a two-sided p against zero."""

    mean: float
    low: float
    high: float
    p: float
    error: float
    """Standard error of the mean; 0: it is known exactly."""
    freedom: float
    """Degrees of freedom of its Student's t."""
    scenes: int
    seeds: int
    kind: Literal["scenes and seeds", "scenes only"]
    """`scenes only`: one seed, so that training again is not covered."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a number that is no mean; or the reason why there are none."""

    low: float | None = None
    high: float | None = None
    reason: str = ""
    """Why there are no limits; else empty."""
    kind: Literal["scenes and seeds", "scenes only", ""] = ""
    """As of `Interval`; empty without limits."""


def kind_of(seeds: int) -> Literal["scenes and seeds", "scenes only"]:
    """What limits over so many seeds are over."""
    return "scenes only" if seeds == 1 else "scenes and seeds"


def calibrated_freedom(seeds: int) -> float:
    """Most degrees of freedom of limits that rest on the scatter of so many seeds alone.

    One for each pair of seeds, and 1.5 for two seeds: found by simulation, not derived. Of bounds that keep misses
    under 7 % for 8 to 128 scenes at any share of the seeds in the variance, it widens three seeds and more the least.
    """
    return math.inf if seeds == 1 else max(1.5, seeds * (seeds - 1) / 2)


def paired_interval(difference: Floats, level: float = LEVEL, most_freedom: float = math.inf) -> Interval:
    """Confidence interval for the mean of a complete layout, e.g. of A minus B.

    Args:
        difference: (scenes, seeds), in the unit of the metric, no missing cells.
        level: wanted coverage.
        most_freedom: bound of the degrees of freedom below that of `calibrated_freedom`, where there are two seeds or
            more; with seeds − 1 simulated limits hold at 99 % too.

    Raises:
        ValueError: fewer than two scenes, no seed, or a missing cell.

    Reference: Satterthwaite (1946), Biometrics Bulletin 2(6), 110-114.
    """
    return interval_of_sum([difference], level, most_freedom)


def interval_of_sum(
    parts: Sequence[Floats], level: float = LEVEL, most_freedom: float = math.inf, least_of_seeds: float = 0.0
) -> Interval:
    r"""Confidence interval for the sum of the means of layouts that share their seeds, but not their scenes.

    A contrast of two branches is such a sum, since a seed is one network on both. With $A_s$ the sum of the layouts'
    means in seed $s$,

    $$ \widehat{\mathrm{Var}} = \frac{\mathrm{var}(A)}{S} + \sum_b \frac{M_{scene,b} - M_{rest,b}}{I_b S} , $$

    which for one layout is the variance of the module's docstring.

    Args:
        parts: each (scenes, seeds), with the same seeds, no missing cells.
        level: wanted coverage.
        most_freedom: as of `paired_interval`.
        least_of_seeds: if positive, $\mathrm{var}(A)$ is at least this, with `most_freedom` degrees of freedom
            (`seed_scatter.py` has it from other rows), and $M_{rest}$ is not subtracted; unless there is one seed.

    Raises:
        ValueError: a layout with fewer than two scenes, no seed, unequal seeds, or a missing cell.
    """
    seeds = parts[0].shape[1]
    scenes = min(part.shape[0] for part in parts)
    if scenes < 2 or seeds < 1:
        raise ValueError(f"an interval needs at least 2 scenes and 1 seed, got {scenes} and {seeds}")
    if any(part.shape[1] != seeds for part in parts):
        raise ValueError(f"layouts of one sum share their seeds, got {[part.shape[1] for part in parts]}")
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError("an interval needs a complete layout; leave out scenes with missing cells first")
    kind = kind_of(seeds)
    found = estimates(parts, most_freedom, least_of_seeds)
    mean, reach = float(found.mean), float(found.reach(level))
    return Interval(
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        p=float(found.p),
        error=float(found.error),
        freedom=float(found.freedom),
        scenes=scenes,
        seeds=seeds,
        kind=kind,
    )


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What intervals are made of, an array entry for each, (...)."""

    mean: Floats
    error: Floats
    """Standard error of the mean; 0: it is known exactly."""
    freedom: Floats
    """Degrees of freedom of its Student's t."""
    p: Floats
    """Two-sided, against zero."""

    def reach(self, level: float = LEVEL) -> Floats:
        """How far the limits are from the mean, (...)."""
        found: Floats = stdtrit(self.freedom, 0.5 + level / 2) * self.error
        return found


def estimates(
    parts: Sequence[Floats], most_freedom: Floats | float = math.inf, least_of_seeds: Floats | float = 0.0
) -> Estimates:
    """`interval_of_sum` of many sums at once: each part (..., scenes, seeds), complete, with two scenes or more."""
    mean: Floats = np.asarray(sum(part.mean(axis=(-2, -1)) for part in parts))
    variance, freedom = _variances(parts, most_freedom, least_of_seeds)
    scale = np.max([np.abs(part).max(axis=(-2, -1)) for part in parts], axis=0, initial=TINY)
    scattered = variance > (TINY * scale) ** 2
    error: Floats = np.where(scattered, np.sqrt(np.where(scattered, variance, 0.0)), 0.0)
    scaled = np.divide(-np.abs(mean), error, out=np.zeros(error.shape), where=scattered)
    known = np.where(np.abs(mean) <= TINY * scale, 1.0, 0.0)
    p: Floats = np.where(scattered, 2.0 * stdtr(freedom, scaled), known)
    return Estimates(mean=mean, error=error, freedom=freedom, p=p)


def variance_of_sum(
    parts: Sequence[Floats], most_freedom: float = math.inf, least_of_seeds: float = 0.0
) -> tuple[float, float]:
    """Variance of the sum of the means of layouts that share their seeds, and its degrees of freedom.

    Args:
        parts: as of `interval_of_sum`.
        most_freedom: as there.
        least_of_seeds: as there.
    """
    variance, freedom = _variances(parts, most_freedom, least_of_seeds)
    return float(variance), float(freedom)


def _variances(
    parts: Sequence[Floats], most_freedom: Floats | float, least_of_seeds: Floats | float
) -> tuple[Floats, Floats]:
    """`variance_of_sum` of many sums at once: each part (..., scenes, seeds)."""
    seeds = parts[0].shape[-1]
    if seeds == 1:
        return _over_scenes(parts)
    variance, freedom = _over_both(parts, least_of_seeds, most_freedom)
    own = np.minimum(most_freedom, calibrated_freedom(seeds))
    return variance, np.minimum(freedom, np.where(np.asarray(least_of_seeds) > 0, most_freedom, own))


def _over_scenes(parts: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Variance of the sum of means and its degrees of freedom, for one seed."""
    return satterthwaite([(part[..., 0].var(axis=-1, ddof=1) / _scenes(part), _scenes(part) - 1.0) for part in parts])


def _over_both(parts: Sequence[Floats], least: Floats | float, most_freedom: Floats | float) -> tuple[Floats, Floats]:
    """Variance of the sum of means and its degrees of freedom, for at least two scenes and two seeds."""
    seeds = parts[0].shape[-1]
    own = np.sum([part.mean(axis=-2) for part in parts], axis=0).var(axis=-1, ddof=1)
    of_seeds = np.maximum(own, least) / seeds
    of_scenes = np.zeros(of_seeds.shape)
    components: list[tuple[Floats, Floats | float]] = [
        (of_seeds, np.where(np.asarray(least) > 0, most_freedom, seeds - 1.0))
    ]
    for part in parts:
        scenes, mean = _scenes(part), part.mean(axis=(-2, -1))
        by_scene, by_seed = part.mean(axis=-1), part.mean(axis=-2)
        rest = part - by_scene[..., :, None] - by_seed[..., None, :] + mean[..., None, None]
        ms_scene = seeds * ((by_scene - mean[..., None]) ** 2).sum(axis=-1) / (scenes - 1)
        ms_rest = (rest**2).sum(axis=(-2, -1)) / ((scenes - 1) * (seeds - 1))
        of_scenes = of_scenes + ms_scene / (scenes * seeds)
        components.append((ms_scene / (scenes * seeds), scenes - 1.0))
        subtracted = np.where(np.asarray(least) > 0, 0.0, -ms_rest / (scenes * seeds))
        components.append((subtracted, (scenes - 1.0) * (seeds - 1.0)))
    variance, freedom = satterthwaite(components)
    fewest = float(min(seeds, *map(_scenes, parts)) - 1)
    positive = variance > 0
    return np.where(positive, variance, np.maximum(of_scenes, of_seeds)), np.where(positive, freedom, fewest)


def _scenes(part: Floats) -> int:
    return int(part.shape[-2])


def satterthwaite(components: Sequence[tuple[Floats, Floats | float]]) -> tuple[Floats, Floats]:
    """The sum of variances, each with its degrees of freedom, and the degrees of freedom of the sum, at least 1."""
    total: Floats = np.asarray(sum(variance for variance, _ in components))
    spread = np.asarray(sum(variance * variance / freedom for variance, freedom in components))
    ratio = np.divide(total * total, spread, out=np.ones(total.shape), where=spread > 0)
    return total, np.maximum(1.0, ratio)


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Layouts cut to the scenes and seeds that all of them have, and how many were dropped."""

    layouts: tuple[Floats, ...]
    """Each (scenes kept, seeds kept)."""
    dropped_scenes: int
    dropped_seeds: int


@dataclass(frozen=True, kw_only=True)
class CompleteTogether:
    """The same for several branches, of which each has own scenes and all have the same seeds."""

    layouts: tuple[tuple[Floats, ...], ...]
    """branch -> its layouts, each (scenes of the branch kept, seeds kept)."""
    dropped_scenes: int
    """Of all branches together."""
    dropped_seeds: int


def complete(layouts: Sequence[Floats]) -> Complete:
    """Cut layouts (scenes, seeds; NaN is missing) to the largest block of scenes and seeds that all of them have.

    Largest is the block with most (scenes − 1)(seeds − 1), which is what a comparison over scenes and seeds is made
    from; where no block has two of each, the one with most scenes. So one scene of a third seed takes away nothing of
    what two whole seeds say.
    """
    cut = complete_together([layouts])
    return Complete(layouts=cut.layouts[0], dropped_scenes=cut.dropped_scenes, dropped_seeds=cut.dropped_seeds)


def complete_together(branches: Sequence[Sequence[Floats]]) -> CompleteTogether:
    """`complete` for the layouts of several branches: the scenes of each are cut alone, the seeds jointly.

    A block is as large as its smallest branch.
    """
    present = [np.stack([np.isfinite(layout) for layout in layouts]) for layouts in branches]
    scenes, seeds = largest_blocks([np.asarray(one.all(axis=0)) for one in present])
    return CompleteTogether(
        layouts=tuple(
            tuple(layout[kept][:, seeds] for layout in layouts) for kept, layouts in zip(scenes, branches, strict=True)
        ),
        dropped_scenes=sum(
            int(one.any(axis=(0, 2)).sum() - kept.sum()) for one, kept in zip(present, scenes, strict=True)
        ),
        dropped_seeds=int(np.logical_or.reduce([one.any(axis=(0, 1)) for one in present]).sum() - seeds.sum()),
    )


MOST_SEEDS_TRIED = 10
"""Up to so many incomplete seeds every set of seeds is tried; of more, those with the most scenes first."""


def largest_block(present: Bools) -> tuple[Bools, Bools]:
    """(scenes, seeds), as masks, of the largest block without a gap in `present` (`complete` says what is largest)."""
    (scenes,), seeds = largest_blocks([present])
    return scenes, seeds


def largest_blocks(present: Sequence[Bools]) -> tuple[list[Bools], Bools]:
    """(scenes of each branch, seeds), as masks, of the largest block without a gap in any of the branches."""
    some: Bools = np.asarray(np.stack([one.any(axis=0) for one in present]).all(axis=0))
    whole: Bools = np.asarray(np.stack([one.all(axis=0) for one in present]).all(axis=0))
    counted = np.min([one.sum(axis=0) for one in present], axis=0)
    partial = [int(seed) for seed in np.argsort(-counted, kind="stable") if some[seed] and not whole[seed]]
    if len(partial) > MOST_SEEDS_TRIED:
        tried: Iterable[Sequence[int]] = (partial[:count] for count in range(len(partial) + 1))
    else:
        tried = (chosen for count in range(len(partial) + 1) for chosen in itertools.combinations(partial, count))
    # Every set of seeds at once, (sets, seeds), and the scenes that each of them leaves, (scenes, sets).
    seeds = np.array([[whole[seed] or seed in chosen for seed in range(len(whole))] for chosen in tried])
    left = [(~one).astype(np.float64) @ seeds.T.astype(np.float64) == 0.0 for one in present]
    fewest = np.min([one.sum(axis=0) for one in left], axis=0)
    counts = seeds.sum(axis=1)
    size = (np.maximum(0, fewest - 1) * (counts - 1) * (fewest.max() + 1) + fewest) * (len(whole) + 1) + counts
    size = np.where((counts > 0) & (fewest > 0), size, -1)
    best = int(size.argmax())
    if size[best] < 0:
        return [np.zeros(len(one), np.bool_) for one in present], np.zeros(len(whole), np.bool_)
    return [np.asarray(one[:, best]) for one in left], np.asarray(seeds[best])


def interval_or_none(values: Floats) -> Interval | None:
    """`paired_interval`, or None with fewer than two scenes or without a seed."""
    if values.shape[0] < 2 or values.shape[1] < 1:
        return None
    return paired_interval(values)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given.

    Reference: Holm (1979), Scandinavian Journal of Statistics 6(2), 65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    times = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, times * values[order]))
    return [float(p) for p in adjusted]
