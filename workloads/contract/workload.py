"""Workload interface: everything that the orchestrator knows about a study.

`workload: package.module` in matrix.yaml names a module that is installed or beside matrix.yaml, with an instance of
`Workload` as `WORKLOAD`. Every command imports this module, so it must not import torch or the like; the modules of the
stages are imported only by jobs.

Required are a name, the stages, dataclasses of the sections under `controls` and `branches`, and the families of rows.
Every method has a default. Standard library only.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

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
from workloads.contract.stage import StageSpec

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
    def seeded(self) -> frozenset[str]:
        """Stages whose jobs differ in their seeds: those that read it, and those that read such a one."""
        found: set[str] = set()
        for stage in self.stages:
            if stage.seed or not found.isdisjoint(stage.inputs):
                found.add(stage.name)
        return frozenset(found)

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
