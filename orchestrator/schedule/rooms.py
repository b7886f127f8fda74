"""Rooms: what is free on hosts and in queues, what is promised of it, and whether a job fits. Pure.

A job of several nodes (a gang) gets an equal share of as many hosts, all of one group and all at once, or nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from orchestrator.backends.free_share import FreeShare
from orchestrator.backends.protocol import HostShare, JobQueue, Placement
from orchestrator.plan.estimates import JobEstimate
from orchestrator.spec.cell import Resources

Target = HostShare | JobQueue
"""What a job can be placed on."""


class JobShape(NamedTuple):
    """What decides on which hosts a job fits: jobs of one shape fit alike."""

    cpus: int
    """On each host, as are devices and memory."""
    devices: int
    memory_gib: float
    stage: str
    nodes: int = 1
    """Hosts that share the job."""
    slots: tuple[tuple[str, int], ...] = ()
    """What it takes of the slots that are limited (`orchestrator.plan.slots`)."""


def shape_of(resources: Resources, stage: str, nodes: int = 1) -> JobShape:
    """The shape of a job of this stage that so many hosts share equally."""
    if nodes == 1:
        return JobShape(resources.cpus, resources.devices, resources.memory_gib, stage)
    devices, memory_gib = math.ceil(resources.devices / nodes), resources.memory_gib / nodes
    return JobShape(max(1, resources.cpus // nodes), devices, memory_gib, stage, nodes)


class Spread:
    """Over how many hosts a job goes, and so its shape; `hosts`: all there are."""

    def __init__(self, hosts: Iterable[Target]) -> None:
        self._rooms = [room_of(host) for host in hosts]
        self._queued = any(room.queue for room in self._rooms)
        self._largest: dict[str, int] = {}

    def shape(self, resources: Resources, stage: str) -> JobShape:
        """The shape of a job of this stage: `resources.nodes` hosts, else one.

        Where no host has so many devices, the fewest hosts that have equal shares of them; a queue spreads by itself.
        """
        if resources.nodes is not None:
            return shape_of(resources, stage, resources.nodes)
        if self._queued or not self._rooms or resources.devices <= self._most_devices(stage):
            return shape_of(resources, stage)
        return self._fewest(resources, stage)

    def _most_devices(self, stage: str) -> int:
        """Devices of the largest host for a stage."""
        if stage not in self._largest:
            able = [len(room.devices) for room in self._rooms if room.takes(stage)]
            self._largest[stage] = max(able, default=0)
        return self._largest[stage]

    def _fewest(self, resources: Resources, stage: str) -> JobShape:
        short = None  # of hosts, of which more may come
        for nodes in range(2, resources.devices + 1):
            if resources.devices % nodes == 0 and resources.world_size % nodes == 0:
                shape = shape_of(resources, stage, nodes)
                fitting = [room for room in self._rooms if room.fits(shape)]
                if holding(shape, fitting):
                    return shape
                if short is None and any(room.group is not None for room in fitting):
                    short = shape
        return short or shape_of(resources, stage)


class HeldShare(NamedTuple):
    """What one attempt holds of a host."""

    free_at: float
    """When it is estimated to end."""
    cpus: int
    devices: int
    memory_gib: float


@dataclass(kw_only=True)
class Promise:
    """A reservation: from `begin` on a job has its share of a host, and `left` is what will be free beside it."""

    begin: float
    left: FreeShare

    def takes(self, shape: JobShape, end: float) -> bool:
        """Whether a job that begins now, and ends then, leaves the promise as it is."""
        return (math.isfinite(end) and end <= self.begin) or self.left.holds(shape)


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
    group: str | None = None
    """Hosts of one group can share a job; None: it takes whole jobs only."""

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
    free = range(target.devices)
    return Room(target.name, target.cpus, free, target.memory_gib, slots, target.stages, group=target.group)


def holding(shape: JobShape, rooms: Iterable[Room]) -> list[Room]:
    """The fullest of these rooms that together hold a job of this shape, one for each node; empty: there are too few.

    The fullest first keeps whole hosts free for jobs that need many devices; jobs without devices go where there are
    fewest of them left. A queue comes after all hosts, and holds a job alone.

    Args:
        shape: of the job.
        rooms: that each have room for a node.
    """
    if shape.nodes == 1:
        best = min(rooms, key=_fullness, default=None)
        return [] if best is None else [best]
    able = sorted(rooms, key=_fullness)
    sets = [members[: shape.nodes] for members in _groups(able) if len(members) >= shape.nodes]
    if sets:
        return min(sets, key=lambda chosen: [_fullness(room) for room in chosen])
    return [room for room in able if room.queue][:1]


def _fullness(room: Room) -> tuple[bool, int, int]:
    return room.queue, len(room.devices), room.cpus


def _groups(rooms: Iterable[Room]) -> list[list[Room]]:
    """The rooms that can share a job, by group, each in the order given."""
    found: dict[str, list[Room]] = {}
    for room in rooms:
        if room.group is not None:
            found.setdefault(room.group, []).append(room)
    return list(found.values())


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
            share_gib = memory_gib / len(placement.parts)
            for part in placement.parts:
                if part.host in rooms:
                    room = rooms[part.host]
                    room.reserve(part.cpus, part.devices, share_gib)
                    room.held.append(HeldShare(free_at, part.cpus, len(part.devices), share_gib))
        return list(rooms.values())


def promise_for(shape: JobShape, rooms: Sequence[Room], now: float) -> Promise | None:
    """Promise a job of this shape the hosts on which it can begin first; None where it fits on none of them.

    The first of its hosts' promises is returned.
    """
    open_rooms = [room for room in rooms if room.slots is None and room.promised is None]
    begins = {room.name: free.begin for room in open_rooms if (free := _free_for(shape, room, now))}
    able = sorted((room for room in open_rooms if room.name in begins), key=lambda room: (begins[room.name], room.name))
    sets = [members[: shape.nodes] for members in (_groups(able) if shape.nodes > 1 else [able])]
    sets = [chosen for chosen in sets if len(chosen) == shape.nodes]
    if not sets:
        return None
    chosen = min(sets, key=lambda rooms: begins[rooms[-1].name])
    begin = begins[chosen[-1].name]  # all of them at once, so when the last one is free
    for room in chosen:
        room.promised = _free_for(shape, room, begin)
        assert room.promised is not None
        room.promised.left.take(shape)
    return chosen[0].promised


def _free_for(shape: JobShape, room: Room, now: float) -> Promise | None:
    """What will be free in a room when a job of this shape first fits; None: it never does."""
    free, begin = FreeShare(room.cpus, len(room.devices), room.memory_gib), now
    for share in sorted(room.held):
        if free.holds(shape) and share.free_at > begin:
            break
        begin = max(begin, share.free_at)
        free.add(share)
    return Promise(begin=begin, left=free) if free.holds(shape) else None


def fit(shape: JobShape, rooms: Sequence[Room], end: float = math.inf) -> Placement | None:
    """A place for one job of this shape on the fullest hosts with room, taken from `rooms`; None if there is none.

    The devices of a queue are counted from 0.

    Args:
        shape: of the job.
        rooms: that take it.
        end: when it will have ended, for promises.
    """
    chosen = holding(shape, (room for room in rooms if room.has_place(shape, end)))
    if not chosen:
        return None
    if chosen[0].queue:
        chosen[0].reserve(0, (), 0.0)
        devices = tuple(range(shape.devices * shape.nodes))
        return Placement(host=chosen[0].name, cpus=shape.cpus * shape.nodes, devices=devices)
    first, *others = [_taken(shape, room, end) for room in chosen]
    return replace(first, others=tuple(others)) if others else first


def _taken(shape: JobShape, room: Room, end: float) -> Placement:
    """Take one node's share from a room."""
    placement = Placement(host=room.name, cpus=shape.cpus, devices=tuple(room.devices[: shape.devices]))
    room.reserve(placement.cpus, placement.devices, shape.memory_gib)
    if room.slots is None:
        room.held.append(HeldShare(end, shape.cpus, shape.devices, shape.memory_gib))
    if room.promised is not None and end > room.promised.begin:
        room.promised.left.take(shape)
    return placement
