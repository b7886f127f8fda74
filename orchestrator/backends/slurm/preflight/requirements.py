"""What the jobs of a plan ask SLURM for, and where each of it is written. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.backends.slurm.core.job_request import (
    LIMIT_SLACK_MINUTES,
    JobRequest,
    extra_lines,
    request_of,
    request_of_pilot,
)
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings, SlurmStage
from orchestrator.spec.cell import Resources


@dataclass(frozen=True, kw_only=True)
class SettingPlace:
    """Where something that is asked for is written, or is best written."""

    file: str
    key: str
    value: str = ""
    """As it is there."""

    def __str__(self) -> str:
        return f"{self.file}: {self.key}"


@dataclass(frozen=True, kw_only=True)
class JobKind:
    """One kind of job: a stage's, or a pilot job."""

    what: str
    """`stage train`, `a pilot job`."""
    request: JobRequest
    where: SlurmStage
    """Partition, account and QOS as they hold."""
    extra: Mapping[str, Any]
    """Options of sbatch, which hold above all."""
    places: Mapping[str, SettingPlace]
    """partition, account, qos, nodes, minutes, cpus, memory_gib, devices -> where it is written."""
    can_spread: bool
    """It could be on more nodes."""
    slack: int
    """Minutes that are asked for beyond those that are written."""
    shorter: str
    """The remedy for a time limit that is too long; `{}` is the number."""

    def __getitem__(self, what: str) -> SettingPlace:
        return self.places[what]


WHERE = ("partition", "account", "qos")


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files that say what is asked for, as people know them."""

    cluster: str
    matrix: str


def kind_of_stage(stage: str, resources: Resources, slurm: SlurmSettings, files: Files) -> JobKind:
    """What the jobs of a stage ask for that are jobs of SLURM."""
    merged, own = slurm.of(stage), slurm.stages.get(stage, SlurmStage())
    extra = extra_lines(merged.sbatch)

    def written(field: str, value: str = "") -> SettingPlace:
        key = "sbatch" if field in extra else field
        section = f"stages.{stage}" if getattr(own, key) not in (None, ()) else "every"
        return SettingPlace(file=files.cluster, key=f"slurm.{section}.{key}", value=value)

    def needed(field: str) -> SettingPlace:
        value = f"{getattr(resources, field):g}"
        return SettingPlace(file=files.matrix, key=f"resources.{stage}.{field}", value=value)

    request = request_of(resources, merged)
    return JobKind(
        what=f"stage {stage}",
        request=request,
        where=_effective(merged, extra),
        extra=extra,
        places={
            **{field: written(field) for field in WHERE},
            **{field: needed(field) for field in ("cpus", "memory_gib")},
            "nodes": needed("nodes") if merged.nodes is None and resources.nodes else written("nodes"),
            "minutes": needed("minutes") if merged.minutes is None else written("minutes", f"{merged.minutes:g}"),
            "devices": needed("devices") if merged.gpus is None else written("gpus", repr(merged.gpus)),
        },
        can_spread=resources.world_size > request.nodes,
        slack=LIMIT_SLACK_MINUTES,
        shorter=f"set slurm.stages.{stage}.minutes in {files.cluster} to at most {{}} (a job whose time is over goes "
        "on from its checkpoint in another)",
    )


def kind_of_pilot(pilot: PilotSettings, files: Files) -> JobKind:
    """What a pilot job asks for."""

    def written(field: str, value: str = "") -> SettingPlace:
        return SettingPlace(file=files.cluster, key=f"slurm.pilot.{field}", value=value)

    extra = extra_lines(pilot.sbatch)
    merged = SlurmStage(partition=pilot.partition, account=pilot.account, qos=pilot.qos, constraint=pilot.constraint)
    return JobKind(
        what="a pilot job",
        request=request_of_pilot(pilot),
        where=_effective(merged, extra),
        extra=extra,
        places={
            **{field: written("sbatch" if field in extra else field) for field in (*WHERE, "nodes")},
            **{field: written(field, f"{getattr(pilot, field):g}") for field in ("cpus", "memory_gib", "minutes")},
            "devices": written("devices", f"{pilot.devices}")
            if pilot.gpus is None
            else written("gpus", repr(pilot.gpus)),
        },
        can_spread=False,
        slack=0,
        shorter=f"set slurm.pilot.minutes in {files.cluster} to at most {{}}",
    )


def _effective(merged: SlurmStage, extra: Mapping[str, Any]) -> SlurmStage:
    """With what is written in `sbatch`: it comes last in the script, and holds."""
    given = {field: str(extra[field]) for field in WHERE if field in extra}
    return replace(
        merged,
        partition=given.get("partition", merged.partition),
        account=given.get("account", merged.account),
        qos=given.get("qos", merged.qos),
    )
