"""What one job requests from SLURM: the same numbers go into its script and into the preflight check. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.backends.protocol import ExpectedTime
from orchestrator.backends.slurm.core.time_limit import estimated_minutes
from orchestrator.backends.slurm.settings import PilotSettings, SlurmStage
from orchestrator.spec.cell import Resources

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
    short_limit: bool = False
    """`minutes` was estimated, and is less than what the job may take."""


def shortened_request(
    resources: Resources, stage: SlurmStage, expected: ExpectedTime | None, grace_s: float
) -> JobRequest:
    """What a job of a stage asks for, with a time limit as short as is known to do.

    Args:
        resources: of the job.
        stage: the settings that hold for it.
        expected: how long it is expected to take.
        grace_s: between being asked to stop and being killed.
    """
    full = request_of(resources, stage)
    if {"time", "t"} & extra_lines(stage.sbatch).keys():  # that is what holds
        return full
    minutes = estimated_minutes(expected, least=stage.least_minutes, most=minutes_of(resources, stage), grace_s=grace_s)
    return full if minutes is None else replace(full, minutes=minutes, short_limit=True)


def minutes_of(resources: Resources, stage: SlurmStage) -> float:
    """What an attempt may take at most, minutes."""
    return resources.minutes if stage.minutes is None else stage.minutes


def request_of(resources: Resources, stage: SlurmStage) -> JobRequest:
    """What a job of a stage asks for, for as long as it may take."""
    nodes = stage.nodes or resources.nodes or 1
    minutes = minutes_of(resources, stage)
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
