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

from scipy.special import chdtri, nctdtr, stdtrit

from reports.statistics.intervals import LEVEL, calibrated_freedom
from reports.statistics.panel import Floats

POWER = 0.8
"""Power that is asked for where nothing else is said."""
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


def variance_of_mean(of: VarianceComponents, scenes: int, seeds: int) -> tuple[float, float]:
    """Variance of the mean difference in a design, and the degrees of freedom of its expected mean squares, at least 1.

    Raises:
        ValueError: fewer than two scenes or seeds, or the variance of seeds is not known.
    """
    if scenes < 2 or seeds < 2:
        raise ValueError(f"a verdict needs at least 2 scenes and 2 seeds, got {scenes} and {seeds}")
    if of.seed is None:
        raise ValueError("the variance of seeds is not known: the pilot has one seed")
    squares = (of.rest + seeds * of.scene, of.rest + scenes * of.seed, of.rest)
    freedoms = (scenes - 1, seeds - 1, (scenes - 1) * (seeds - 1))
    variance = (squares[0] + squares[1] - squares[2]) / (scenes * seeds)
    spread = sum((square / (scenes * seeds)) ** 2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    return variance, max(1.0, variance**2 / spread) if spread > 0 else 1.0


def power_of(
    effect: float, of: VarianceComponents, scenes: int, seeds: int, *, claim: Claim = "difference", level: float = LEVEL
) -> float:
    """Probability that a design finds an effect, or shows equivalence within a margin, of this size.

    Raises:
        ValueError: as `variance_of_mean`.
    """
    variance, freedom = variance_of_mean(of, scenes, seeds)
    return _power(abs(effect), variance, freedom, seeds, claim, level)


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
        ValueError: as `variance_of_mean`.
    """
    variance, freedom = variance_of_mean(of, scenes, seeds)
    if variance <= 0:
        return 0.0
    low, high = 0.0, math.sqrt(variance)
    while _power(high, variance, freedom, seeds, claim, level) < power:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, variance, freedom, seeds, claim, level) >= power else (middle, high)
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
        ValueError: as `variance_of_mean`.
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


def _power(effect: float, variance: float, freedom: float, seeds: int, claim: Claim, level: float) -> float:
    if variance <= 0:
        return 1.0 if effect > 0 else 0.0
    shift, of_limits = effect / math.sqrt(variance), min(freedom, calibrated_freedom(seeds))
    if claim == "equivalence":  # each side fails with the same probability, nearly never both
        one_sided = float(stdtrit(of_limits, level))
        return max(0.0, 1 - 2 * _below(freedom, shift, one_sided))
    two_sided = float(stdtrit(of_limits, 0.5 + level / 2))
    return 1 - _below(freedom, shift, two_sided) + _below(freedom, shift, -two_sided)


def _below(freedom: float, shift: float, limit: float) -> float:
    """P(T < limit) of the noncentral t."""
    found = float(nctdtr(freedom, shift, limit))
    return found if math.isfinite(found) else 0.0  # so far in the tail that the series has no digit left


def _upper(variance: float, freedom: int) -> float:
    """One-sided upper limit of a mean square with these degrees of freedom."""
    return variance * freedom / float(chdtri(freedom, UPPER))
