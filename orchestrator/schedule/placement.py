"""Placement: list scheduling by critical path with EASY backfill, best fit. Pure: which ready job goes on which host.

The longest remaining chain goes first, on the fullest host that has room. A job's priority is the estimated time of
the longest chain of jobs that it begins (critical path; Graham 1969, "Bounds on multiprocessing timing anomalies",
bounds the makespan of any such list), so trainings come before evaluations that nothing waits for. The first job that
fits nowhere now gets a reservation: a host, and the time at which enough of it will be free. Until then others may use
what it waits for, if they are estimated to end before that time, or need what it leaves (EASY backfill; Lifka 1995,
"The ANL/IBM SP scheduling system"). Jobs of one shape share a queue, so that a tick costs what it places and not what
waits. A job of several nodes gets all its hosts at once or waits, and its reservation is of as many hosts. What is
free, and what is promised of it, is in `rooms.py`.
"""

import functools
import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from orchestrator.backends.protocol import Backend, Placement, PlacingBackend, QueueingBackend
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.job import Job
from orchestrator.plan.makespan import expected_chains
from orchestrator.plan.slots import SlotCount, slots_of
from orchestrator.schedule.job_states import JobStates
from orchestrator.schedule.rooms import (
    JobShape,
    Promise,
    Reservations,
    Room,
    Spread,
    Target,
    fit,
    holding,
    promise_for,
    room_of,
)
from orchestrator.spec.cell import Resources
from orchestrator.wording import counted

MOST_PER_TICK = 256
"""Attempts placed in one tick, so that Ctrl-C and the view never wait for a long one."""

QueuedJob = tuple[float, int, str]
"""Less its priority, its place in the plan, and its id."""


class Placeable(Protocol):
    """A job as placement sees it."""

    @property
    def id(self) -> str:
        """Of the job."""

    @property
    def stage(self) -> str:
        """Name of its stage."""

    @property
    def resources(self) -> Resources:
        """What it needs."""


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


def why_unplaceable(resources: Resources, stage: str, hosts: Sequence[Target]) -> str | None:
    """Why a job fits on none of the hosts even when they are empty; None if it does, or there are no hosts yet.

    One that needs more hosts of the kind that is there is `why_short`.
    """
    if not hosts:
        return None
    if uneven := _uneven(resources, stage):
        return uneven
    shape = Spread(hosts).shape(resources, stage)
    able = [room for room in map(room_of, hosts) if room.takes(stage)]
    fitting = [room for room in able if room.fits(shape)]
    if holding(shape, fitting) or (shape.nodes > 1 and _sharing(fitting)):
        return None
    if not able:
        return f"no host takes jobs of stage {stage}; see which stages the backend of this --cluster takes"
    where = "on one host" if shape.nodes == 1 else f"on each of {shape.nodes} hosts"
    needs = f"needs {_room_words(shape.cpus, shape.devices)} and {shape.memory_gib:g} GiB {where}"
    if fitting:
        return (
            f"{needs}; no host of this --cluster shares a job with others; lower resources.{stage}.nodes or choose "
            "another --cluster"
        )
    largest = max(able, key=_size)
    if shape.nodes == 1 and shape.devices > len(largest.devices) and _sharing(able):
        needs += ", or an equal share on each of several"
    return (
        f"{needs}; the "
        f"largest has {_room_words(largest.cpus, len(largest.devices))} and {largest.memory_gib:.1f} GiB; "
        "choose a smaller --profile, lower resources.STAGE or another --cluster"
    )


def why_short(resources: Resources, stage: str, hosts: Sequence[Target]) -> str | None:
    """Why a job of several hosts waits for more of them to come; None: there are enough, or it is `why_unplaceable`."""
    shape = Spread(hosts).shape(resources, stage)
    fitting = [room for room in map(room_of, hosts) if room.fits(shape)]
    if shape.nodes == 1 or holding(shape, fitting) or not _sharing(fitting):
        return None
    share = f"{_room_words(shape.cpus, shape.devices)} and {shape.memory_gib:g} GiB each"
    return f"needs {shape.nodes} hosts with {share}; there {'is' if len(fitting) == 1 else 'are'} {len(fitting)}"


def _sharing(rooms: Iterable[Room]) -> bool:
    """Whether any of these hosts can share a job with others."""
    return any(room.group is not None for room in rooms)


def _uneven(resources: Resources, stage: str) -> str:
    """That the hosts of a job cannot have equal shares; empty: they can."""
    nodes = resources.nodes or 1
    for number, key in ((resources.world_size, "ranks"), (resources.devices, "devices")):
        if number % nodes:
            return (
                f"resources.{stage}.nodes is {nodes}, but its {number} {key} cannot be shared equally; a divisor of "
                f"{number} is allowed"
            )
    return ""


def _room_words(cpus: int, devices: int) -> str:
    return f"{counted(cpus, 'cpu')}, {counted(devices, 'device')}"


