r"""Power: which difference of two rows a design of seeds × scenes resolves, from the variances of a pilot.

The paired difference in scene $i$ and seed $j$ is $d_{ij} = \mu + a_i + b_j + e_{ij}$ with variances $\sigma_a^2$
(scene), $\sigma_b^2$ (seed) and $\sigma_e^2$ (rest). A pilot of $I$ scenes and $S$ seeds has the mean squares
$M_{scene}$, $M_{seed}$, $M_{rest}$, with the expectations $\sigma_e^2 + S\sigma_a^2$, $\sigma_e^2 + I\sigma_b^2$ and
$\sigma_e^2$; solved for the variances they are the ANOVA estimates. In another design, of $I'$ scenes and $S'$ seeds,

$$ V = \mathrm{Var}(\bar d) = \frac{\sigma_a^2}{I'} + \frac{\sigma_b^2}{S'} + \frac{\sigma_e^2}{I' S'} . $$

The test is that of `intervals.interval_of_sum`: t with Satterthwaite's degrees of freedom $\nu$, here those of the
expected mean squares, and with limits of no more than `calibrated_freedom`, $\nu' \le \nu$. So $T = \bar d /
\sqrt{\hat V}$ is about noncentral t with $\nu$ degrees of freedom and noncentrality $\delta / \sqrt V$, and

$$ \mathrm{power}(\delta) = P(|T| > t_{\nu', 0.975}) . $$

Findings take the scatter over seeds of all rows (`seed_scatter.py`): the variance of a seed's mean is then the larger
one of the difference's own, $A\,\chi^2_{S'-1} / (S' - 1)$ with $A = \sigma_b^2 + \sigma_e^2 / I'$, and of the pooled
one $P$, and the degrees of freedom are those of the pooled one. The power is the mean over $\chi^2$ (`QUANTILES`), with
$A$ no less than $P$: a difference whose seeds agree in the pilot is not expected to agree in the study.

An estimate below 0 counts as 0. With two or three seeds that happens by chance where the variance is not 0, and an
estimate is easily half of the truth: `PilotVariance.cautious` has every variance at its 80 % upper limit (Browne), with
which a design reaches its power in four of five pilots.

`test_power_is_the_share_of_simulated_studies_that_find_the_effect` compares this with simulated studies. A promised 0.8
is 0.77 to 0.81 there from three seeds on, and 0.73 with two; where neither scenes nor seeds vary, the interval falls
back to wider limits, and it is 0.62 with six seeds.

References: Searle, Casella & McCulloch (1992), Variance Components, chapter 4; Satterthwaite (1946), Biometrics
Bulletin 2(6), 110-114; Browne (1995), Statistics in Medicine 14(17), 1933-1940; Schuirmann (1987), Journal of
Pharmacokinetics and Biopharmaceutics 15(6), 657-680.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import chdtri, nctdtr, stdtrit

from reports.spec import POWER
from reports.statistics.intervals import LEVEL, calibrated_freedom
from reports.statistics.panel import Floats
from reports.statistics.seed_scatter import SeedScatter

QUANTILES = 32
"""So many, evenly spaced, stand for the scatter of a few seeds."""
UPPER = 0.8
"""Level of the one-sided upper limits of `PilotVariance.cautious`."""

Claim = Literal["difference", "equivalence"]
"""`difference`: the two-sided test finds a difference of this size. `equivalence`: two one-sided tests place the
difference, if it is 0, within a margin of this size."""


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Variances of a paired difference, in the metric's unit squared."""

    scene: float
    seed: float | None
    """None: there was one seed, so that it is not known what another training changes."""
    rest: float
    pooled: float | None = None
    """Variance of seeds that is pooled over rows, if the test takes the larger one; `seed` is no less."""
    pooled_rows: float = 1.0
    """Degrees of freedom of the pooled one, for each of the seeds − 1."""


@dataclass(frozen=True, kw_only=True)
class PilotVariance:
    """What a pilot says of the variances."""

    scenes: int
    seeds: int
    estimate: VarianceComponents
    cautious: VarianceComponents
    """Each at its upper limit (`UPPER`)."""
    negative: tuple[str, ...] = ()
    """Names of the components whose estimate was below 0, and so counts as 0."""
    seed_from: Literal["seeds", "noise row", ""] = "seeds"
    """Where the variance of seeds is from; empty: it is not known."""


@dataclass(frozen=True, kw_only=True)
class DesignPower:
    """What seeds × scenes resolve."""

    scenes: int
    seeds: int
    detectable: float
    """Smallest effect that has the power asked for."""
    power: float
    """Of the effect asked for."""


