"""Estimates: how long a job takes and how sure that is, learnt from jobs that ended well. Pure.

Durations are log-normal around the mean of their row, rows around their branch, branches around their stage, and the
stage around what is known without it: FLOPs or a guess. Each mean is shrunk towards the next in the measure in which
it is uncertain, and how much rows and jobs differ is itself estimated (empirical Bayes with normal distributions;
Gelman et al., "Bayesian Data Analysis", 3rd ed., section 5.4). Jobs whose FLOPs are known are made comparable first: a
stage takes a fixed time and a time in proportion to them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Literal, NamedTuple

Basis = Literal["measured", "flops", "guess"]

BASES: tuple[Basis, ...] = ("measured", "flops", "guess")

ASSUMED_SIGMA = 1.0
"""Of an assumed rate: in nine of ten cases the duration is between a fifth of what it gives and five times that."""
FLOPS_SIGMA = 0.7
"""Of the rate of other stages."""
GUESS_SIGMA = 1.5
"""Of a stage's `seconds_guess`."""
ELSEWHERE_SIGMA = 0.5
"""Of durations that were measured with another backend, perhaps on other machines."""
JOB_SIGMA, ROW_SIGMA, BRANCH_SIGMA = 0.2, 0.3, 0.3
"""Of jobs around their row, of rows and of branches, as far as too few were measured to tell."""
PRIOR_WEIGHT = 3.0
"""What those count: so many differences that were measured."""
FIXED_WEIGHT = 0.16
"""How strongly the fixed time of a stage is held at 0: it is half of the duration, give or take, and jobs vary by a
fifth."""
MOST_FIXED = 0.9
"""Of the shortest duration: what is measured at one size says nothing of another."""
REFIT_SHARE = 0.05
"""A stage is fitted anew once this share of its durations is new, so that fitting never costs more than measuring."""


STANDARD = NormalDist()


@dataclass(frozen=True, kw_only=True)
class JobEstimate:
    """Estimated duration of one job, log-normal."""

    seconds: float
    """Median, s."""
    basis: Basis
    sigma: float = 0.0
    """Standard deviation of the logarithm of the duration."""
    shared_sigma: float = 0.0
    """The part of it that the jobs of its stage have in common."""
    is_assumed: bool = False
    """Whether its FLOPs were divided by an assumed rate."""
    observations: int = 0
    """Jobs of its stage that were measured with this backend, on which a `measured` one rests."""

    @cached_property
    def expected_s(self) -> float:
        """What it adds to the median of a sum over many jobs, s."""
        return self.seconds * math.exp(self._own_variance / 2)

    @cached_property
    def variance_s2(self) -> float:
        """Variance around `expected_s`, s², apart from what the jobs of its stage share."""
        return self.expected_s**2 * math.expm1(self._own_variance) if self._own_variance else 0.0

    @cached_property
    def shared_share(self) -> float:
        """Standard deviation of what the jobs of its stage share, as a share of `expected_s`."""
        return math.sqrt(math.expm1(self.shared_sigma**2))

    @property
    def _own_variance(self) -> float:
        return max(0.0, self.sigma**2 - self.shared_sigma**2)

    def quantile(self, share: float) -> float:
        """The duration, s, that so large a share of such jobs does not exceed: 0.95 for the 95 % quantile."""
        return self.seconds * math.exp(self.sigma * STANDARD.inv_cdf(share))

    def left_s(self, elapsed_s: float) -> float:
        """Median, s, of what is left of a job that has run for so long; never 0, as long as it runs."""
        if self.sigma <= 0.0 or elapsed_s <= self.seconds * math.exp(-3 * self.sigma):  # it tells nothing yet
            return max(0.0, self.seconds - elapsed_s)
        score = (math.log(elapsed_s) - math.log(self.seconds)) / self.sigma
        over = STANDARD.cdf(-score)
        if over < 1e-9:  # far beyond the estimate: the tail falls like an exponential, of this mean
            return elapsed_s * self.sigma * math.log(2) / max(score, 1.0)
        return max(0.0, self.seconds * math.exp(-self.sigma * STANDARD.inv_cdf(over / 2)) - elapsed_s)


