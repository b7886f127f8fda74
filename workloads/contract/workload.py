"""Workload interface: everything that the orchestrator knows about a study.

`workload: package.module` in matrix.yaml names a module that is installed or beside matrix.yaml, with an instance of
`Workload` as `WORKLOAD`. Every command imports this module, so it must not import torch or the like; the modules of the
stages are imported only by jobs.

Required are a name, the stages, dataclasses of the sections under `controls` and `branches`, and the families of rows.
Every method has a default. Standard library only.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from workloads.contract.derived import DerivedMetric, derived_lines
from workloads.contract.fields import key_of
from workloads.contract.planned import (
    Diagnosis,
    Estimate,
    Planned,
    PlannedCell,
    PlannedCluster,
    PlannedJob,
    SceneCount,
    ServiceEndpoint,
)
from workloads.contract.rows import Row

FORMAT = 2
"""Version of the layout of fingerprints."""

Items = Mapping[str, Mapping[str, Collection[str]]]
"""Item -> input stage -> items of that stage which it reads.

Of an input that no item names, each reads all.
"""

REFERENCES = "references"
"""In a job's config, for a stage with `row="references"`: its rows, `{part: resolved row}`."""
LEFT_OUT = "left_out"
"""In the records of such a job: `{part: why its row has no meaning on this branch}`; the row is not missing there."""


@dataclass(frozen=True, kw_only=True)
class RecordCheck:
    """A value in a job's `result.records` that must be equal in all compared cells that agree on what it depends on.

    The report shows unequal values as `violated`.
    """

    record: str
    depends: tuple[str, ...] = ()
    """Sections under `controls`, or `section.key`, that the value depends on besides the seed."""
    declared: Mapping[str, str] = field(default_factory=dict)
    """Names in `Row.declared` that it depends on as well -> why rows may differ in them, for people. Rows that declare
    the same must have recorded the same; one that declares something else than most is listed among the report's
    deviations. Where the record itself is named, every row must have recorded what it declares."""
    optional: bool = False
    """Some studies record it and some do not: no line while no job of the study has it."""