def pilot_variance(difference: Floats) -> PilotVariance:
    """Variance components of a complete layout of paired differences.

    Args:
        difference: (scenes, seeds), in the unit of the metric. With one seed, rest cannot be told from scene and counts
            as scene, which is the conservative reading: more seeds then reduce none of it.

    Raises:
        ValueError: fewer than two scenes, or no seed.
    """
    scenes, seeds = difference.shape
    if scenes < 2 or seeds < 1:
        raise ValueError(f"variances need at least 2 scenes and 1 seed, got {scenes} and {seeds}")
    if seeds == 1:
        found = float(difference[:, 0].var(ddof=1))
        return PilotVariance(
            scenes=scenes,
            seeds=1,
            estimate=VarianceComponents(scene=found, seed=None, rest=0.0),
            cautious=VarianceComponents(scene=_upper(found, scenes - 1), seed=None, rest=0.0),
            seed_from="",
        )
    by_scene, by_seed, mean = difference.mean(axis=1), difference.mean(axis=0), difference.mean()
    left = difference - by_scene[:, None] - by_seed[None, :] + mean
    ms_scene, ms_seed = seeds * float(by_scene.var(ddof=1)), scenes * float(by_seed.var(ddof=1))
    freedom = (scenes - 1) * (seeds - 1)
    ms_rest = float((left**2).sum()) / freedom
    raw = {"scene": (ms_scene - ms_rest) / seeds, "seed": (ms_seed - ms_rest) / scenes}
    return PilotVariance(
        scenes=scenes,
        seeds=seeds,
        estimate=VarianceComponents(scene=max(0.0, raw["scene"]), seed=max(0.0, raw["seed"]), rest=ms_rest),
        cautious=VarianceComponents(
            scene=max(0.0, _upper(ms_scene, scenes - 1) - ms_rest) / seeds,
            seed=max(0.0, _upper(ms_seed, seeds - 1) - ms_rest) / scenes,
            rest=_upper(ms_rest, freedom),
        ),
        negative=tuple(name for name, value in raw.items() if value < 0),
    )


def with_seed_of_noise(pilot: PilotVariance, again: Floats) -> PilotVariance:
    """A pilot of one seed, with the variance of seeds from a row that was trained twice.

    The two trainings differ in nothing but their initialisation, so their difference is 0 but for what training again
    changes: $E[\\bar d^2] = \\sigma_b^2 + \\mathrm{var}(d) / I$, with one degree of freedom.

    Args:
        pilot: of one seed.
        again: (scenes, 1), the second training minus the first.
    """
    scenes = len(again)
    squared, within = float(again.mean()) ** 2, float(again[:, 0].var(ddof=1)) / scenes
    return replace(
        pilot,
        estimate=replace(pilot.estimate, seed=max(0.0, squared - within)),
        cautious=replace(pilot.cautious, seed=max(0.0, _upper(squared, 1) - within)),
        negative=(*pilot.negative, "seed") if squared < within else pilot.negative,
        seed_from="noise row",
    )


def with_pooled_seeds(pilot: PilotVariance, scatter: SeedScatter, weights: Floats) -> PilotVariance:
    """A pilot of two seeds or more for a test that takes the scatter over seeds of all rows.

    Args:
        pilot: of a difference.
        scatter: of the pilot's rows, over its seeds and scenes.
        weights: (rows,) of the difference.
    """
    pooled, rows = scatter.variance(weights[:, None]), scatter.freedom / (pilot.seeds - 1)

    def pooled_into(of: VarianceComponents, variance: float) -> VarianceComponents:
        shared = max(0.0, variance - pilot.estimate.rest / pilot.scenes)
        return replace(of, seed=max(pilot.estimate.seed or 0.0, shared), pooled=shared, pooled_rows=rows)

    return replace(
        pilot,
        estimate=pooled_into(pilot.estimate, pooled),
        cautious=pooled_into(pilot.cautious, _upper(pooled, scatter.freedom)),
    )


@dataclass(frozen=True, kw_only=True)
class _Design:
    """What the power of a design is computed from; arrays are over `QUANTILES` of the scatter over seeds."""

    variance: float
    """Of the mean difference."""
    freedom: Floats
    """Of the estimated variance."""
    limit: Floats
    """Degrees of freedom of the test's limits."""
    ratio: Floats
    """Estimated standard error, in true ones."""


