"""Makespan: when the last of some jobs ends, given how long each takes and how much may run at a time. Pure."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.slots import slots_of
from orchestrator.spec.cell import Resources


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What attempts may use at a time; None: not known, or no limit."""

    attempts: int | None = None
    cpus: int | None = None
    devices: int | None = None
    slots: Mapping[str, int] = field(default_factory=dict)
    """Name -> slots over all hosts (`slots.py`)."""

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return any((self.attempts, self.cpus, self.devices))


class Chained(Protocol):
    """A job as schedules see it."""

    @property
    def id(self) -> str:
        """Of the job."""

    @property
    def stage(self) -> str:
        """Name of its stage."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Name -> id of the job that it waits for."""

    @property
    def resources(self) -> Resources:
        """What it needs."""


def longest_chains(jobs: Iterable[Chained], seconds: Mapping[str, float]) -> dict[str, float]:
    """Job id -> seconds of the longest chain of jobs that begins with it, itself included.

    Args:
        jobs: those not done, dependencies first.
        seconds: of each of them.
    """
    chosen = list(jobs)
    longest: dict[str, float] = {job.id: 0.0 for job in chosen}
    for job in reversed(chosen):
        longest[job.id] += seconds[job.id]
        for need in job.inputs.values():
            if need in longest and longest[need] < longest[job.id]:
                longest[need] = longest[job.id]
    return longest


def expected_chains(jobs: Iterable[Chained], estimates: Mapping[str, JobEstimate]) -> dict[str, float]:
    """Job id -> expected seconds of the longest chain of jobs that begins with it, itself included.

    The longest of several uncertain chains is expected to be longer than each of them, so a job that many wait for
    counts for more than `longest_chains` says. Sums and maxima are taken as normal and independent (Clark 1961, "The
    greatest of a finite set of random variables", as in PERT).

    Args:
        jobs: those not done, dependencies first.
        estimates: of each of them.
    """
    chosen = list(jobs)
    after: dict[str, tuple[float, float]] = {}
    found: dict[str, float] = {}
    for job in reversed(chosen):
        mean, variance = after.pop(job.id, (0.0, 0.0))
        estimate = estimates[job.id]
        mean, variance = mean + estimate.expected_s, variance + estimate.variance_s2
        found[job.id] = mean
        for need in set(job.inputs.values()):
            after[need] = _greatest(after[need], (mean, variance)) if need in after else (mean, variance)
    return {job.id: found[job.id] for job in chosen}


def _greatest(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Mean and variance of the greater of two independent normal variables."""
    spread = math.sqrt(one[1] + other[1])
    if spread <= 1e-9 * max(one[0], other[0], 1e-9):
        return max(one, other)
    score = (one[0] - other[0]) / spread
    share = 0.5 * math.erfc(-score / math.sqrt(2))
    density = math.exp(-score * score / 2) / math.sqrt(2 * math.pi)
    mean = one[0] * share + other[0] * (1 - share) + spread * density
    square = (
        (one[0] ** 2 + one[1]) * share
        + (other[0] ** 2 + other[1]) * (1 - share)
        + (one[0] + other[0]) * spread * density
    )
    return mean, max(0.0, square - mean * mean)


def makespan(jobs: Collection[Chained], seconds: Mapping[str, float], capacity: Capacity) -> float:
    """Seconds until the last of the jobs ends, at least: no schedule is faster.

    The larger of the longest chain and of the work over the capacity; list scheduling is at most twice as slow (Graham
    1969, "Bounds on multiprocessing timing anomalies"), and with many short jobs nearly as fast.
    """
    bounds = [max(longest_chains(jobs, seconds).values(), default=0.0)]
    if capacity.attempts:
        bounds.append(sum(seconds[job.id] for job in jobs) / capacity.attempts)
    if capacity.cpus:
        bounds.append(sum(seconds[job.id] * job.resources.cpus for job in jobs) / capacity.cpus)
    if capacity.devices:
        bounds.append(sum(seconds[job.id] * job.resources.devices for job in jobs) / capacity.devices)
    for name, limit in capacity.slots.items():
        limits = {name: limit}
        taken = (slots_of(job.stage, job.resources, limits).get(name, 0) * seconds[job.id] for job in jobs)
        bounds.append(sum(taken) / limit)
    return max(bounds)
