r"""Anytime-valid tests of paired differences: e-values over seeds that may be looked at after every seed.

What may be exchanged for another one is the seed: a case is no unit, since the cases of a seed share its network, and
all seeds share the scenes. The mean over scenes of the paired difference in seed $s$ is $X_s = \mu + A + B_s$, with
$B_s \sim N(0, \sigma^2)$ and, once for all seeds, $A \sim N(0, \rho\sigma^2)$: what these scenes do that others would
not. With $n$ seeds, $T = \sum X_s^2$ and $q = n \bar X^2 / T$, a mean that is itself drawn from $N(0, a\sigma^2)$, and
the right Haar measure on $\sigma$, give the marginal likelihood

$$ L_a \propto (1 + na)^{-1/2} \left(1 - q \frac{na}{1 + na}\right)^{-n/2} , $$

and $E = L_{g+\rho} / L_\rho$ is an e-process for $\mu = 0$ whatever $\sigma$ is: its expectation is at most 1 at every
time that is chosen by looking, so that it ever exceeds $1/\alpha$ with probability $\alpha$ at most (Ville). Where only
one sign counts, the drawn mean has that sign: $E$ times twice the probability of the sign, whose distribution under
$L_{g+\rho}$ is Student's t with $n$ degrees of freedom.

$\rho$ is estimated from the layout, and $\sigma^2$ is taken no smaller than the variance of a mean over scenes, that of
what is left over scenes and seeds divided by the number of scenes: a few seeds that agree more than their own scenes
allow agree by chance. Both make $E$ smaller where they matter. How often a simulated grid errs is in
`docs/how-to/race.md`.

Sources: the test: Lai (1976), Annals of Statistics 4(2), 265-280; Wang and Ramdas (2025), Sequential Analysis 44(1),
56-110, arXiv:2310.03722; Ville's inequality and confidence sequences: Howard et al. (2021), Annals of Statistics
49(2), arXiv:1810.08240; families: Vovk and Wang (2021), Annals of Statistics 49(3), 1736-1754, arXiv:1912.06116.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr

from reports.statistics.panel import Floats

LARGE, SMALL = 100.0, 10.0
"""g of a difference that is looked for, and of the distance from a margin, in variances of a seed.

Ten and three standard deviations: the rows of a grid that differ do so by five to twenty, and a margin that matters is
a few away.
"""
BISECTIONS = 60
LARGEST_LOG = 600.0
"""An e-value is at most e to this, which is a number still."""


def against_none(difference: Floats) -> Floats:
    """E-values against a mean difference of 0, (...).

    Args:
        difference: (..., scenes, seeds), complete, with two scenes and two seeds or more, in the metric's unit.

    Raises:
        ValueError: fewer scenes or seeds, or a missing cell.
    """
    found = _moments(difference)
    evidence: Floats = np.exp(np.minimum(_logarithm(found, found.q, LARGE), LARGEST_LOG))
    return evidence


def against_outside(difference: Floats, margin: float) -> Floats:
    """E-values against a mean difference of `margin` or more on either side, (...).

    The smaller one of two, against each side: where both are large, the difference lies between the margins.

    Args:
        difference: as of `against_none`.
        margin: above 0, in the metric's unit.

    Raises:
        ValueError: as of `against_none`, or a margin that is not positive.
    """
    if not margin > 0:
        raise ValueError(f"a margin is {margin}; allowed: a positive number, in the unit of the effect")
    found = _moments(difference)
    evidence: Floats = np.minimum(_of_sign(found.shifted(margin), 1), _of_sign(found.shifted(-margin), -1))
    return evidence


def limits(difference: Floats, level: float) -> tuple[Floats, Floats]:
    """Limits of the mean difference that hold at every look together, (low, high), each (...).

    The means that `against_none` does not reject by itself; infinite where it can reject none with so few seeds.

    Args:
        difference: as of `against_none`.
        level: wanted coverage.

    Raises:
        ValueError: as of `against_none`.
    """
    found = _moments(difference)
    wanted = -math.log1p(-level)
    low, high = np.zeros_like(found.mean), np.ones_like(found.mean)
    for _ in range(BISECTIONS):  # the e-value rises with q
        middle = (low + high) / 2
        enough = _logarithm(found, middle, LARGE) >= wanted
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    odds = np.divide(high, 1 - high, out=np.full_like(high, np.inf), where=high < 1)
    reach = np.sqrt(np.where(found.variance > 0, odds * (found.seeds - 1) / found.seeds * found.variance, 0.0))
    return found.mean - reach, found.mean + reach


def of_family(evidence: Floats) -> Floats:
    """E-values adjusted for a family, (..., hypotheses): closed testing by averages (Vovk and Wang, algorithm 1).

    A hypothesis is rejected with every set that it is in, whose e-value is the average of its members'; the smallest
    average is with the smallest others. However the e-values depend on each other, those of true hypotheses then ever
    exceed 1/alpha with probability alpha at most, all together.
    """
    number = evidence.shape[-1]
    order = np.argsort(evidence, axis=-1)
    ordered = np.take_along_axis(evidence, order, axis=-1)
    sums = np.cumsum(ordered, axis=-1)
    counts = np.arange(1, number + 1)
    own = np.arange(number)
    # With the k smallest: those up to a hypothesis's own place, or k others and itself.
    smaller = np.concatenate([np.zeros_like(sums[..., :1]), sums[..., :-1]], axis=-1)
    averages = np.where(
        counts <= own[:, None] + 1,
        (ordered[..., :, None] + smaller[..., None, :]) / counts,
        sums[..., None, :] / counts,
    )
    found = np.empty_like(evidence)
    np.put_along_axis(found, order, averages.min(axis=-1), axis=-1)
    return found


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """What e-values are made of, arrays (...)."""

    seeds: int
    mean: Floats
    variance: Floats
    """Of a seed."""
    rho: Floats

    def shifted(self, by: float) -> "_Moments":
        return replace(self, mean=self.mean + by)

    @property
    def total(self) -> Floats:
        """T of the module's docstring."""
        found: Floats = self.seeds * self.mean**2 + (self.seeds - 1) * self.variance
        return found

    @property
    def q(self) -> Floats:
        total = self.total
        return np.divide(self.seeds * self.mean**2, total, out=np.zeros_like(total), where=total > 0)


