"""The section `slurm` of cluster/slurm.yaml: how the site wants its jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated

from workloads.contract.fields import Count, Natural, Positive, Range
from workloads.contract.request import Stage

KEPT_GIB = 2.0
"""Of an allocation's memory on each node, for Ray and the warm server."""


@dataclass(frozen=True, kw_only=True)
class SlurmStage:
    """Where the jobs of one stage run; None: what the site does by itself."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    minutes: Positive | None = None
    """Limit of time; None: `resources.STAGE.minutes`."""
    gpus: str | None = None
    """`--gpus-per-node`, such as `a100:4`; None: `resources.STAGE.devices`."""
    nodes: Count | None = None
    """Over which a job's ranks are spread; None: one."""
    at_once: Count | None = None
    """Elements of an array that may run at once."""
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch, such as `--exclude=n3`."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Packed mode: allocations of nodes, into each of which many jobs go, one after the other and side by side."""

    cpus: Count
    """Of each node of an allocation."""
    memory_gib: Annotated[float, Range(KEPT_GIB, above=True)]
    """Of each node; its jobs get `KEPT_GIB` less."""
    minutes: Positive
    """Limit of time of an allocation."""
    nodes: Count = 1
    """Of one allocation; a job runs on one of them."""
    devices: Natural = 0
    """Of each node."""
    gpus: str | None = None
    """`--gpus-per-node`, such as `a100:4`; None: `devices`, of any type."""
    allocations: Count = 4
    """At once, at most."""
    stages: tuple[Stage, ...] | None = None
    """Whose jobs are packed; the others are jobs of SLURM. None: all."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch."""


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """SLURM as this study uses it."""

    every: SlurmStage = field(default_factory=SlurmStage)
    """What holds for all stages."""
    stages: Mapping[str, SlurmStage] = field(default_factory=dict)
    """Stage -> what differs."""
    setup: tuple[str, ...] = ()
    """Shell lines before each job, such as `module load cuda`."""
    max_jobs: Count = 200
    """Attempts in the queue and running at once; the site's own limit holds as well."""
    poll_s: Positive = 10.0
    """Between two questions to SLURM."""
    packed: Packed | None = None
    """None: every attempt is a job of SLURM."""

    def of(self, stage: str) -> SlurmStage:
        """What holds for the jobs of one stage: its own where it says something, else `every`'s; options add up."""
        own = self.stages.get(stage, SlurmStage())
        said = {one.name: value for one in fields(own) if (value := getattr(own, one.name)) not in (None, ())}
        return replace(self.every, **{**said, "sbatch": (*self.every.sbatch, *own.sbatch)})
