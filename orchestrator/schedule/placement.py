"""Placement: list scheduling by critical path, best fit. Pure: which ready job goes on which host.

The longest remaining chain goes first, on the fullest host that has room. A job's priority is the estimated time of the
longest chain of jobs that it begins (critical path; Graham 1969, "Bounds on multiprocessing timing
anomalies", bounds the makespan of any such list), so trainings come before evaluations that
nothing waits for. Jobs of one shape share a queue, so that a tick costs what it places and not
what waits.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.backends.protocol import Backend, HostShare, JobQueue, Placement, PlacingBackend, QueueingBackend
from orchestrator.plan.job import Job
from orchestrator.schedule.job_states import JobStates
from orchestrator.spec.cell import Resources

MOST_PER_TICK = 256
"""Attempts placed in one tick, so that Ctrl-C and the view never wait for a long one."""

Target = HostShare | JobQueue
"""What a job can be placed on."""
QUEUE_CPUS, QUEUE_DEVICES = 1 << 20, 64
"""Of the room that stands for a queue: more than any host has, so that hosts are filled first."""

Shape = tuple[int, int, float, str]
"""Cpus, devices, GiB, and the stage: what decides on which hosts a job fits."""


@dataclass
class Room:
    """What is free on one host."""

    name: str
    cpus: int
    devices: list[int]
    memory_gib: float
    slots: int | None = None
    """Attempts that it takes beside those it has, whatever they need; None: cpus, devices and memory are counted."""
    stages: tuple[str, ...] | None = None
    """Whose jobs it takes; None: of all stages."""


@dataclass
class Reservations:
    """What live attempts hold."""

    held: dict[str, tuple[Placement, float]] = field(default_factory=dict)
    """Attempt -> its placement and memory in GiB."""

    def reserve(self, attempt: str, placement: Placement, memory_gib: float) -> None:
        """Reserve a placement."""
        self.held[attempt] = (placement, memory_gib)

    def release(self, attempt: str) -> None:
        """Release a placement."""
        self.held.pop(attempt, None)

    def rooms(self, hosts: Sequence[Target]) -> list[Room]:
        """What is free on each host."""
        rooms = {host.name: room_of(host) for host in hosts}
        for placement, memory_gib in self.held.values():
            room = rooms.get(placement.host)
            if room is not None and room.slots is not None:
                room.slots -= 1
            elif room is not None:
                room.cpus -= placement.cpus
                room.memory_gib -= memory_gib
                room.devices = [device for device in room.devices if device not in placement.devices]
        return list(rooms.values())


def targets(backend: Backend) -> tuple[Target, ...]:
    """The queues and the hosts of a backend.

    Raises:
        BackendSilent: nobody can tell now. BackendError: there will be none.
    """
    assert isinstance(backend, QueueingBackend | PlacingBackend), f"{backend.name!r} has neither hosts nor queues"
    queues = backend.queues() if isinstance(backend, QueueingBackend) else ()
    hosts = backend.hosts() if isinstance(backend, PlacingBackend) else ()
    return (*queues, *hosts)


def capacity(target: Target) -> tuple[int, int, float]:
    """Cpus, devices and GiB of a host when it is empty; of a queue, more than any host has."""
    if isinstance(target, JobQueue):
        return QUEUE_CPUS, QUEUE_DEVICES, float(QUEUE_CPUS)
    return target.cpus, target.devices, target.memory_gib


def room_of(target: Target) -> Room:
    """The room of an empty host or queue; a queue has slots, and a host that is still to come has none."""
    cpus, devices, memory_gib = capacity(target)
    slots = target.slots if isinstance(target, JobQueue) else 0 if target.pending else None
    return Room(target.name, cpus, list(range(devices)), memory_gib, slots, target.stages)


def priorities(jobs: Sequence[Job], seconds: Mapping[str, float]) -> dict[str, float]:
    """Job id -> estimated seconds of the longest chain that begins with it, itself included.

    Args:
        jobs: those not done, needs before needers.
        seconds: stage -> mean duration; stages that are absent are guessed (`StageSpec.seconds_guess`).
    """
    longest: dict[str, float] = {job.id: 0.0 for job in jobs}
    for job in reversed(jobs):
        longest[job.id] += seconds.get(job.stage, job.spec.seconds_guess) * job.weight
        for need in job.inputs.values():
            if need in longest and longest[need] < longest[job.id]:
                longest[need] = longest[job.id]
    return longest


def shape(resources: Resources, stage: str) -> Shape:
    """Jobs of one shape fit alike."""
    return resources.cpus, resources.devices, resources.memory_gib, stage


def takes(host: Target | Room, stage: str) -> bool:
    """Whether a host takes jobs of this stage."""
    return host.stages is None or stage in host.stages


def holds(host: Target, kind: Shape) -> bool:
    """Whether a job of this shape fits on the host when it is empty."""
    cpus, devices, memory_gib, stage = kind
    has_cpus, has_devices, has_gib = capacity(host)
    return has_cpus >= cpus and has_devices >= devices and has_gib >= memory_gib and takes(host, stage)


def usable(kind: Shape, hosts: Sequence[Target], excluded: Mapping[str, float]) -> frozenset[str]:
    """Names of the hosts for jobs of this shape: never none because all are excluded.

    Args:
        kind: the shape.
        hosts: all there are.
        excluded: excluded hosts, with the time of their last bad ending: where only such are large
            enough, the one whose last bad ending is oldest is used.
    """
    able = [host.name for host in hosts if holds(host, kind)]
    good = frozenset(able).difference(excluded)
    return good or frozenset(sorted(able, key=lambda name: excluded[name])[:1])


def why_unplaceable(resources: Resources, stage: str, hosts: Sequence[Target]) -> str | None:
    """Why a job fits on none of the hosts even when they are empty; None if it does, or there are no hosts yet."""
    if not hosts or any(holds(host, shape(resources, stage)) for host in hosts):
        return None
    able = [capacity(host) for host in hosts if takes(host, stage)]
    if not able:
        return f"no host takes jobs of stage {stage}; see what the backend of this --cluster says of stages"
    cpus, devices, memory_gib = max(able, key=lambda one: (one[1], one[0], one[2]))
    return (
        f"needs {resources.cpus} cpus, {resources.devices} devices and {resources.memory_gib:g} GiB on one host; the "
        f"largest has {cpus} cpus, {devices} devices and {memory_gib:.1f} GiB; "
        "choose a smaller --profile, lower resources.STAGE or another --cluster"
    )


class ReadyQueue:
    """Ready jobs by shape, the highest priority first; among equals the plan's order."""

    def __init__(self, ranks: Mapping[str, float]) -> None:
        self._ranks = ranks
        self._order = {job: number for number, job in enumerate(ranks)}
        self._heaps: dict[Shape, list[tuple[float, int, str]]] = {}

    def add(self, jobs: Iterable[Job]) -> None:
        """Put jobs in."""
        for job in jobs:
            heap = self._heaps.setdefault(shape(job.resources, job.stage), [])
            heapq.heappush(heap, (-self._ranks.get(job.id, 0.0), self._order.get(job.id, len(self._order)), job.id))

    def place(
        self,
        rooms: list[Room],
        is_ready: Callable[[str], bool],
        limit: int,
        *,
        allowed: Callable[[Shape], Collection[str]] | None = None,
        tried: Callable[[str], Collection[str]] | None = None,
    ) -> list[tuple[str, Placement]]:
        """Take out up to `limit` jobs that fit now, with their places; `rooms` is used up.

        Jobs that are no longer ready leave the queue. A job that ranks first and fits nowhere now
        keeps its share of the roomiest host, so that small jobs cannot starve it.

        Args:
            rooms: what is free.
            is_ready: of a job's id.
            limit: jobs at most.
            allowed: names of the hosts for a shape (`usable`); all by default.
            tried: names of the hosts on which a job goes only where no other has room; none by default.
        """
        placed: list[tuple[str, Placement]] = []
        taken: set[str] = set()
        skipped: set[Shape] = set()
        while len(placed) < limit:
            best: tuple[float, int, str] | None = None
            chosen: Shape | None = None
            for kind, heap in self._heaps.items():
                while heap and (heap[0][2] in taken or not is_ready(heap[0][2])):
                    heapq.heappop(heap)
                if heap and kind not in skipped and (best is None or heap[0] < best):
                    best, chosen = heap[0], kind
            if best is None or chosen is None:
                return placed
            names = None if allowed is None else allowed(chosen)
            open_rooms = [room for room in rooms if takes(room, chosen[3]) and (names is None or room.name in names)]
            placement = None
            if tried is not None and (off := tried(best[2])):
                placement = fit(chosen, [room for room in open_rooms if room.name not in off])
            placement = placement or fit(chosen, open_rooms)
            if placement is None:
                if not skipped and open_rooms:
                    keep_for(chosen, max(open_rooms, key=lambda room: (len(room.devices), room.cpus, room.memory_gib)))
                skipped.add(chosen)
                continue
            heapq.heappop(self._heaps[chosen])
            placed.append((best[2], placement))
            taken.add(best[2])
        return placed