def _moments(difference: Floats) -> _Moments:
    scenes, seeds = difference.shape[-2:]
    if scenes < 2 or seeds < 2:
        raise ValueError(f"an e-value needs at least 2 scenes and 2 seeds, got {scenes} and {seeds}")
    if not np.isfinite(difference).all():
        raise ValueError("an e-value needs a complete layout; leave out seeds with missing cells first")
    of_seeds, of_scenes = difference.mean(axis=-2), difference.mean(axis=-1)
    mean = np.asarray(of_seeds.mean(axis=-1))
    left = difference - of_seeds[..., None, :] - of_scenes[..., :, None] + mean[..., None, None]
    rest = (left**2).sum(axis=(-2, -1)) / ((scenes - 1) * (seeds - 1)) / scenes
    variance = np.maximum(of_seeds.var(axis=-1, ddof=1), rest)
    shared = np.maximum(0.0, of_scenes.var(axis=-1, ddof=1) / scenes - rest / seeds)
    rho = np.divide(shared, variance, out=np.zeros_like(variance), where=variance > 0)
    return _Moments(seeds=seeds, mean=mean, variance=variance, rho=rho)


def _logarithm(of: _Moments, q: Floats, g: float) -> Floats:
    """Of the e-value against a mean of 0, of both signs."""
    return _likelihood(q, of.seeds, g + of.rho) - _likelihood(q, of.seeds, of.rho)


def _of_sign(of: _Moments, sign: int) -> Floats:
    """E-values against a mean of 0 or the other sign."""
    q, a = of.q, SMALL + of.rho
    shrunk = of.seeds * a / (1 + of.seeds * a)
    scale = np.sqrt(shrunk * of.total * (1 - q * shrunk)) / of.seeds
    standard = np.divide(of.mean * shrunk, scale, out=np.zeros_like(of.mean), where=scale > 0)
    evidence: Floats = np.exp(np.minimum(_logarithm(of, q, SMALL), LARGEST_LOG)) * stdtr(of.seeds, sign * standard)
    return 2 * evidence


def _likelihood(q: Floats, seeds: int, a: Floats) -> Floats:
    """The logarithm of the marginal likelihood of the module's docstring, but for a constant."""
    found: Floats = -0.5 * np.log1p(seeds * a) - seeds / 2 * np.log1p(-q * seeds * a / (1 + seeds * a))
    return found
