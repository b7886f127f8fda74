"""Job and plan: the graph of all jobs of the matrix, done or not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.plan.fingerprint import base_of
from orchestrator.spec.canonical import digest
from orchestrator.spec.cell import Cell, Deviation, ExcludedCell, Resources
from workloads.contract.request import DEFAULT_WORKLOAD, Stage
from workloads.contract.stage import StageSpec
from workloads.contract.workload import REFERENCES, Workload

State = Literal["done", "new", "retry", "waiting", "running", "unknown", "blocked", "failed", "cancelled"]

STATE_MEANINGS: Mapping[State, str] = {
    "done": "its commit record is in the store",
    "new": "it has not run yet, or what it reads has changed; the next run starts it once its inputs are done",
    "retry": "an attempt ended without a result, and retries are left; the next run starts it again",
    "waiting": "an attempt was submitted and has not started",
    "running": "an attempt runs",
    "unknown": "an attempt was started, and its host or scheduler does not answer; nothing is submitted twice",
    "blocked": "a job that it needs failed or was cancelled, or its stage is paused",
    "failed": "no retries are left, or its input is bad; `retry` lets it run again",
    "cancelled": "`cancel` ended it; `retry` lets it run again",
}

RowReason = Literal["profile", "named", "asked", "results"]
"""Why a row is in the plan: the profile has it, `--rows` names it, that of an earlier run did, or it has results."""

REHEARSAL = "-rehearsal"
"""End of the name of a study's folder, and of its experiment, whose results have no meaning."""

SHORT = 12
"""Hex digits of a fingerprint in ids and messages."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stage of one or more cells, identified by its fingerprint."""

    id: str
    """`{stage}[/{branch}]/{fp12}`"""
    label: str
    """`{stage}[/{branch}]/{cell}` with its first cell, without the parts of a cell that it does not read."""
    spec: StageSpec = field(repr=False)
    branch: str | None
    fingerprint: str
    """64 hex."""
    config: Mapping[str, Any]
    """The sections that the stage reads, as in a request; the branch's section is `branch`."""
    row: Mapping[str, Any] | None
    seed: int | None
    inputs: Mapping[str, str]
    """Stage -> id of the job whose artifact it reads."""
    resources: Resources
    cells: tuple[str, ...]
    """Ids of the cells that use it."""
    smoke: bool = False
    revisions: Mapping[str, int] = field(default_factory=dict)
    """Of what it reads itself; those of its inputs are in their fingerprints."""
    workload: str = DEFAULT_WORKLOAD
    """`package.module` of its workload."""
    items: Mapping[str, str] | None = None
    """Item -> content (`fingerprint.content_of`), sorted; None: it has no items."""
    measured: str = ""
    """Digest of what its items are measured with."""
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Input stage -> the items of it that it reads, whatever its own are (`Workload.reads`)."""
    item_reads: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """Item -> input stage -> the items of it that it reads (`Workload.items`)."""

    @property
    def stage(self) -> Stage:
        """Name of its stage."""
        return self.spec.name

    @property
    def base(self) -> str:
        """What its items have in common with those of other jobs; empty: it has no items."""
        return base_of(self.fingerprint) if self.items is not None else ""

    @property
    def step(self) -> int:
        """Of a job of a continued stage (`StageSpec.continued`): up to which it is the same as longer ones; else 0."""
        return int(max(self.items)) if self.spec.continued and self.items else 0

    @property
    def budget(self) -> int:
        """Of a job of a continued stage: how many steps it takes.

        Raises:
            ValueError: its stage is not continued.
        """
        section, _, key = self.spec.continued.partition(".")
        return int(self.config[section][key])

    @property
    def named(self) -> frozenset[str]:
        """Input stages of which it reads items: any artifact with these items will do."""
        return named_inputs(self.reads, self.item_reads)

    def items_read(self, stage: str) -> tuple[str, ...]:
        """The items that it reads of an input of which it reads items, sorted."""
        if stage in self.reads:
            return self.reads[stage]
        return tuple(sorted({item for reads in self.item_reads.values() for item in reads.get(stage, ())}))

    def has_case(self, case: str) -> bool:
        """Whether a case in its artifact is its own."""
        return self.items is None or case in self.items or self.is_pooled

    @property
    def own_cases(self) -> tuple[str, ...] | None:
        """Its cases, of which its artifact may have more; None: all that are there are its own."""
        return None if self.items is None or self.is_pooled else tuple(self.items)

    @property
    def is_pooled(self) -> bool:
        """Whether its artifact has values over all its items together (`StageSpec.pooled`)."""
        return self.branch in self.spec.pooled

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the jobs that it depends on."""
        return tuple(sorted(set(self.inputs.values())))

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders of its artifact that each hold what is of one row; "": the whole of it does."""
        return tuple(self.config[REFERENCES]) if self.spec.row == "references" else ("",)

    def part_of(self, cell: Cell) -> str:
        """The folder with what is of this cell's row."""
        return part_of(cell.evaluated) if self.spec.row == "references" else ""


def named_inputs(reads: Iterable[str], item_reads: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Input stages of which a job reads items, itself or by one of its own."""
    return frozenset(reads).union(*item_reads.values())


def part_of(row: Mapping[str, Any]) -> str:
    """Part of a resolved reference row: a row is found by what it is, never by its name."""
    return digest(row)[:SHORT]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The matrix of one profile as cells and jobs."""

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
    """Id -> job, dependencies first."""
    jobs_of: Mapping[str, Mapping[str, str]]
    """Cell id -> {stage or `stage/branch`: job id}."""
    excluded: tuple[ExcludedCell, ...] = ()
    """Cells of the full product that the matrix leaves out."""
    added: Mapping[str, RowReason] = field(default_factory=dict)
    """Row that the profile does not have -> why it is in the plan."""
    outside: Mapping[str, str] = field(default_factory=dict)
    """Row of the matrix that is not in the plan -> its family."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Axis -> text of the value that its control has without the axis."""

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches that are on, in the order of the workload."""
        on = {name for cell in self.cells for name in cell.branches}
        return tuple(name for name in self.workload.branch_names if name in on)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """State of one job, and why."""

    state: State
    reason: str
