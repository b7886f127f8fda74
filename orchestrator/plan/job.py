"""Jobs and the plan: the graph of everything the matrix asks for, done or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.spec.cell import Cell, Deviation, Resources
from workloads.contract.defaults import DEFAULT
from workloads.contract.request import Stage
from workloads.contract.workload import StageSpec, Workload

State = Literal["done", "new", "retry", "waiting", "running", "unknown", "blocked", "failed", "cancelled"]

SHORT = 12
"""Hex digits of a fingerprint that are shown to people."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stage of one or more cells, found by its fingerprint alone."""

    id: str
    """`{stage}[/{branch}]/{fp12}`"""
    label: str
    """`{stage}[/{branch}]/{cell}`, or without the parts of a cell that it does not read: the first cell's name."""
    spec: StageSpec = field(repr=False)
    """Its stage."""
    branch: str | None
    fingerprint: str
    """64 hex."""
    config: Mapping[str, Any]
    """The sections the stage reads, as in a request; the branch's own under `branch`."""
    row: Mapping[str, Any] | None
    seed: int | None
    inputs: Mapping[str, str]
    """Stage -> id of the job whose artifact is read."""
    resources: Resources
    cells: tuple[str, ...]
    """Ids of the cells it serves."""
    smoke: bool = False
    revisions: Mapping[str, int] = field(default_factory=dict)
    """Of what it reads itself; what comes through an input is in the input's."""
    workload: str = DEFAULT
    """`package.module` of the workload whose stage it is."""
    weight: float = 1.0
    """How much longer it may take than others of its stage, before any of them has run."""

    @property
    def stage(self) -> Stage:
        """Name of its stage."""
        return self.spec.name

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the jobs that must be done before."""
        return tuple(sorted(set(self.inputs.values())))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole matrix of one profile as cells and jobs, needs before needers."""

    study: str
    workload_name: str
    """`package.module`, as matrix.yaml names it."""
    workload: Workload = field(repr=False)
    profile: str
    overrides: tuple[str, ...]
    controls_fingerprint: str
    deviations: tuple[Deviation, ...]
    tables: Mapping[str, tuple[str, ...]]
    cells: tuple[Cell, ...]
    jobs: Mapping[str, Job]
    """Id -> job, in an order in which needs come first."""
    jobs_of: Mapping[str, Mapping[str, str]]
    """Cell id -> {stage or `stage/branch`: job id}."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one job stands, and why."""

    state: State
    reason: str
