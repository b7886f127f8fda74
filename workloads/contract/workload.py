"""The seam: all that the orchestrator knows of a study comes through one `Workload`.

A study is a package that lies anywhere Python finds it, or beside matrix.yaml. `workload: package.module` in
matrix.yaml names its module, which holds an instance of `Workload` as `WORKLOAD`. Importing that module must import
neither torch nor anything else that computes: it is read by every command. The stages' own modules are imported by
jobs alone.

Minimal: a name, a table of stages, dataclasses for the sections under `controls` and `branches`, and the families of
rows. Every method has a neutral default; a study overrides what it has something to say about. Standard library only.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from workloads.contract.fields import key_of
from workloads.contract.planned import Diagnosis, Estimate, Planned, PlannedCell, ServiceEndpoint, Surroundings
from workloads.contract.rows import Row

FORMAT = 1
"""Version of the fingerprint's own layout."""


@dataclass(frozen=True, kw_only=True)
class RecordCheck:
    """A value in a job's `result.records` that is compared between cells after the run.

    Unequal values among cells that agree on `depends` cross the comparison out (`violated`).
    """

    record: str
    depends: tuple[str, ...] = ()
    """Sections under `controls`, or `section.key`, that the value may depend on beside the seed."""


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A stage: everything that the orchestrator needs to know of one kind of job.

    A job's fingerprint covers exactly `sections`, the row, the seed, the branch and the fingerprints of `inputs`; a
    request's `config` holds exactly these sections.
    """

    name: str
    """Letters, digits and '_', first a letter; no keyword of Python."""
    module: str
    """Module with `run(request, progress) -> StageOutcome`, imported in the job."""
    inputs: tuple[str, ...] = ()
    """Stages whose artifacts it reads; of a stage with branches, that of the same branch."""
    sections: tuple[str, ...] = ()
    """Sections under `controls` that it reads; `section.key` where only a part is read."""
    row: Literal["none", "trained", "evaluated"] = "none"
    """Which form of the cell's row it reads."""
    seed: bool = False
    branches: tuple[str, ...] = ()
    """One job for each; (): one job without a branch."""
    revision: int = 1
    """Raised when the meaning of the stage changes: its jobs and what reads them are done again."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Kind -> `section.key` whose value names a line `kind/value` of `Workload.revisions` that it reads too."""
    seconds_guess: float = 60.0
    """Guessed duration, s, until a first job has ended; only the ratios between stages matter."""
    smoke: bool = False
    """`run --smoke` cuts it short (`request.smoke`); otherwise its jobs are shared with the real run."""
    tracked: bool = False
    """Belongs to a cell: shown in its run of the tracker, counted in its cost, missing where it is not done."""
    curve: str = ""
    """Metric of metrics.jsonl that the report draws and the tracker keeps at every step; empty: none is followed."""
    checks: tuple[RecordCheck, ...] = ()
    """Records that the certificate compares between cells; one stage of a workload has them."""
    counted: tuple[str, ...] = ()
    """Records that count what the job left out; the certificate tells them and compares nothing."""
    files: tuple[tuple[str, str, int | None], ...] = ()
    """Folder of the artifact, glob and how many at most, shown in the tracker."""
    images: str = ""
    """Folder of the artifact with PNG files, one a case, that the report shows; `cases.json` may name them."""
    pointer: str = ""
    """File of the artifact that the tracker only points to: too large to copy."""
    global_batch: str = ""
    """`section.key` with the samples of a step, which ranks and micro-batches share; empty: it has no steps."""
    whole_checkpoints: bool = False
    """A checkpoint holds all that is needed, so that older ones may go; otherwise each holds a part."""
    reshard: str = ""
    """Program (`python -m`) that converts a checkpoint to another number of ranks; empty: there is none."""
    preload: tuple[str, ...] = ()
    """Modules that a warm server imports before `module`."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One study's code, as the orchestrator sees it."""

    name: str
    """Goes into fingerprints, unless `unnamed`; letters, digits, '_' and '-'."""
    stages: tuple[StageSpec, ...]
    """In an order in which inputs come first; those that read no row, nor a job that does, first of all."""
    controls: type
    """Frozen dataclass: a field for each section under `controls`, each a frozen dataclass (see `fields.py`)."""
    branches: type
    """The same under `branches`, a section for each branch; a name that Python keeps for itself ends in `_`."""
    families: tuple[type[Row], ...]
    """The kinds of rows."""
    rows_key: str = "rows"
    """Key of matrix.yaml under which the rows are written."""
    row_controls: tuple[str, ...] = ()
    """`section.key` of controls that size a row: a cell holds one only if its row `reads` it."""
    revisions: Mapping[str, int] = field(default_factory=dict)
    """`kind/name` -> revision, for `StageSpec.revisions` and for branches (`branch/NAME`, 1 where absent)."""
    preload: tuple[str, ...] = ()
    """Modules that a warm server imports for whatever stage."""
    report: str = ""
    """`package.module` that holds the `ReportSpec` as `REPORT`; empty: the generic report. Imported when it is made."""
    published: str = ""
    """`package.module` with `report_from_published() -> dict`, for `report --source published`; empty: none."""
    unlike_paths: tuple[str, ...] = ()
    """Names under `paths` of a cluster file that are no files which must be there."""
    unnamed: bool = False
    """The name stays out of fingerprints: for studies that are older than names of workloads."""

    # What follows is derived from the tables.

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
        return tuple(key_of(name) for name in self.branches.__dataclass_fields__)  # type: ignore[attr-defined]

    @cached_property
    def steps(self) -> tuple[tuple[StageSpec, str | None, str], ...]:
        """Stage, branch and name (`stage` or `stage/branch`) of each job of a cell, needs first."""
        return tuple(
            (stage, branch, stage.name if branch is None else f"{stage.name}/{branch}")
            for stage in self.stages
            for branch in (stage.branches or (None,))
        )

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """Stages that read no row, nor a job that does."""
        found: list[str] = []
        for stage in self.stages:
            if stage.row == "none" and all(need in found for need in stage.inputs):
                found.append(stage.name)
        return tuple(found)

    @cached_property
    def checked(self) -> StageSpec | None:
        """The stage whose records the certificate compares."""
        return next((stage for stage in self.stages if stage.checks or stage.counted), None)

    def revisions_of(
        self, stage: StageSpec, config: Mapping[str, Any], row: Mapping[str, Any] | None, branch: str | None
    ) -> dict[str, int]:
        """The revisions that a job reads, by name; what comes through an input is in the input's.

        Raises:
            KeyError: the workload has no line for a value that names one.
        """
        found = {f"stage/{stage.name}": stage.revision}
        for kind, path in stage.revisions.items():
            section, _, key = path.partition(".")
            line = f"{kind}/{config[section][key]}"
            found[line] = self.revisions[line]
        if row is not None:
            found[f"{self.rows_key}/{row['family']}"] = self.family[row["family"]].revision
        if branch is not None:
            found[f"branch/{branch}"] = self.revisions.get(f"branch/{branch}", 1)
        if not self.unnamed:
            found[f"workload/{self.name}"] = FORMAT
        return dict(sorted(found.items()))

    # What a study may have something to say about.

    def problems(self, controls: Any, branches: Any) -> Iterator[tuple[str, str]]:
        """Key and problem of what cannot be together, most basic first; instances of `controls` and `branches`."""
        yield from ()

    def refuse_plan(self, plan: Planned, selected: Collection[str] | None) -> str:
        """Why the selected jobs (None: all) cannot be done, though each key alone is in range; empty: they can."""
        return ""

    def estimate(self, plan: Planned, selected: Collection[str] | None, surroundings: Surroundings) -> Estimate | None:
        """What the selected jobs (None: all) cost; None: nothing is known of it."""
        return None

    def weight(self, stage: str, row: Mapping[str, Any] | None, config: Mapping[str, Any]) -> float:
        """How much longer a job with this row and config is than others of its stage, before any has run."""
        return 1.0

    def deepspeed_problem(self, settings: Mapping[str, Any]) -> tuple[str, str] | None:
        """Key and problem of what a cluster may not say under `deepspeed`; None: all is well."""
        return None

    def notes(self, cells: Sequence[PlannedCell], sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What a reader of the report must know before the numbers; `sections` as in the certificate."""
        return []

    def remarks(self, label: str, last: Mapping[str, float]) -> list[str]:
        """What is to be said of a cell from the last value of each metric of the stage with a `curve`."""
        return []

    def diagnoses(
        self, cells: Sequence[PlannedCell], paths: Mapping[str, str], environment: Mapping[str, str]
    ) -> Iterable[tuple[str, Diagnosis | ServiceEndpoint]]:
        """What `doctor` is to tell of the study's services: name of the check, and what it found or is to ask."""
        return ()
