"""Simulation: a schedule of jobs on hosts by the placement that runs use, with durations that it does not know. Pure.

A job's true duration decides when it ends; the policy sees estimates alone. What a schedule is compared with is a lower
bound of any schedule: the work over the devices, or the longest chain, by the true durations.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.plan.makespan import longest_chains
from orchestrator.schedule.placement import ReadyQueue, Reservations, Target
from orchestrator.spec.cell import Resources


@dataclass(frozen=True, kw_only=True)
class SimulatedJob:
    """A job of a simulated schedule."""

    id: str
    stage: str
    resources: Resources
    seconds: float
    """True duration."""
    estimate_s: float
    """What the policy is told."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name -> id of a job that it waits for; these come before it in the list."""


@dataclass(frozen=True, kw_only=True)
class SimulatedAttempt:
    """Where and when a job ran."""

    job: str
    host: str
    devices: tuple[int, ...]
    cpus: int
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


def simulate(jobs: Sequence[SimulatedJob], hosts: Sequence[Target]) -> Schedule:
    """Run jobs on hosts as a run places them.

    Args:
        jobs: what a job waits for comes before it.
        hosts: that take the jobs.

    Raises:
        ValueError: a job that fits on no host, or waits for one that is not there.
    """
    known = {job.id: job for job in jobs}
    waiting = {job.id: {need for need in job.inputs.values() if need in known} for job in jobs}
    frees: dict[str, list[str]] = {}
    for job_id, needs in waiting.items():
        for need in needs:
            frees.setdefault(need, []).append(job_id)
    estimates = {job.id: job.estimate_s for job in jobs}
    queue = ReadyQueue(longest_chains(jobs, estimates), estimates)
    queue.add(job for job in jobs if not waiting[job.id])
    ready_at = {job.id: 0.0 for job in jobs if not waiting[job.id]}
    reservations, ends, attempts, now = Reservations(), list[tuple[float, str]](), list[SimulatedAttempt](), 0.0
    placed: set[str] = set()
    while len(attempts) < len(jobs) or ends:
        rooms = reservations.rooms(hosts)
        for job_id, placement in queue.place(rooms, lambda job: job not in placed, len(jobs), now=now):
            job = known[job_id]
            placed.add(job_id)
            reservations.reserve(job_id, placement, job.resources.memory_gib, now + job.estimate_s)
            heapq.heappush(ends, (now + job.seconds, job_id))
            attempts.append(
                SimulatedAttempt(
                    job=job_id,
                    host=placement.host,
                    devices=tuple(placement.devices),
                    cpus=placement.cpus,
                    begin_s=now,
                    end_s=now + job.seconds,
                    ready_s=ready_at[job_id],
                )
            )
        if not ends:
            stuck = next(job.id for job in jobs if job.id not in placed)
            raise ValueError(f"{stuck} never starts: it fits on no host, or waits for a job that never ends")
        now = ends[0][0]
        while ends and ends[0][0] <= now:
            _, job_id = heapq.heappop(ends)
            reservations.release(job_id)
            for freed in frees.get(job_id, ()):
                waiting[freed].discard(job_id)
                if not waiting[freed]:
                    ready_at[freed] = now
                    queue.add([known[freed]])
    return Schedule(attempts=tuple(attempts), bound_s=lower_bound(jobs, sum(_devices(host) for host in hosts)))


def lower_bound(jobs: Sequence[SimulatedJob], devices: int) -> float:
    """Seconds that no schedule undercuts: device-seconds over the devices, or the longest chain."""
    longest = max(longest_chains(jobs, {job.id: job.seconds for job in jobs}).values(), default=0.0)
    work = sum(job.seconds * job.resources.devices for job in jobs)
    return max(longest, work / devices if devices else 0.0)


def _devices(host: Target) -> int:
    return getattr(host, "devices", 0)
