"""What one job requests from SLURM: the same numbers go into its script and into the preflight check. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.backends.slurm.settings import PilotSettings, SlurmStage
from orchestrator.spec.cell import Resources

SIGNAL_SLACK_S = 30
"""Between the end of the grace period and the limit: for the job to record its end."""
LIMIT_SLACK_MINUTES = 2
"""Beyond the minutes a job may take: our host ends it first and says why."""


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What one job asks SLURM for."""

    nodes: int
    cpus: int
    """On each node, like memory and gpus."""
    memory_mib: int
    gpus: Mapping[str, int]
    """Type -> number; empty type: any."""
    minutes: int


def request_of(resources: Resources, stage: SlurmStage) -> JobRequest:
    """What a job of a stage asks for."""
    nodes = stage.nodes or resources.nodes or 1
    minutes = resources.minutes if stage.minutes is None else stage.minutes
    devices = math.ceil(resources.devices / nodes)
    return JobRequest(
        nodes=nodes,
        cpus=max(1, resources.cpus // nodes),
        memory_mib=math.ceil(resources.memory_gib / nodes * 1024),
        gpus=parse_gpus(stage.gpus) if stage.gpus else {"": devices} if devices else {},
        minutes=math.ceil(minutes) + LIMIT_SLACK_MINUTES,
    )


def request_of_pilot(pilot: PilotSettings) -> JobRequest:
    """What a pilot job asks for."""
    return JobRequest(
        nodes=pilot.nodes,
        cpus=pilot.cpus,
        memory_mib=math.ceil(pilot.memory_gib * 1024),
        gpus=parse_gpus(pilot.gpus) if pilot.gpus else {"": pilot.devices} if pilot.devices else {},
        minutes=math.ceil(pilot.minutes),
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


def extra_lines(lines: Sequence[str]) -> dict[str, Any]:
    """`--exclude=n3` and `--exclusive` as submitit takes them."""
    found: dict[str, Any] = {}
    for line in lines:
        key, equals, value = line.strip().removeprefix("#SBATCH").strip().removeprefix("--").partition("=")
        found[key] = value if equals else True
    return found
