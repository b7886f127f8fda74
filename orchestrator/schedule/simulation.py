"""Simulation: a schedule of jobs on hosts by the placement that runs use, with durations that it does not know. Pure.

A job's true duration decides when it ends; the policy sees estimates alone. What a schedule is compared with is a lower
bound of any schedule: the work over the devices, or the longest chain, by the true durations.
"""

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from orchestrator.backends.protocol import HostShare
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.makespan import Capacity, expected_chains, makespan
from orchestrator.plan.slots import SlotCount
from orchestrator.schedule.ready_queue import ReadyQueue
from orchestrator.schedule.rooms import Reservations
from orchestrator.spec.cell import Resources


@dataclass(frozen=True, kw_only=True)
class SimulatedJob:
    """A job of a simulated schedule."""

    id: str
    stage: str
    resources: Resources
    seconds: float
    """True duration."""
    estimate: JobEstimate
    """What the policy is told."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name -> id of a job that it waits for; these come before it in the list."""


@dataclass(frozen=True, kw_only=True)
class SimulatedAttempt:
    """Where and when a job ran; of several hosts, its share of one of them."""

    job: str
    stage: str
    host: str
    devices: tuple[int, ...]
    """Counted from 0, as the cpus are."""
    cpus: tuple[int, ...]
    begin_s: float
    end_s: float
    ready_s: float
    """When its inputs were there."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A simulated schedule."""

    attempts: tuple[SimulatedAttempt, ...]
    """In the order in which they began."""
    bound_s: float
    """No schedule is shorter."""

    @property
    def makespan_s(self) -> float:
        """When the last job ends."""
        return max((one.end_s for one in self.attempts), default=0.0)

    @property
    def over_bound(self) -> float:
        """Makespan over the lower bound."""
        return self.makespan_s / self.bound_s if self.bound_s else 1.0

    @property
    def longest_wait_s(self) -> float:
        """Longest time that a job waited after its inputs were there."""
        return max((one.begin_s - one.ready_s for one in self.attempts), default=0.0)

    def share_used(self, hosts: Sequence[HostShare]) -> float:
        """Share of the devices, or without any of the cpus, that jobs held on average until the last one ended."""
        devices = sum(host.devices for host in hosts)
        held = sum((one.end_s - one.begin_s) * (len(one.devices if devices else one.cpus)) for one in self.attempts)
        there = (devices or sum(host.cpus for host in hosts)) * self.makespan_s
        return held / there if there else 0.0


def simulate(
    jobs: Sequence[SimulatedJob], hosts: Sequence[HostShare], limits: Mapping[str, int] | None = None
) -> Schedule:
    """Run jobs on hosts as a run places them.

    Args:
        jobs: what a job waits for comes before it.
        hosts: that take the jobs.
        limits: name -> slots over all hosts.

    Raises:
        ValueError: a job that fits on no host, or waits for one that is not there.
    """
    known = {job.id: job for job in jobs}
    waiting = {job.id: {need for need in job.inputs.values() if need in known} for job in jobs}
    frees: dict[str, list[str]] = {}
    for job_id, needs in waiting.items():
        for need in needs:
            frees.setdefault(need, []).append(job_id)
    estimates = {job.id: job.estimate for job in jobs}
    queue = ReadyQueue(expected_chains(jobs, estimates), estimates, limits, hosts)
    queue.add(job for job in jobs if not waiting[job.id])
    ready_at = {job.id: 0.0 for job in jobs if not waiting[job.id]}
    ran: dict[str, list[SimulatedAttempt]] = {}
    ends: list[tuple[float, str]] = []
    reservations, slots, now = Reservations(), SlotCount(limits or {}), 0.0
    free_cpus = {host.name: list(range(host.cpus)) for host in hosts}
    while len(ran) < len(jobs) or ends:
        rooms = reservations.rooms(hosts, now)
        for job_id, placement in queue.place(rooms, lambda job: job not in ran, len(jobs), now=now, slots=slots.free()):
            job = known[job_id]
            reservations.reserve(job_id, placement, job.resources.memory_gib, now, job.estimate)
            slots.take(job_id, job.stage, job.resources)
            ran[job_id] = [
                SimulatedAttempt(
                    job=job_id,
                    stage=job.stage,
                    host=part.host,
                    devices=tuple(part.devices),
                    cpus=tuple(free_cpus[part.host][: part.cpus]),
                    begin_s=now,
                    end_s=now + job.seconds,
                    ready_s=ready_at[job_id],
                )
                for part in placement.parts
            ]
            for part in placement.parts:
                del free_cpus[part.host][: part.cpus]
            heapq.heappush(ends, (now + job.seconds, job_id))
        if not ends:
            stuck = next(job.id for job in jobs if job.id not in ran)
            raise ValueError(f"{stuck} never starts: it fits on no host, or waits for a job that never ends")
        now = ends[0][0]
        while ends and ends[0][0] <= now:
            ended = heapq.heappop(ends)[1]
            reservations.release(ended)
            slots.release(ended)
            for share in ran[ended]:
                free_cpus[share.host] = sorted((*free_cpus[share.host], *share.cpus))
            for freed in frees.get(ended, ()):
                waiting[freed].discard(ended)
                if not waiting[freed]:
                    ready_at[freed] = now
                    queue.add([known[freed]])
    return Schedule(attempts=tuple(chain.from_iterable(ran.values())), bound_s=lower_bound(jobs, hosts, limits))


def lower_bound(
    jobs: Sequence[SimulatedJob], hosts: Sequence[HostShare], limits: Mapping[str, int] | None = None
) -> float:
    """Seconds that no schedule undercuts: the longest chain of jobs, or the work over the devices, cpus or slots."""
    cpus, devices = sum(host.cpus for host in hosts), sum(host.devices for host in hosts)
    capacity = Capacity(cpus=cpus, devices=devices, slots=limits or {})
    return makespan(jobs, {job.id: job.seconds for job in jobs}, capacity)


def drawn_apart(jobs: Sequence[SimulatedJob], sigma: float, seed: int) -> list[SimulatedJob]:
    """The jobs with true durations that differ from their estimates by a log-normal factor of median 1."""
    draws = random.Random(seed)
    return [replace(job, seconds=job.estimate.seconds * math.exp(sigma * draws.gauss(0.0, 1.0))) for job in jobs]