@dataclass(frozen=True, kw_only=True)
class CountCheck:
    """A value in a job's `result.records` that counts what the job left out, such as rejected steps.

    The report lists it for each cell, with the bound; above it the cell is `violated`.
    """

    record: str
    what: str
    """What is counted, for people: `rejected steps`."""
    of: str
    """`section.key` under `controls`: how many there were."""
    most: str
    """`section.key` under `controls`: the largest share that a job may leave out."""

    @staticmethod
    def allowed(share: float, whole: int) -> int:
        """The largest number that is at most `share` of `whole`."""
        return math.floor(share * whole + 1e-9)  # 0.29 * 100 is 28.999999999999996


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a metric may move where a job is run again on a machine that computes other last digits."""

    metric: str
    """Name in cases.jsonl, or a glob; the first that matches counts."""
    most: float
    """Largest difference of the mean over the job's cases, in the metric's unit."""


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A stage: one kind of job.

    Fingerprint and request of a job have exactly what is declared here: sections, row, seed, branch and inputs.
    """

    name: str
    """Part of labels, ids and paths: letters, digits and '_', first a letter; no keyword of Python."""
    module: str
    """Module with `run(request, progress) -> StageOutcome`, imported by the job."""
    inputs: tuple[str, ...] = ()
    """Stages whose artifacts it reads; from a stage with branches, that of the same branch."""
    sections: tuple[str, ...] = ()
    """Sections under `controls` that it reads; `section.key` for a single key."""
    row: Literal["none", "trained", "evaluated", "references"] = "none"
    """Whether it reads the row, and in which form: `Row.trained()` or `Row.evaluated()`.

    "references": it reads all reference rows at once, as `config[REFERENCES]`, and they go through such stages and no
    others but those that these read. What a job of one row writes, it writes for each row in a folder, named as its
    part.
    """
    seed: bool = False
    """Whether it reads the seed; otherwise all seeds share its job."""
    branches: tuple[str, ...] = ()
    """One job for each of these; (): one job without a branch."""
    item: str = ""
    """What an item of its jobs is (`Workload.items`), for people: `case`; empty: they are not counted for people."""
    ignored: tuple[str, ...] = ()
    """Keys that are in no fingerprint of a job whose items are known (`Workload.items`): `section`, `section.key`,
    `branch` or `branch.key`. They say how many items there are, or only another stage reads them.
    """
    measuring: tuple[str, ...] = ()
    """Keys, likewise, that are read once an item is made, to measure it: with other values nothing is made again."""
    measuring_revision: int = 1
    """Increase it when what is measured of an item changes, such as by a new metric: nothing is made again for it."""
    pooled: tuple[str, ...] = ()
    """Branches on which its artifact has values over all items together: each set of items has an artifact of its own.

    Elsewhere a job whose items are all in another job's artifact is done.
    """
    continued: str = ""
    """`section.key` of how many steps a job takes, of a stage whose longer jobs continue shorter ones; empty: none do.

    Its item, if a job has one, is the step up to which it is the same as every longer one, zero-padded. A job begins
    with the longest finished one of its base up to its own item, whose state its artifact has; it is never done by
    another. A job that is like no longer one has no items.
    """
    states: str = ""
    """Folder of the artifact with the state with which longer jobs begin; it has times: its bits are no result."""
    anew: str = ""
    """Why a job of such a stage has no items, for people who ask for more steps, and what would have some."""
    revision: int = 1
    """Increase it when the stage changes its meaning: its jobs and their dependents run again."""
    performs: tuple[str, ...] = ()
    """Other stages whose work it does as well: their revisions and the kinds of theirs enter its fingerprint too."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Kind -> `section.key`; the revision `kind/VALUE` of `Workload.revisions` enters the fingerprint too."""
    resources_of: str = ""
    """Another stage whose resources it has in a profile that does not name it; for a stage that came later."""
    seconds_guess: float = 60.0
    """Guessed duration, s, until a first job has ended, of jobs whose FLOPs are not known (`Workload.flops`)."""
    smoke: bool = False
    """`run --smoke` shortens it (`request.smoke`); otherwise a smoke run uses the real jobs."""
    tracked: bool = False
    """Its jobs are results of a cell: in the cell's run of the tracker, in its cost, and missing if not done."""
    curve: str = ""
    """Metric of metrics.jsonl that the report draws and the tracker logs at every step; empty: none."""
    checks: tuple[RecordCheck, ...] = ()
    """Records that the report compares between cells, of a stage that is `tracked`."""
    counted: tuple[CountCheck, ...] = ()
    """Records that count what the job left out, and how much it may be."""
    of_items: tuple[str, ...] = ()
    """Records that are `{item: value}`."""
    uncompared: Mapping[str, str] = field(default_factory=dict)
    """Record -> why it is not compared between cells, for people."""
    told: str = ""
    """Record whose keys are sentences for the notes of the report, such as why cases have no value."""
    files: tuple[tuple[str, str, int | None], ...] = ()
    """(folder of the artifact, glob, how many at most) of files that the tracker logs."""
    about: str = ""
    """What its case values mean and how they are made, for people: the tracker shows it beside them. Markdown."""
    images: str = ""
    """Folder of the artifact with PNG files, one per case, for the report; `cases.json` may name the cases."""
    videos: str = ""
    """Folder of the artifact with MP4 files, named as the images, of some cases, for the report."""
    pointer: str = ""
    """File of the artifact to which the tracker logs only a link, because it is large."""
    global_batch: str = ""
    """`section.key` of the samples per step, which ranks and micro-batches divide; empty: it has no batches."""
    memory_remedies: tuple[str, ...] = ()
    """What reduces the memory it needs, besides more devices and memory: named to people when a job ran out of it."""
    whole_checkpoints: bool = False
    """Each checkpoint is complete, so that older ones are deleted; otherwise each holds a part of the work."""
    reshard: str = ""
    """Program (`python -m`) of the command `reshard`; empty: its checkpoints cannot be converted."""
    tolerances: tuple[Tolerance, ...] = ()
    """For `audit --rerun`: a metric that none of these names is not judged on another machine."""
    preload: tuple[str, ...] = ()
    """Modules that a warm server imports before its first job of this stage, and whose libraries `run` looks for.

    With torch among them, a job imports it and records its settings from the start; otherwise only once it is used.
    """
    environment: tuple[str, ...] = ()
    """Variables that its jobs read beside those of every job (`NAME` or `PREFIX_*`): addresses and keys of services.

    The jobs of other stages do not get them.
    """


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The code of a study."""

    name: str
    """Part of fingerprints if `name_in_fingerprints`; letters, digits, '_' and '-'."""
    stages: tuple[StageSpec, ...]
    """Inputs before the stages that read them; first of all, those that depend on no row."""
    controls: type
    """Frozen dataclass with a field for each section under `controls`, each a frozen dataclass (see `fields.py`)."""
    branches: type
    """The same for `branches`, with a section for each branch; a keyword of Python gets a `_` at its end.

    A field `NAME: Section | None = None` is a branch that may be off. A section's key with the mark `ROW_CHOICE`
    (`fields.py`) names the rows that are evaluated on the branch.
    """
    families: tuple[type[Row], ...]
    """Classes of rows."""
    rows_key: str = "rows"
    """Key of the rows in matrix.yaml."""
    row_controls: tuple[str, ...] = ()
    """`section.key` of controls that only some rows read (`Row.reads`); the cells of other rows do not have them."""
    revisions: Mapping[str, int] = field(default_factory=dict)
    """`kind/VALUE` -> revision, for `StageSpec.revisions` and for branches (`branch/NAME`, by default 1)."""
    preload: tuple[str, ...] = ()
    """The same, for every stage."""
    derived: tuple[DerivedMetric, ...] = ()
    """Metrics of cases that are computed from others whenever results are read."""
    report: str = ""
    """`package.module` with the `ReportSpec` as `REPORT`; empty: the generic report."""
    template: tuple[str, str] | None = None
    """Package, and the file in it that `init` writes as matrix.yaml, with `$study` for the study's name; None: none."""
    unchecked_paths: tuple[str, ...] = ()
    """Names under `paths` of a cluster file for which `doctor` does not look for a file."""
    name_in_fingerprints: bool = True
    """False only for a study whose fingerprints are older than names of workloads."""

    # Derived from the fields above.

    @cached_property
    def by_name(self) -> Mapping[str, StageSpec]:
        """Stage name -> its entry."""
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def family(self) -> Mapping[str, type[Row]]:
        """Family name -> its class."""
        return {kind.family: kind for kind in self.families}

    @cached_property
    def branch_names(self) -> tuple[str, ...]:
        """The branches, in the order of the dataclass."""
        return tuple(key_of(one.name) for one in fields(self.branches))

    @cached_property
    def steps(self) -> tuple[tuple[StageSpec, str | None, str], ...]:
        """Stage, branch and name (`stage` or `stage/branch`) of each job of a cell, dependencies first."""
        return _steps(stage for stage in self.stages if stage.row != "references")

    @cached_property
    def reference_steps(self) -> tuple[tuple[StageSpec, str | None, str], ...]:
        """The same of a cell of a reference row: `steps`, unless there are stages for reference rows."""
        needed: set[str] = set()
        for stage in reversed(self.stages):
            if stage.row == "references" or stage.name in needed:
                needed |= {stage.name, *stage.inputs}
        return _steps(stage for stage in self.stages if stage.name in needed) or self.steps

    @cached_property
    def rowless(self) -> frozenset[str]:
        """Stages whose jobs are of no single row: those that depend on none, and those of all reference rows."""
        return frozenset(self.shared) | {stage.name for stage in self.stages if stage.row == "references"}

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """Stages that depend on no row."""
        found: list[str] = []
        for stage in self.stages:
            if stage.row == "none" and all(need in found for need in stage.inputs):
                found.append(stage.name)
        return tuple(found)

    @cached_property
    def checked(self) -> StageSpec | None:
        """The first tracked stage with `checks` or `counted`, else the first one: how its jobs ran is told in full."""
        tracked = [stage for stage in self.stages if stage.tracked]
        return next((stage for stage in tracked if stage.checks or stage.counted), tracked[0] if tracked else None)

    def derive(self, branch: str, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The derived metrics of one cell on one branch; `lines`: of cases.jsonl, of all its jobs there."""
        return derived_lines(self.derived, branch, lines) if self.derived else []

    def revisions_of(
        self, stage: StageSpec, config: Mapping[str, Any], row: Mapping[str, Any] | None, branch: str | None
    ) -> dict[str, int]:
        """The revisions in a job's fingerprint, by name, without those of its inputs.

        Raises:
            KeyError: `revisions` has no entry for a value.
        """
        found: dict[str, int] = {}
        for one in (stage, *(self.by_name[name] for name in stage.performs)):
            found[f"stage/{one.name}"] = one.revision
            for kind, path in one.revisions.items():
                section, _, key = path.partition(".")
                line = f"{kind}/{config[section][key]}"
                found[line] = self.revisions[line]
        rows = config[REFERENCES].values() if stage.row == "references" else () if row is None else (row,)
        for read in rows:
            found[f"{self.rows_key}/{read['family']}"] = self.family[read["family"]].revision
        if branch is not None:
            found[f"branch/{branch}"] = self.revisions.get(f"branch/{branch}", 1)
        if self.name_in_fingerprints:
            found[f"workload/{self.name}"] = FORMAT
        return dict(sorted(found.items()))

    # To be overridden.

    def items(
        self, stage: StageSpec, branch: str | None, controls: Mapping[str, Any], section: Mapping[str, Any] | None
    ) -> Items | None:
        """The items of a stage's job; None: it has none, or they are known only once its inputs are there.

        An item is a part of a job's artifact that is made by itself: its bits do not depend on which others there are.
        A job of which an earlier one has some items makes the others only. What an item depends on besides its name is
        in its job's fingerprint (all that the stage declares, but for `ignored` and `measuring`) or in the items
        that it reads.

        Args:
            stage: of this workload.
            branch: one of its branches, if it has any.
            controls: of the cell, all sections; they may only decide which items there are.
            section: of the branch.
        """
        return None

    def reads(self, stage: StageSpec, controls: Mapping[str, Any]) -> Mapping[str, Collection[str]]:
        """Input stage -> which of its items a job reads, whatever its own items are; a stage that is absent: all of it.

        So a training does not depend on what is only for evaluations.
        """
        return {}

    def problems(self, controls: Any, branches: Any) -> Iterator[tuple[str, str]]:
        """Key and problem of each inconsistency in instances of `controls` and `branches`, the most basic first."""
        yield from ()

    def refuse_plan(self, plan: Planned, selected: Collection[str] | None) -> str:
        """Why the selected jobs (None: all) cannot succeed; empty: no reason is known."""
        return ""

    def estimate(self, plan: Planned, selected: Collection[str] | None, cluster: PlannedCluster) -> Estimate | None:
        """Predicted cost of the selected jobs (None: all); None: not known."""
        return None

    def added_disk(self, plan: Planned, made: Mapping[str, float], *, keep_stable: bool = True) -> Mapping[str, int]:
        """What -> bytes that some jobs add to the disk, for people; {}: not known.

        Args:
            plan: as built.
            made: id of each of the jobs -> share of its items that are made; the others are linked. 1: all, or it has
                none.
            keep_stable: whether a job that longer ones continue publishes its state.
        """
        return {}

    def flops(self, plan: Planned) -> Mapping[str, float]:
        """Job id -> floating point operations, of the jobs where they are known.

        Durations of jobs that were not measured are estimated in proportion to them.
        """
        return {}

    def sizes(self, cells: Sequence[PlannedCell]) -> Mapping[str, Mapping[str, float]]:
        """Cell id -> name -> number that follows from the declaration of its row, such as how much it has to keep.

        The report sets scores against those that `ReportSpec.frontier` names.
        """
        return {}

    def scenes(self, cells: Sequence[PlannedCell]) -> Mapping[str, SceneCount]:
        """Branch -> scenes of its cases; without those that are known only once the data is there.

        `plan` and `power` tell from it what a matrix will resolve, and whether more scenes train anything again.
        """
        return {}

    def cannot_rerun(self, job: PlannedJob, paths: Mapping[str, str]) -> str:
        """Why `audit --rerun` cannot make this job's result from those of its inputs; empty: it can.

        Args:
            job: of the plan of the crate.
            paths: of the cluster file on this machine: what the job reads besides its inputs.
        """
        return ""

    def deepspeed_problem(self, settings: Mapping[str, Any]) -> tuple[str, str] | None:
        """Key and problem of `deepspeed` settings of a cluster file that the study refuses; None: there is none."""
        return None

    def notes(self, cells: Sequence[PlannedCell], sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Notes of the report, before the numbers; `sections`: the resolved controls."""
        return []

    def remarks(self, label: str, last: Mapping[str, float]) -> list[str]:
        """Notes of the report on a cell, from the last value of each metric of the stage with a `curve`."""
        return []

    def diagnoses(
        self, cells: Sequence[PlannedCell], paths: Mapping[str, str], environment: Mapping[str, str]
    ) -> Iterable[tuple[str, Diagnosis | ServiceEndpoint]]:
        """Checks of `doctor` for services and files of the study: name, and a result or a server to contact."""
        return ()


def _steps(stages: Iterable[StageSpec]) -> tuple[tuple[StageSpec, str | None, str], ...]:
    return tuple(
        (stage, branch, stage.name if branch is None else f"{stage.name}/{branch}")
        for stage in stages
        for branch in (stage.branches or (None,))
    )