def _design(of: VarianceComponents, scenes: int, seeds: int) -> _Design:
    """A design.

    Raises:
        ValueError: fewer than two scenes or seeds, or the variance of seeds is not known.
    """
    if scenes < 2 or seeds < 2:
        raise ValueError(f"a verdict needs at least 2 scenes and 2 seeds, got {scenes} and {seeds}")
    if of.seed is None:
        raise ValueError("the variance of seeds is not known: the pilot has one seed")
    own = of.seed + of.rest / scenes
    of_seeds, most = np.array([own]), seeds - 1.0
    if of.pooled is not None:
        most = (seeds - 1) * of.pooled_rows
        middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
        of_seeds = np.maximum(own * chdtri(seeds - 1, 1 - middles) / (seeds - 1), of.pooled + of.rest / scenes)
    ms_scene, number = of.rest + seeds * of.scene, scenes * seeds
    variance = of.scene / scenes + own / seeds
    estimated = of.scene / scenes + of_seeds / seeds
    spread = (of_seeds / seeds) ** 2 / most
    spread = spread + (ms_scene / number) ** 2 / (scenes - 1)
    spread = spread + (of.rest / number) ** 2 / ((scenes - 1) * (seeds - 1))
    freedom = np.maximum(1.0, np.divide(estimated**2, spread, out=np.ones(len(spread)), where=spread > 0))
    bound = calibrated_freedom(seeds) if of.pooled is None else most
    return _Design(
        variance=variance,
        freedom=freedom,
        limit=np.minimum(freedom, bound),
        ratio=np.sqrt(estimated / variance) if variance > 0 else np.ones(len(freedom)),
    )


def power_of(
    effect: float, of: VarianceComponents, scenes: int, seeds: int, *, claim: Claim = "difference", level: float = LEVEL
) -> float:
    """Probability that a design finds an effect, or shows equivalence within a margin, of this size.

    Raises:
        ValueError: fewer than two scenes or seeds, or the variance of seeds is not known.
    """
    return _power(abs(effect), _design(of, scenes, seeds), claim, level)


def detectable(
    power: float, of: VarianceComponents, scenes: int, seeds: int, *, claim: Claim = "difference", level: float = LEVEL
) -> float:
    """The smallest effect, or margin, that a design resolves with this power.

    Args:
        power: above 1 − `level` and below 1.
        of: of the paired difference.
        scenes: of the design.
        seeds: of the design.
        claim: what is to be shown.
        level: of the interval.

    Raises:
        ValueError: as `power_of`.
    """
    design = _design(of, scenes, seeds)
    if design.variance <= 0:
        return 0.0
    low, high = 0.0, math.sqrt(design.variance)
    while _power(high, design, claim, level) < power:
        low, high = high, 2 * high
    for _ in range(32):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, design, claim, level) >= power else (middle, high)
    return high


def design_power(
    effect: float,
    of: VarianceComponents,
    scenes: int,
    seeds: int,
    *,
    power: float = POWER,
    claim: Claim = "difference",
) -> DesignPower:
    """Both of one design.

    Raises:
        ValueError: as `power_of`.
    """
    return DesignPower(
        scenes=scenes,
        seeds=seeds,
        detectable=detectable(power, of, scenes, seeds, claim=claim),
        power=power_of(effect, of, scenes, seeds, claim=claim),
    )


def half_width(of: VarianceComponents, scenes: int, level: float = LEVEL) -> float:
    """Half the width of the interval over scenes alone, of one seed: what training again changes is not in it."""
    return float(stdtrit(scenes - 1, 0.5 + level / 2)) * math.sqrt((of.scene + of.rest) / scenes)


def _power(effect: float, design: _Design, claim: Claim, level: float) -> float:
    if design.variance <= 0:
        return 1.0 if effect > 0 else 0.0
    shift = effect / math.sqrt(design.variance)
    if claim == "equivalence":  # each side fails with the same probability, nearly never both
        one_sided = stdtrit(design.limit, level) * design.ratio
        return max(0.0, 1 - 2 * _below(design, shift, one_sided))
    two_sided = stdtrit(design.limit, 0.5 + level / 2) * design.ratio
    return 1 - _below(design, shift, two_sided) + _below(design, shift, -two_sided)


def _below(design: _Design, shift: float, limits: Floats) -> float:
    """P(T < limit) of the noncentral t, the mean over the design's quantiles."""
    found = nctdtr(design.freedom, shift, limits)
    # Not a number: so far in the tail that the series has no digit left.
    return float(np.where(np.isfinite(found), found, 0.0).mean())


def _upper(variance: float, freedom: float) -> float:
    """One-sided upper limit of a mean square with these degrees of freedom."""
    return variance * freedom / float(chdtri(freedom, UPPER))