class LogNormal(NamedTuple):
    """A log-normal distribution, by the mean and the variance of the logarithm."""

    mean: float
    variance: float


def quantile_of_sum(estimates: Iterable[tuple[float, JobEstimate]], share: float) -> float:
    """A quantile of a weighted sum of durations, as if the sum were log-normal (Fenton 1960).

    Args:
        estimates: weight, such as the devices of a job, and its estimate.
        share: 0.95 for the 95 % quantile.
    """
    total = alone = shared = 0.0
    for weight, one in estimates:
        expected = weight * one.expected_s
        total += expected
        alone += weight**2 * one.variance_s2
        shared += expected * one.shared_share
    if total <= 0.0:
        return 0.0
    sigma = math.sqrt(math.log1p((alone + shared**2) / total**2))
    return total * math.exp(sigma * STANDARD.inv_cdf(share))


@dataclass
class _Sums:
    """Of logarithms, each divided by its variance."""

    precision: float = 0.0
    weighted: float = 0.0

    def add(self, one: LogNormal) -> None:
        self.precision += 1.0 / one.variance
        self.weighted += one.mean / one.variance

    def without(self, one: LogNormal | None) -> "_Sums":
        if one is None:
            return self
        return _Sums(self.precision - 1.0 / one.variance, self.weighted - one.mean / one.variance)

    def under(self, prior: LogNormal) -> LogNormal:
        """What is known with this prior."""
        precision = max(0.0, self.precision) + 1.0 / prior.variance
        return LogNormal((self.weighted + prior.mean / prior.variance) / precision, 1.0 / precision)

    @property
    def alone(self) -> LogNormal:
        """What is known without a prior."""
        return LogNormal(self.weighted / self.precision, 1.0 / self.precision)