class ReadyQueue:
    """Ready jobs by shape, the highest priority first; among equals the plan's order.

    Args:
        ranks: priority of each job.
        estimates: of each job's duration; a job without one is taken to run for good.
        limits: name -> slots over all hosts.
        hosts: all there are, which decide over how many of them a job goes.
    """

    def __init__(
        self,
        ranks: Mapping[str, float],
        estimates: Mapping[str, JobEstimate] | None = None,
        limits: Mapping[str, int] | None = None,
        hosts: Sequence[Target] = (),
    ) -> None:
        self._spread = Spread(hosts)
        self._limits = limits or {}
        self._ranks = ranks
        self._seconds = {job: one.seconds for job, one in (estimates or {}).items()}
        self._order = {job: number for number, job in enumerate(ranks)}
        self._heaps: dict[JobShape, list[QueuedJob]] = {}

    def add(self, jobs: Iterable[Placeable]) -> None:
        """Put jobs in."""
        for job in jobs:
            shape = self._spread.shape(job.resources, job.stage)
            shape = shape._replace(slots=tuple(slots_of(job.stage, job.resources, self._limits).items()))
            heap = self._heaps.setdefault(shape, [])
            heapq.heappush(heap, (-self._ranks.get(job.id, 0.0), self._order.get(job.id, len(self._order)), job.id))

    def place(
        self,
        rooms: list[Room],
        is_ready: Callable[[str], bool],
        limit: int,
        *,
        now: float = 0.0,
        slots: Mapping[str, int] | None = None,
        allowed: Callable[[JobShape], Collection[str]] | None = None,
        tried: Callable[[str], Collection[str]] | None = None,
    ) -> list[tuple[str, Placement]]:
        """Take out up to `limit` jobs that may begin now, with their places; `rooms` is used up.

        Jobs that are no longer ready leave the queue. The first job that fits nowhere now gets a promise, so that
        small jobs cannot starve it; of the shapes that this holds back, jobs that end in time go first. A job that
        lacks a slot keeps those behind it from what it needs of slots, and from no host.

        Args:
            rooms: what is free.
            is_ready: of a job's id.
            limit: jobs at most.
            now: on the clock of `Reservations.reserve`.
            slots: name -> slots that are free; all by default.
            allowed: names of the hosts for a shape (`usable`); all by default.
            tried: names of the hosts on which a job goes only where no other has room; none by default.
        """
        placed: list[tuple[str, Placement]] = []
        taken: set[str] = set()
        skipped: set[JobShape] = set()
        promised: Promise | None = None
        free = dict(self._limits if slots is None else slots)
        kept: dict[str, int] = {}  # for the job with the promise
        closed: set[str] = set()  # a job waits for them

        def has_slots(shape: JobShape, end: float) -> bool:
            in_time = promised is None or end <= promised.begin
            return all(n <= free[name] - (0 if in_time else kept.get(name, 0)) for name, n in shape.slots)

        def place_one(job: str, shape: JobShape, able: Sequence[Room]) -> bool:
            end, placement = now + self._seconds.get(job, math.inf), None
            if not has_slots(shape, end):
                return False
            if tried is not None and (off := tried(job)):
                placement = fit(shape, [room for room in able if room.name not in off], end)
            placement = placement or fit(shape, able, end)
            if placement is not None:
                placed.append((job, placement))
                taken.add(job)
                for name, n in shape.slots:
                    free[name] -= n
            return placement is not None

        while len(placed) < limit:
            for heap in self._heaps.values():
                while heap and (heap[0][2] in taken or not is_ready(heap[0][2])):
                    heapq.heappop(heap)
            heads = [(heap[0], shape) for shape, heap in self._heaps.items() if heap and shape not in skipped]
            if not heads:
                break
            (_, _, job), shape = min(heads)
            if any(name in closed or free[name] < n for name, n in shape.slots):
                closed.update(name for name, _ in shape.slots)
                skipped.add(shape)
                continue
            names = None if allowed is None else allowed(shape)
            able = [room for room in rooms if room.takes(shape.stage) and (names is None or room.name in names)]
            if place_one(job, shape, able):
                heapq.heappop(self._heaps[shape])
                continue
            skipped.add(shape)
            if promised is None:
                promised = promise_for(shape, able, now)
                kept = dict(shape.slots) if promised is not None else {}
            elif any(room.promised is not None for room in able) and _has_room(shape, able):
                for _, _, short in self._ending_by(promised.begin - now, shape):
                    if len(placed) == limit or not _has_room(shape, able):
                        break
                    if short not in taken and is_ready(short):
                        place_one(short, shape, able)
        return placed

    def _ending_by(self, seconds: float, shape: JobShape) -> list[QueuedJob]:
        """Jobs of a shape that take so long at most, the highest priority first."""
        return sorted(one for one in self._heaps[shape] if self._seconds.get(one[2], math.inf) <= seconds)


def _has_room(shape: JobShape, rooms: Iterable[Room]) -> bool:
    """Whether a job of this shape fits into what is free, apart from promises."""
    return bool(holding(shape, (room for room in rooms if room.fits(shape))))


def _size(room: Room) -> tuple[bool, int, int, float]:
    return room.queue, len(room.devices), room.cpus, room.memory_gib


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
        ranks = expected_chains(jobs, estimates)
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
        kinds = {(job.resources, job.stage) for job in jobs}
        short = {kind: why for kind in kinds if (why := why_short(*kind, hosts)) is not None}
        misfit = {kind: why for kind in kinds if (why := why_unplaceable(*kind, hosts)) is not None}
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
