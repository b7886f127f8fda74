"""The section `slurm` of cluster/*.yaml: how the site wants its jobs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated

from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import Cluster, SectionSource
from orchestrator.spec.lines import listed, nearest
from workloads.contract.fields import Count, Natural, Positive, Range

NAME = "slurm"
RESERVED_GIB = 2.0
"""Of a pilot job's memory on each node, for Ray and the warm server."""


@dataclass(frozen=True, kw_only=True)
class SlurmStage:
    """Where the jobs of one stage run; None: what the site does by itself."""

    partition: str | None = None
    """`--partition`."""
    account: str | None = None
    """`--account`."""
    qos: str | None = None
    """`--qos`."""
    constraint: str | None = None
    """`--constraint`."""
    minutes: Positive | None = None
    """What an attempt may take at most; None: `resources.STAGE.minutes`. Once jobs like it were measured, it asks SLURM
    for less."""
    least_minutes: Positive | None = None
    """The least time limit that is asked for; where it is `minutes` or more, none is estimated."""
    gpus: str | None = None
    """`--gpus-per-node`, such as `a100:4`; None: `resources.STAGE.devices`."""
    nodes: Count | None = None
    """Over which a job's ranks are spread; None: one."""
    at_once: Count | None = None
    """Elements of an array that may run at once."""
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch, such as `--exclude=n3`."""


@dataclass(frozen=True, kw_only=True)
class PilotSettings:
    """Pilot jobs: each holds an allocation of nodes and runs many attempts, one after the other and side by side."""

    cpus: Count
    """Of each node of the allocation."""
    memory_gib: Annotated[float, Range(RESERVED_GIB, above=True)]
    """Of each node; its jobs get 2 GiB less, for Ray and the warm server."""
    minutes: Positive
    """What a pilot job may take at most; once its jobs were measured, it asks for what those that are ready need."""
    nodes: Count = 1
    """Of one allocation; an attempt runs on one of them."""
    devices: Natural = 0
    """Of each node."""
    gpus: str | None = None
    """`--gpus-per-node`, such as `a100:4`; None: `devices`, of any type."""
    allocations: Count = 4
    """At once, at most."""
    stages: tuple[str, ...] | None = None
    """Whose jobs run in pilot jobs, if on one node; the others are SLURM jobs of their own. None: all stages."""
    partition: str | None = None
    """`--partition`."""
    account: str | None = None
    """`--account`."""
    qos: str | None = None
    """`--qos`."""
    constraint: str | None = None
    """`--constraint`."""
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch."""


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """SLURM as this study uses it."""

    every: SlurmStage = field(default_factory=SlurmStage)
    """What holds for all stages."""
    stages: Mapping[str, SlurmStage] = field(default_factory=dict)
    """Stage -> what differs."""
    setup: tuple[str, ...] = ()
    """Shell lines before each job, such as `module load cuda`."""
    max_jobs: Count = 200
    """Attempts in the queue and running at once; the site's own limit holds as well."""
    max_waiting: Count = 50
    """Of them, those that wait in the queue, but not for `at_once`; others are submitted as these begin."""
    poll_s: Positive = 10.0
    """Between two questions to SLURM."""
    pilot: PilotSettings | None = None
    """None: every attempt is a SLURM job of its own."""
    packed: PilotSettings | None = None
    """The former name of `pilot`."""

    def of(self, stage: str) -> SlurmStage:
        """What holds for the jobs of one stage: its own where it says something, else `every`'s; options add up."""
        own = self.stages.get(stage, SlurmStage())
        given = {one.name: value for one in fields(own) if (value := getattr(own, one.name)) not in (None, ())}
        return replace(self.every, **{**given, "sbatch": (*self.every.sbatch, *own.sbatch)})

    def spreads(self, stage: str, resources: Resources) -> bool:
        """Whether a job of a stage, which needs `resources`, is on several nodes."""
        several_ranks = resources.world_size > 1  # `every` may hold for stages that have only one
        return (resources.nodes or 1) > 1 or (several_ranks and (self.of(stage).nodes or 1) > 1)

    def in_pilots(self, stage: str, resources: Resources | None = None) -> bool:
        """Whether the jobs of a stage run in pilot jobs: as `pilot.stages` says, unless they are on several nodes.

        Args:
            stage: its name.
            resources: what its jobs need; None: it is not known, and they are taken to need one node.
        """
        if self.pilot is None or (self.pilot.stages is not None and stage not in self.pilot.stages):
            return False
        return resources is None or not self.spreads(stage, resources)

    def without_spread(self, stages: Sequence[str], resources: Mapping[str, Resources]) -> "SlurmSettings":
        """With those stages left out of `pilot.stages` whose jobs are on several nodes.

        Args:
            stages: of the plan.
            resources: stage -> what its jobs need.
        """
        inside = tuple(stage for stage in stages if self.in_pilots(stage, resources.get(stage)))
        if self.pilot is None or inside == tuple(stage for stage in stages if self.in_pilots(stage)):
            return self
        return replace(self, pilot=replace(self.pilot, stages=inside) if inside else None)


def slurm_settings(cluster: Cluster) -> SlurmSettings:
    """The section `slurm`, or its defaults."""
    return cluster.section(NAME, SlurmSettings)


def complete(slurm: SlurmSettings, source: SectionSource) -> SlurmSettings:
    """Refuse what types cannot rule out, and take `packed` for `pilot`.

    Raises:
        MatrixError: an unknown stage, a short option of sbatch, GPUs without devices, or `pilot` beside `packed`.
    """
    if source.has("slurm.pilot") and source.has("slurm.packed"):
        source.refuse("slurm.packed", "is the former name of slurm.pilot, which is there too; keep only slurm.pilot")
    for stage in slurm.stages:
        if stage not in source.stages:
            source.refuse(f"slurm.stages.{stage}", f"is unknown; allowed: {', '.join(source.stages)}")
    pilot, key = (slurm.pilot, "pilot") if slurm.packed is None else (slurm.packed, "packed")
    for index, stage in enumerate(() if pilot is None else pilot.stages or ()):
        if stage not in source.stages:
            problem = f"is {stage!r}{nearest(stage, source.stages)}{listed(source.stages)}"
            source.refuse(f"slurm.{key}.stages[{index}]", problem)
    options = {"every": slurm.every, key: pilot}
    options |= {f"stages.{stage}": where for stage, where in slurm.stages.items()}
    for name, where in options.items():
        for option in () if where is None else where.sbatch:
            if re.match(r"-[^-]", option.strip().removeprefix("#SBATCH").strip()):
                problem = f"has {option!r}; write its long form, such as --partition=short"
                source.refuse(f"slurm.{name}.sbatch", problem)
    if pilot is not None and pilot.gpus is not None and not pilot.devices:
        source.refuse(
            f"slurm.{key}.gpus",
            f"is {pilot.gpus!r}, but slurm.{key}.devices is 0; say there how many devices of a node its jobs may use",
        )
    return replace(slurm, pilot=pilot, packed=None)
