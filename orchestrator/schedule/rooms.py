"""Rooms: what is free on hosts and in queues, what is promised of it, and whether a job fits. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.backends.protocol import HostShare, JobQueue, Placement
from orchestrator.plan.estimates import JobEstimate
from orchestrator.spec.cell import Resources

Target = HostShare | JobQueue
"""What a job can be placed on."""


class JobShape(NamedTuple):
    """What decides on which hosts a job fits: jobs of one shape fit alike."""

    cpus: int
    devices: int
    memory_gib: float
    stage: str
    slots: tuple[tuple[str, int], ...] = ()
    """What it takes of the slots that are limited (`orchestrator.plan.slots`)."""


def shape_of(resources: Resources, stage: str) -> JobShape:
    """The shape of a job of this stage."""
    return JobShape(resources.cpus, resources.devices, resources.memory_gib, stage)


class HeldShare(NamedTuple):
    """What one attempt holds of a host."""

    free_at: float
    """When it is estimated to end."""
    cpus: int
    devices: int
    memory_gib: float


@dataclass
class Promise:
    """A reservation: from `begin` on a job has its share of a host, and this is what will be left there."""

    begin: float
    cpus: int
    devices: int
    memory_gib: float

    def holds(self, shape: JobShape) -> bool:
        """Whether a job of this shape fits into it."""
        return self.cpus >= shape.cpus and self.devices >= shape.devices and self.memory_gib >= shape.memory_gib

    def takes(self, shape: JobShape, end: float) -> bool:
        """Whether a job that begins now, and ends then, leaves the promise as it is."""
        return (math.isfinite(end) and end <= self.begin) or self.holds(shape)

    def add(self, share: HeldShare) -> None:
        """Count what becomes free."""
        self.cpus += share.cpus
        self.devices += share.devices
        self.memory_gib += share.memory_gib

    def take(self, shape: JobShape) -> None:
        """Count a job that is there from `begin` on."""
        self.cpus -= shape.cpus
        self.devices -= shape.devices
        self.memory_gib -= shape.memory_gib


@dataclass
class Room:
    """What is free on one host or queue."""

    name: str
    cpus: int
    devices: Sequence[int]
    memory_gib: float
    slots: int | None = None
    """Attempts that it takes beside those it has, whatever they need; None: cpus, devices and memory are counted."""
    stages: tuple[str, ...] | None = None
    """Whose jobs it takes; None: of all stages."""
    queue: bool = False
    """A scheduler of its own finds the places: slots alone count."""
    held: list[HeldShare] = field(default_factory=list)
    """What is not free, and when it will be."""
    promised: Promise | None = None
    """What is kept for a job that waits for this host."""

    def takes(self, stage: str) -> bool:
        """Whether it takes jobs of this stage."""
        return self.stages is None or stage in self.stages

    def has_place(self, shape: JobShape, end: float) -> bool:
        """Whether a job of this shape may begin here now, if it ends then."""
        if self.slots is not None and self.slots <= 0:
            return False
        return self.fits(shape) and (self.promised is None or self.promised.takes(shape, end))

    def fits(self, shape: JobShape) -> bool:
        """Whether a job of this shape fits into what is free, apart from slots and promises."""
        enough = self.cpus >= shape.cpus and len(self.devices) >= shape.devices and self.memory_gib >= shape.memory_gib
        return (enough or self.queue) and self.takes(shape.stage)

    def reserve(self, cpus: int, devices: Sequence[int], memory_gib: float) -> None:
        """Take a slot, or these cpus, devices and GiB."""
        if self.slots is not None:
            self.slots -= 1
            return
        self.cpus -= cpus
        self.memory_gib -= memory_gib
        self.devices = [device for device in self.devices if device not in devices]


def room_of(target: Target) -> Room:
    """The room of an empty host or queue; a queue has slots, and a host that is still to come has none."""
    if isinstance(target, JobQueue):
        return Room(target.name, 0, (), 0.0, target.slots, target.stages, queue=True)
    slots = 0 if target.pending else None
    return Room(target.name, target.cpus, range(target.devices), target.memory_gib, slots, target.stages)


@dataclass
class Reservations:
    """What live attempts have reserved."""

    held: dict[str, tuple[Placement, float, float, JobEstimate | None]] = field(default_factory=dict)
    """Attempt -> its placement, memory in GiB, since when, and its estimate."""

    def reserve(
        self,
        attempt: str,
        placement: Placement,
        memory_gib: float,
        since: float = 0.0,
        estimate: JobEstimate | None = None,
    ) -> None:
        """Reserve a placement; without an estimate it is taken to be held for good."""
        self.held[attempt] = (placement, memory_gib, since, estimate)

    def release(self, attempt: str) -> None:
        """Release a placement."""
        self.held.pop(attempt, None)

    def rooms(self, hosts: Sequence[Target], now: float = 0.0) -> list[Room]:
        """What is free on each host now, and when the rest will be.

        An attempt that has run for longer than was estimated is taken to end now, so that nothing gets what others wait
        for.
        """
        rooms = {host.name: room_of(host) for host in hosts}
        for placement, memory_gib, since, estimate in self.held.values():
            free_at = math.inf if estimate is None else max(now, since + estimate.seconds)
            if placement.host in rooms:
                room = rooms[placement.host]
                room.reserve(placement.cpus, placement.devices, memory_gib)
                room.held.append(HeldShare(free_at, placement.cpus, len(placement.devices), memory_gib))
        return list(rooms.values())


def promise_for(shape: JobShape, rooms: Sequence[Room], now: float) -> Promise | None:
    """Promise a job of this shape the host on which it can begin first; None where it fits on none of them."""
    open_rooms = [room for room in rooms if room.slots is None and room.promised is None]
    found = [(free.begin, room.name, room, free) for room in open_rooms if (free := _free_for(shape, room, now))]
    if not found:
        return None
    _, _, room, left = min(found, key=lambda one: one[:2])
    left.take(shape)
    room.promised = left
    return left


def _free_for(shape: JobShape, room: Room, now: float) -> Promise | None:
    """What will be free in a room when a job of this shape first fits; None: it never does."""
    free = Promise(now, room.cpus, len(room.devices), room.memory_gib)
    for share in sorted(room.held):
        if free.holds(shape) and share.free_at > free.begin:
            break
        free.begin = max(free.begin, share.free_at)
        free.add(share)
    return free if free.holds(shape) else None


def fit(shape: JobShape, rooms: Sequence[Room], end: float = math.inf) -> Placement | None:
    """A place for one job of this shape on the fullest host with room, taken from `rooms`; None if there is none.

    The fullest first keeps whole hosts free for jobs that need many devices; jobs without devices
    go where there are fewest of them left. A queue comes after all hosts; its devices are counted from 0.

    Args:
        shape: of the job.
        rooms: that take it.
        end: when it will have ended, for promises.
    """
    able = [room for room in rooms if room.has_place(shape, end)]
    if not able:
        return None
    best = min(able, key=lambda room: (room.queue, len(room.devices), room.cpus))
    free = range(shape.devices) if best.queue else best.devices
    placement = Placement(host=best.name, cpus=shape.cpus, devices=tuple(free[: shape.devices]))
    best.reserve(placement.cpus, placement.devices, shape.memory_gib)
    if best.slots is None:
        best.held.append(HeldShare(end, shape.cpus, shape.devices, shape.memory_gib))
    if best.promised is not None and end > best.promised.begin:
        best.promised.take(shape)
    return placement
