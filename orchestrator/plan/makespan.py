"""Makespan: when the last of some jobs ends, given how long each takes and how much may run at a time. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.spec.cell import Resources


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What attempts may use at a time; None: not known, or no limit."""

    attempts: int | None = None
    cpus: int | None = None
    devices: int | None = None

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
    return max(bounds)
