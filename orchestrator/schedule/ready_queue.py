"""Ready queue: list scheduling by critical path with EASY backfill, best fit. Pure: which ready job goes on which host.

The longest remaining chain goes first, on the fullest host that has room. A job's priority is the estimated time of
the longest chain of jobs that it begins (critical path; Graham 1969, "Bounds on multiprocessing timing anomalies",
bounds the makespan of any such list), so trainings come before evaluations that nothing waits for. The first job that
fits nowhere now gets a reservation: a host, and the time at which enough of it will be free. Until then others may use
what it waits for, if they are estimated to end before that time, or need what it leaves (EASY backfill; Lifka 1995,
"The ANL/IBM SP scheduling system"). Jobs of one shape share a queue, so that a tick costs what it places and not what
waits. A job of several nodes gets all its hosts at once or waits, and its reservation is of as many hosts. What is
free, and what is promised of it, is in `rooms.py`.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from orchestrator.backends.protocol import Placement
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.slots import slots_of
from orchestrator.schedule.rooms import JobShape, Promise, Room, Spread, Target, fit, holding, promise_for
from orchestrator.spec.cell import Resources

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
