"""Placement: the queue of ready jobs, the hosts and the reservations of live attempts, as one run keeps them.

How jobs are chosen is in `ready_queue.py`, what is free and what is promised of it in `rooms.py`, and why a job fits
nowhere in `misfits.py`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from orchestrator.backends.protocol import Backend, Placement, PlacingBackend, QueueingBackend
from orchestrator.plan.continued import as_chained, shorter_jobs
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.job import Job
from orchestrator.plan.makespan import expected_chains
from orchestrator.plan.slots import SlotCount
from orchestrator.schedule.job_states import JobStates
from orchestrator.schedule.misfits import Misfits
from orchestrator.schedule.ready_queue import ReadyQueue
from orchestrator.schedule.rooms import JobShape, Reservations, Spread, Target, holding, room_of
from orchestrator.spec.cell import Resources

MOST_PER_TICK = 256
"""Attempts placed in one tick, so that Ctrl-C and the view never wait for a long one."""


def targets(backend: Backend) -> tuple[Target, ...]:
    """The queues and the hosts of a backend.

    Raises:
        BackendSilent: they are not known now. BackendError: there will be none.
    """
    assert isinstance(backend, QueueingBackend | PlacingBackend), f"{backend.name!r} has neither hosts nor queues"
    queues = backend.queues() if isinstance(backend, QueueingBackend) else ()
    hosts = backend.hosts() if isinstance(backend, PlacingBackend) else ()
    return (*queues, *hosts)


def usable(shape: JobShape, hosts: Sequence[Target], excluded: Mapping[str, float]) -> frozenset[str]:
    """Names of the hosts for jobs of this shape: never too few because others are excluded.

    Args:
        shape: the shape.
        hosts: all there are.
        excluded: excluded hosts, with the time of their last bad ending: where the others are too few
            or too small, those whose last bad ending is oldest are used.
    """
    able = [room for host in hosts if (room := room_of(host)).fits(shape)]
    used = [room for room in able if room.name not in excluded]
    bad = sorted((room for room in able if room.name in excluded), key=lambda room: excluded[room.name])
    while bad and not holding(shape, used):
        used.append(bad.pop(0))
    return frozenset(room.name for room in used)


class Placer:
    """The queue of ready jobs and the reservations of live attempts, as the reconciler keeps them.

    `states` is only read; `estimate`: of the duration of a job; `turns`: job id -> its turn, 0 first, where some
    parts of the study are to be finished before others; `limits`: `slots` of the cluster file.
    """

    def __init__(
        self,
        states: JobStates,
        estimate: Callable[[Job], JobEstimate],
        turns: Mapping[str, int] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self._states = states
        self._estimate = estimate
        self._turns = turns or {}
        self._reservations = Reservations()
        self._slots = SlotCount(limits or {})
        self._queue = ReadyQueue({})
        self._hosts: tuple[Target, ...] | None = None
        self._short: dict[str, str] = {}
        """Open jobs that need more hosts than there are, with the reason."""

    @property
    def has_hosts(self) -> bool:
        """Whether there are hosts enough for a job that is ready, or the hosts are not known yet."""
        if self._hosts is None or not self._short:
            return self._hosts is None or bool(self._hosts)
        return any(job.id not in self._short for job in self._states.ready())

    @property
    def shortage(self) -> str:
        """Which job waits for more hosts than there are; empty: none."""
        return next((f"{self._states.job(job).label} {why}" for job, why in self._short.items()), "")

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one host."""
        return self._hosts is not None and len(self._hosts) > 1

    def waiting(self, jobs: Iterable[Job]) -> Counter[tuple[str, Resources]]:
        """How many jobs need the same, by stage; of a job on several hosts `nodes` says how many, the rest of each."""
        spread, found = Spread(self._hosts or ()), Counter[tuple[str, Resources]]()
        for (stage, resources), number in Counter((job.stage, job.resources) for job in jobs).items():
            shape = spread.shape(resources, stage)
            if shape.nodes > 1:
                resources = Resources(
                    cpus=shape.cpus,
                    devices=shape.devices,
                    memory_gib=shape.memory_gib,
                    minutes=resources.minutes,
                    nodes=shape.nodes,
                )
            found[stage, resources] += number
        return found

    def rebuild_queue(self) -> None:
        """Compute all priorities again: after a start, a retry, or a change of hosts."""
        jobs = [self._states.job(job_id) for job_id in self._states.open_jobs()]
        estimates = {job.id: self._estimate(job) for job in jobs}
        found = expected_chains(as_chained(jobs, shorter_jobs(jobs)), estimates)
        ranks = {job.id: found[job.id] for job in jobs}  # among equals, the plan's order
        if self._turns:
            turn_s = max(ranks.values(), default=0.0) + 1.0  # more than any chain
            ranks = {job: rank - turn_s * self._turns.get(job, 0) for job, rank in ranks.items()}
        self._queue = ReadyQueue(ranks, estimates, self._slots.limits, self._hosts or ())
        self._queue.add(self._states.ready())

    def enqueue(self, jobs: Iterable[Job]) -> None:
        """Add jobs that became ready."""
        self._queue.add(jobs)

    def unplaceable(self, hosts: Sequence[Target]) -> dict[str, str] | None:
        """Open jobs that fit on none of the hosts, with the reason; None where the hosts are those of the last call."""
        if tuple(hosts) == self._hosts:
            return None
        self._hosts = tuple(hosts)
        jobs = [self._states.job(job_id) for job_id in self._states.open_jobs()]
        kinds, misfits = {(job.resources, job.stage) for job in jobs}, Misfits(hosts)
        short = {kind: why for kind in kinds if (why := misfits.why_short(*kind)) is not None}
        misfit = {kind: why for kind in kinds if (why := misfits.why_unplaceable(*kind)) is not None}
        self._short = {job.id: short[kind] for job in jobs if (kind := (job.resources, job.stage)) in short}
        return {job.id: misfit[kind] for job in jobs if (kind := (job.resources, job.stage)) in misfit}

    def place(
        self,
        hosts: Sequence[Target],
        now: float,
        *,
        excluded: Mapping[str, float],
        tried: Callable[[str], Collection[str]] | None,
    ) -> list[tuple[str, Placement]]:
        """Job ids that may begin now, with their places, best first.

        Args:
            hosts: those that take jobs now.
            now: monotonic.
            excluded: excluded hosts, with the time of their last bad ending.
            tried: fingerprint -> hosts on which the job ended badly; None: no job did.
        """

        @functools.cache
        def allowed(shape: JobShape) -> frozenset[str]:
            return usable(shape, hosts, excluded)

        def tried_by_id(job_id: str) -> Collection[str]:
            return () if tried is None else tried(self._states.job(job_id).fingerprint)

        rooms, choice = self._reservations.rooms(hosts, now), len(hosts) > 1
        return self._queue.place(
            rooms,
            self._states.is_ready,
            MOST_PER_TICK,
            now=now,
            slots=self._slots.free(),
            allowed=allowed if excluded and choice else None,
            tried=tried_by_id if choice and tried is not None else None,
        )

    def reserve(self, attempt: str, job: Job, placement: Placement, since: float) -> None:
        """Reserve the place of a live attempt, which was submitted then (monotonic)."""
        self._reservations.reserve(attempt, placement, job.resources.memory_gib, since, self._estimate(job))
        self._slots.take(attempt, job.stage, job.resources)

    def release(self, attempt: str) -> None:
        """Release the place of an attempt that has ended."""
        self._reservations.release(attempt)
        self._slots.release(attempt)