@dataclass
class StageDurations:
    """Durations of a stage that are comparable, and what they tell of a job's."""

    number: int = 0
    flops: float = 0.0
    """Sum over them."""
    unit_s: float = 0.0
    """Sum of seconds times devices."""
    logarithms: float = 0.0
    """Sum of the logarithms of the seconds."""
    groups: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    """Branch -> row -> (seconds times devices, FLOPs or 0) of each."""
    _fitted: int = 0
    _fixed_s: float = 0.0
    _s_per_flop: float = 0.0
    _job: float = JOB_SIGMA**2
    _row: float = ROW_SIGMA**2
    _branch: float = BRANCH_SIGMA**2
    """Variances of a job around its row, of a row around its branch, of a branch around its stage."""
    _stage: _Sums = field(default_factory=_Sums)
    _branches: dict[str, tuple[LogNormal, _Sums]] = field(default_factory=dict)
    """Branch -> what it says of the stage; its rows together."""
    _rows: dict[tuple[str, str], tuple[LogNormal, LogNormal]] = field(default_factory=dict)
    """Branch and row -> what it says of the branch; its own mean."""

    def add(self, branch: str, row: str, seconds: float, devices: int, flops: float | None) -> None:
        """Add a duration."""
        seconds, units = max(seconds, 1e-3), max(1, devices)
        self.number += 1
        self.flops += flops or 0.0
        self.unit_s += seconds * units
        self.logarithms += math.log(seconds)
        self.groups.setdefault(branch, {}).setdefault(row, []).append((seconds * units, flops or 0.0))

    def needs_fit(self) -> bool:
        """Whether so many are new that estimates change."""
        return self.number - self._fitted > REFIT_SHARE * self._fitted

    def estimate(
        self, branch: str, row: str, devices: int, flops: float | None, prior: LogNormal
    ) -> tuple[LogNormal, float]:
        """The logarithm of a job's duration in s, and the part of the variance that jobs of this stage share.

        Args:
            branch: of the job.
            row: of the job.
            devices: that share its work evenly.
            flops: of the job; None: not known.
            prior: the same logarithm, as far as is known without these durations.
        """
        if self.needs_fit():
            self._fit()
        size = math.log(self._size(flops or 0.0) / max(1, devices))
        prior = LogNormal(prior.mean - size, prior.variance)
        shared = self._stage.under(prior).variance
        to_stage, rows = self._branches.get(branch, (None, _Sums()))
        to_branch, own = self._rows.get((branch, row), (None, None))
        of_stage = self._stage.without(to_stage).under(prior)
        of_branch = rows.without(to_branch).under(LogNormal(of_stage.mean, of_stage.variance + self._branch))
        found = LogNormal(of_branch.mean, of_branch.variance + self._row)
        if own is not None:
            sums = _Sums()
            sums.add(own)
            found = sums.under(found)
        return LogNormal(found.mean + size, found.variance + self._job), min(shared, found.variance)

    def _size(self, flops: float) -> float:
        return self._fixed_s + self._s_per_flop * flops if self.flops else 1.0

    def _fit(self) -> None:
        self._fitted = self.number
        if self.flops:
            self._fit_size()
        means: dict[str, dict[str, tuple[float, int]]] = {}
        squares = 0.0
        for branch, rows in self.groups.items():
            for row, pairs in rows.items():
                logs = [math.log(unit_s / self._size(flops)) for unit_s, flops in pairs]
                mean = math.fsum(logs) / len(logs)
                squares += math.fsum((one - mean) ** 2 for one in logs)
                means.setdefault(branch, {})[row] = (mean, len(logs))
        count = sum(map(len, means.values()))
        self._job = _variance(squares, self.number - count, 0.0, JOB_SIGMA)
        known = [[LogNormal(mean, self._job / n) for mean, n in rows.values()] for rows in means.values()]
        self._row = _between(known, ROW_SIGMA)
        self._branches, self._rows, self._stage = {}, {}, _Sums()
        of_branches: dict[str, _Sums] = {}
        for branch, of_rows in means.items():
            sums = of_branches[branch] = _Sums()
            for row, (mean, n) in of_rows.items():
                own = LogNormal(mean, self._job / n)
                said = LogNormal(mean, own.variance + self._row)
                self._rows[branch, row] = (said, own)
                sums.add(said)
        self._branch = _between([[sums.alone for sums in of_branches.values()]], BRANCH_SIGMA)
        for branch, sums in of_branches.items():
            alone = sums.alone
            said = LogNormal(alone.mean, alone.variance + self._branch)
            self._branches[branch] = (said, sums)
            self._stage.add(said)

    def _fit_size(self) -> None:
        """Least squares of relative errors for the fixed time and the time per FLOP, both at least 0."""
        pairs = [pair for rows in self.groups.values() for one in rows.values() for pair in one]
        shortest, mean_s = min(unit_s for unit_s, _ in pairs), self.unit_s / self.number
        aa = math.fsum(1.0 / unit_s**2 for unit_s, _ in pairs) + FIXED_WEIGHT / mean_s**2
        ab = math.fsum(flops / unit_s**2 for unit_s, flops in pairs)
        bb = math.fsum((flops / unit_s) ** 2 for unit_s, flops in pairs)
        a, b = math.fsum(1.0 / unit_s for unit_s, _ in pairs), math.fsum(flops / unit_s for unit_s, flops in pairs)
        determinant = aa * bb - ab * ab
        fixed = (a * bb - b * ab) / determinant if determinant > 0.0 else 0.0
        self._fixed_s = min(max(0.0, fixed), MOST_FIXED * shortest)
        self._s_per_flop = (b - self._fixed_s * ab) / bb


def _variance(squares: float, number: int, less: float, prior: float) -> float:
    """A variance from so many squared differences, `less` what they have from elsewhere, with the prior sigma."""
    found = max(0.0, squares - number * less)
    return (PRIOR_WEIGHT * prior**2 + found) / (PRIOR_WEIGHT + number)


def _between(groups: Iterable[list[LogNormal]], prior: float) -> float:
    """Variance of true means within groups, whose measured means have variances of their own."""
    squares, less, number = 0.0, 0.0, 0
    for members in groups:
        if len(members) > 1:
            mean = math.fsum(one.mean for one in members) / len(members)
            squares += math.fsum((one.mean - mean) ** 2 for one in members)
            less += math.fsum(one.variance for one in members) / len(members) * (len(members) - 1)
            number += len(members) - 1
    return _variance(squares, number, less / number if number else 0.0, prior)
