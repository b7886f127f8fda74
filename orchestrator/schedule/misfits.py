"""Misfits: why jobs fit on none of the hosts that there are, in words. Pure."""

from collections.abc import Iterable, Sequence

from orchestrator.schedule.rooms import Room, Spread, Target, holding, room_of
from orchestrator.spec.cell import Resources
from orchestrator.wording import counted


def why_uneven(resources: Resources, stage: str) -> str:
    """Why the hosts of a job cannot have equal shares, whichever they are; empty: they can."""
    nodes = resources.nodes or 1
    for number, key in ((resources.world_size, "rank"), (resources.devices, "device")):
        if number % nodes:
            return (
                f"resources.{stage}.nodes is {nodes}, but its {counted(number, key)} cannot be shared equally; a "
                f"divisor of {number} is allowed"
            )
    return ""


class Misfits:
    """Tells of any number of jobs why they fit on none of these hosts, and why they wait for more of them.

    `hosts`: all there are, as if they were empty.
    """

    def __init__(self, hosts: Sequence[Target]) -> None:
        self._spread = Spread(hosts)
        self._rooms = [room_of(host) for host in hosts]

    def why_unplaceable(self, resources: Resources, stage: str) -> str | None:
        """Why a job fits on none of the hosts even when they are empty; None if it does, or there are no hosts yet.

        One that needs more hosts of the kind that is there is `why_short`.
        """
        if not self._rooms:
            return None
        if uneven := why_uneven(resources, stage):
            return uneven
        shape = self._spread.shape(resources, stage)
        able = [room for room in self._rooms if room.takes(stage)]
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

    def why_short(self, resources: Resources, stage: str) -> str | None:
        """Why a job of several hosts waits for more to come; None: there are enough, or it is `why_unplaceable`."""
        shape = self._spread.shape(resources, stage)
        fitting = [room for room in self._rooms if room.fits(shape)]
        if shape.nodes == 1 or holding(shape, fitting) or not _sharing(fitting):
            return None
        share = f"{_room_words(shape.cpus, shape.devices)} and {shape.memory_gib:g} GiB each"
        return f"needs {shape.nodes} hosts with {share}; there {'is' if len(fitting) == 1 else 'are'} {len(fitting)}"


def _sharing(rooms: Iterable[Room]) -> bool:
    """Whether any of these hosts can share a job with others."""
    return any(room.group is not None for room in rooms)


def _room_words(cpus: int, devices: int) -> str:
    return f"{counted(cpus, 'cpu')}, {counted(devices, 'device')}"


def _size(room: Room) -> tuple[bool, int, int, float]:
    return room.queue, len(room.devices), room.cpus, room.memory_gib