def keep_for(kind: Shape, room: Room) -> None:
    """Take what is free of one job's share out of `room`, so that it adds up until the job fits."""
    if room.slots is not None:
        return
    cpus, devices, memory_gib, _ = kind
    room.cpus -= min(room.cpus, cpus)
    room.devices = room.devices[devices:]
    room.memory_gib -= min(room.memory_gib, memory_gib)


def fit(kind: Shape, rooms: Sequence[Room]) -> Placement | None:
    """A place for one job of this shape on the fullest host with room, taken from `rooms`; None if there is none.

    The fullest first keeps whole hosts free for jobs that need many devices; jobs without devices
    go where there are fewest of them left.
    """
    cpus, devices, memory_gib, _ = kind
    best: Room | None = None
    for room in rooms:
        if room.slots is not None and room.slots <= 0:
            continue
        if room.cpus < cpus or len(room.devices) < devices or room.memory_gib < memory_gib:
            continue
        if best is None or (len(room.devices), room.cpus) < (len(best.devices), best.cpus):
            best = room
    if best is None:
        return None
    taken = tuple(best.devices[:devices])
    if best.slots is not None:
        best.slots -= 1
        return Placement(host=best.name, cpus=cpus, devices=taken)
    best.devices = best.devices[devices:]
    best.cpus -= cpus
    best.memory_gib -= memory_gib
    return Placement(host=best.name, cpus=cpus, devices=taken)


