"""What a job asks SLURM for, against the nodes that a partition has. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.backends.slurm.core.batch import LIMIT_SLACK_MINUTES
from orchestrator.backends.slurm.preflight.limits import Partition, Shape
from orchestrator.spec.cell import Resources
from orchestrator.spec.slurm import Packed, SlurmStage


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What one job asks SLURM for."""

    nodes: int
    cpus: int
    """On each node, like memory and gpus."""
    memory_mib: int
    gpus: Mapping[str, int]
    """Type -> number; empty type: any."""
    minutes: int


def ask_of(resources: Resources, stage: SlurmStage) -> Ask:
    """What a job of a stage asks for; `batch.make_batch` writes the same (a test compares)."""
    nodes = stage.nodes or 1
    minutes = resources.minutes if stage.minutes is None else stage.minutes
    devices = math.ceil(resources.devices / nodes)
    return Ask(
        nodes=nodes,
        cpus=max(1, resources.cpus // nodes),
        memory_mib=math.ceil(resources.memory_gib * 1024 / nodes),
        gpus=parse_gpus(stage.gpus) if stage.gpus else {"": devices} if devices else {},
        minutes=math.ceil(minutes) + LIMIT_SLACK_MINUTES,
    )


def ask_of_packed(packed: Packed) -> Ask:
    """What an allocation asks for; `packed.allocate.make_pack` writes the same (a test compares)."""
    return Ask(
        nodes=packed.nodes,
        cpus=packed.cpus,
        memory_mib=math.ceil(packed.memory_gib * 1024),
        gpus=parse_gpus(packed.gpus) if packed.gpus else {"": packed.devices} if packed.devices else {},
        minutes=math.ceil(packed.minutes),
    )


def parse_gpus(text: str) -> dict[str, int]:
    """`a100:4` and `4` of `--gpus-per-node`: type -> number."""
    found: dict[str, int] = {}
    for word in text.split(","):
        kind, _, number = word.strip().rpartition(":")
        if not number.isdigit():
            kind, number = number, "1"
        found[kind] = found.get(kind, 0) + int(number)
    return found


def short_of(place: Partition, ask: Ask, extra: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Key of resources, what is asked for, and the most that a node has, where that is less."""
    cpus = min(place.cpus, max(shape.cpus for shape in place.shapes))
    if ask.cpus > cpus and "cpus-per-task" not in extra:
        yield "cpus", f"{ask.cpus} cpus", f"{cpus:g}"
    memory = min(place.memory_mib, max(shape.memory_mib for shape in place.shapes))
    if ask.memory_mib > memory and not {"mem", "mem-per-cpu"} & extra.keys():
        yield "memory_gib", f"{ask.memory_mib} MiB", f"{memory:g}"
    if {"gpus", "gpus-per-node", "gres"} & extra.keys():
        return
    for kind, number in ask.gpus.items():
        gpus = max(shape.count(kind) for shape in place.shapes)
        if number > gpus:
            kinds = sorted({name for shape in place.shapes for name in shape.gpus if name})
            of_kind = f" of type {kind!r}; there are {', '.join(map(repr, kinds)) or 'none'}" if kind else ""
            yield "devices", f"{number} gpus", f"{gpus}{of_kind}"


def fits(shape: Shape, place: Partition, ask: Ask) -> bool:
    """Whether a node of this shape can take one node's share of a job."""
    return (
        ask.cpus <= min(shape.cpus, place.cpus)
        and ask.memory_mib <= min(shape.memory_mib, place.memory_mib)
        and all(number <= shape.count(kind) for kind, number in ask.gpus.items())
    )