class Placer:
    """The queue of ready jobs and the reservations of live attempts, as the reconciler keeps them.

    Args:
        states: of the jobs; only read.
        mean_seconds: stage -> mean duration so far.
    """

    def __init__(self, states: JobStates, mean_seconds: Callable[[], Mapping[str, float]]) -> None:
        self._states = states
        self._mean_seconds = mean_seconds
        self._reservations = Reservations()
        self._queue = ReadyQueue({})
        self._hosts: tuple[Target, ...] | None = None

    @property
    def has_hosts(self) -> bool:
        """Whether there is a host, or nobody has asked yet."""
        return self._hosts is None or bool(self._hosts)

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one host."""
        return self._hosts is not None and len(self._hosts) > 1

    def rebuild_queue(self) -> None:
        """Compute all priorities again: after a start, a retry, or a change of hosts."""
        jobs = [self._states.job(job_id) for job_id in self._states.open_jobs()]
        self._queue = ReadyQueue(priorities(jobs, self._mean_seconds()))
        self._queue.add(self._states.ready())

    def enqueue(self, jobs: Iterable[Job]) -> None:
        """Add jobs that became ready."""
        self._queue.add(jobs)

    def unplaceable(self, hosts: Sequence[Target]) -> dict[str, str] | None:
        """Open jobs that fit on none of the hosts, with the reason; None where the hosts are those of the last call."""
        if tuple(hosts) == self._hosts:
            return None
        self._hosts = tuple(hosts)
        found: dict[str, str] = {}
        for job_id in self._states.open_jobs():
            job = self._states.job(job_id)
            why = why_unplaceable(job.resources, job.stage, hosts)
            if why is not None:
                found[job_id] = why
        return found

    def place(
        self,
        hosts: Sequence[Target],
        *,
        excluded: Mapping[str, float],
        tried: Callable[[str], Collection[str]] | None,
    ) -> list[tuple[str, Placement]]:
        """Job ids that fit now, with their places, best first.

        Args:
            hosts: those that take jobs now.
            excluded: excluded hosts, with the time of their last bad ending.
            tried: fingerprint -> hosts on which the job ended badly; None: no job did.
        """
        chosen: dict[Shape, frozenset[str]] = {}

        def allowed(kind: Shape) -> frozenset[str]:
            if kind not in chosen:
                chosen[kind] = usable(kind, hosts, excluded)
            return chosen[kind]

        def tried_by_id(job_id: str) -> Collection[str]:
            return () if tried is None else tried(self._states.job(job_id).fingerprint)

        rooms, choice = self._reservations.rooms(hosts), len(hosts) > 1
        return self._queue.place(
            rooms,
            self._states.is_ready,
            MOST_PER_TICK,
            allowed=allowed if excluded and choice else None,
            tried=tried_by_id if choice and tried is not None else None,
        )

    def reserve(self, attempt: str, job: Job, placement: Placement) -> None:
        """Reserve the place of a live attempt."""
        self._reservations.reserve(attempt, placement, job.resources.memory_gib)

    def release(self, attempt: str) -> None:
        """Release the place of an attempt that has ended."""
        self._reservations.release(attempt)
