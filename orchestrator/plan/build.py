"""Cells to jobs: each computation once, whoever asks for it, needs before needers.

A job that several cells share is made for the first of them in file order, which names it, and
lists all of them.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.plan.fingerprint import Fingerprints, Hash, config_of
from orchestrator.plan.job import SHORT, Job, Plan
from orchestrator.spec.canonical import digest
from orchestrator.spec.cell import Cell, Resources
from orchestrator.spec.schema import Axis, ResolvedMatrix, plain
from workloads.contract.request import Stage
from workloads.study.stages import BRANCHES, JUDGED, STAGES

SMOKED: frozenset[Stage] = frozenset({"train", "evaluate", "judge"})
"""Stages that a smoke run cuts short; the others are made in full and shared with the real run."""

SHARED: tuple[Stage, ...] = ("data", "latents", "index")
"""Stages that read no row, nor a job that does: the first of `STEPS`."""

SMOKE_LABEL = "/smoke"

STEPS: tuple[tuple[Stage, str | None, str], ...] = (
    ("data", None, "data"),
    ("latents", None, "latents"),
    ("index", None, "index"),
    ("train", None, "train"),
    *(("evaluate", branch, f"evaluate/{branch}") for branch in BRANCHES),
    *(("judge", branch, f"judge/{branch}") for branch in JUDGED),
)
"""Stage, branch and name of each job of a cell, in an order in which needs come first."""


def build_plan(matrix: ResolvedMatrix, cells: Sequence[Cell], smoke: bool = False) -> Plan:
    """The plan of all cells.

    Raises:
        PlanError: two jobs whose shown fingerprints are equal and whose full ones are not.
    """
    builder = _Builder(matrix, smoke)
    with _without_collector():
        jobs_of = {cell.id: builder.jobs_of(cell) for cell in cells}
    controls = {"controls": plain(matrix.controls), "branches": plain(matrix.branches)}
    return Plan(
        study=matrix.study,
        profile=matrix.profile,
        overrides=matrix.overrides,
        controls_fingerprint=digest(controls),
        deviations=matrix.deviations,
        tables=matrix.tables,
        cells=tuple(cells),
        jobs=builder.finished(),
        jobs_of=jobs_of,
    )


@contextmanager
def _without_collector() -> Iterator[None]:
    """No garbage collection for a while.

    Everything that is made here is kept, so that the collector, called by the number of objects, goes
    through all of them again and again and frees nothing: it was 44 % of the time for 60,000 jobs.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _new_job(**fields: Any) -> Job:
    """A Job, an eighth of the time: a frozen dataclass sets its fields one by one through `object.__setattr__`."""
    job = object.__new__(Job)
    job.__dict__.update(fields)
    return job


class _Kind:
    """What all jobs of one stage and branch with the same sections and row share."""

    __slots__ = ("branch", "config", "needs", "reads_seed", "row", "stage", "start", "step")

    def __init__(
        self,
        step: tuple[Stage, str | None, str],
        config: Mapping[str, Any],
        row: Mapping[str, Any] | None,
        start: Hash,
    ) -> None:
        self.stage, self.branch, self.step = step
        self.config, self.row, self.start = config, row, start
        self.needs = tuple(_inputs(self.stage, self.branch))
        self.reads_seed = STAGES[self.stage].seed


class _Builder:
    """Jobs as they are asked for by cells."""

    def __init__(self, matrix: ResolvedMatrix, smoke: bool) -> None:
        self._smoked = SMOKED if smoke else frozenset()
        self._fingerprints = Fingerprints()
        self._kinds: dict[tuple[int, int, int, int], list[_Kind]] = {}
        self._configs: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._jobs: dict[str, Job] = {}
        self._others: dict[str, list[str]] = {}
        """Job id -> cells after the first."""
        self._ids: dict[str, dict[str, str]] = {}
        """Cell id -> its jobs."""
        self._shared: dict[tuple[int, int], dict[str, str]] = {}
        """Controls of a cell, seed -> the jobs that read no row."""
        self._labels: set[str] = set()
        self._resources: Mapping[str, Resources] = {stage: getattr(matrix.resources, stage) for stage in STAGES}
        self._named_by = {stage: _axes_read(stage, matrix.axes) for stage in STAGES}

    def jobs_of(self, cell: Cell) -> dict[str, str]:
        """Name -> id of the jobs of one cell; makes those that no cell before has asked for."""
        if cell.alias_of is not None and cell.alias_of in self._ids:
            ids = dict(self._ids[cell.alias_of])
            remaining: list[_Kind] = []
        else:
            shared = self._shared.get((id(cell.controls), cell.seed), {})
            ids = dict(shared)
            remaining = self._kinds_of(cell)[len(shared) :]
        for job_id in ids.values():
            self._others.setdefault(job_id, []).append(cell.id)
        for kind in remaining:
            ids[kind.step] = self._job(cell, kind, ids)
        if len(remaining) == len(STEPS):
            self._shared[id(cell.controls), cell.seed] = {name: ids[name] for name in SHARED}
        self._ids[cell.id] = ids
        return ids

    def _job(self, cell: Cell, kind: _Kind, ids: Mapping[str, str]) -> str:
        """Id of one job of a cell, whose needs are in `ids` already."""
        jobs = self._jobs
        seed = cell.seed if kind.reads_seed else None
        smoke = kind.stage in self._smoked
        inputs = {stage: ids[need] for stage, need in kind.needs}
        fingerprint = self._fingerprints.finish(
            kind.start, seed, kind.branch, [jobs[need].fingerprint for need in inputs.values()], smoke
        )
        job_id = f"{kind.step}/{fingerprint[:SHORT]}"
        known = jobs.get(job_id)
        if known is None:
            jobs[job_id] = _new_job(
                id=job_id,
                label=self._label(cell, kind, smoke),
                stage=kind.stage,
                branch=kind.branch,
                fingerprint=fingerprint,
                config=kind.config,
                row=kind.row,
                seed=seed,
                inputs=inputs,
                resources=self._resources[kind.stage],
                cells=(cell.id,),
                smoke=smoke,
            )
        elif known.fingerprint == fingerprint:
            self._others.setdefault(job_id, []).append(cell.id)
        else:
            raise PlanError(
                f"{job_id}: two jobs share these {SHORT} digits, {fingerprint} of {cell.id} and "
                f"{known.fingerprint} of {known.cells[0]}; change any key of one of them"
            )
        return job_id

    def finished(self) -> dict[str, Job]:
        """All jobs by id, needs first."""
        for job_id, cells in self._others.items():
            job = self._jobs[job_id]
            self._jobs[job_id] = replace(job, cells=(*job.cells, *cells))
        return self._jobs

    def _kinds_of(self, cell: Cell) -> list[_Kind]:
        # Equal sections and rows are the same objects in all cells (`expand`), so few of these are made.
        key = (id(cell.controls), id(cell.branches), id(cell.trained), id(cell.generated))
        kinds = self._kinds.get(key)
        if kinds is None:
            kinds = self._kinds[key] = [self._kind(cell, step) for step in STEPS]
        return kinds

    def _kind(self, cell: Cell, step: tuple[Stage, str | None, str]) -> _Kind:
        stage, branch, name = step
        reads = STAGES[stage].row
        row = None if reads == "none" else cell.trained if reads == "trained" else cell.generated
        section = cell.branches[branch] if branch is not None else None
        where = (name, id(cell.controls), id(section))
        config = self._configs.get(where)
        if config is None:
            config = self._configs[where] = config_of(stage, cell.controls, section)
        return _Kind(step, config, row, self._fingerprints.start(stage, config, row, branch))

    def _label(self, cell: Cell, kind: _Kind, smoke: bool) -> str:
        label = f"{kind.step}/{cell.id}"
        if kind.stage in SHARED:
            # Such a job is not one row's: only the axis values it reads name it.
            parts = [f"{axis}={value}" for axis, value in cell.axes if axis in self._named_by[kind.stage]]
            shared = "/".join([kind.step, *parts, *([f"s{cell.seed}"] if kind.reads_seed else [])])
            # Two with one name differ by a deviation, and only a cell tells them apart.
            label = label if shared in self._labels else shared
        self._labels.add(label)
        return label + SMOKE_LABEL if smoke else label


def _inputs(stage: Stage, branch: str | None) -> Iterator[tuple[str, str]]:
    """Stage and name of the jobs a job reads."""
    for need in STAGES[stage].inputs:
        yield need, f"{need}/{branch}" if STAGES[need].branch else need


def _axes_read(stage: Stage, axes: Mapping[str, Axis]) -> frozenset[str]:
    """Names of the axes whose control a stage reads, itself or through its inputs."""
    sections = set(STAGES[stage].sections)
    for need in STAGES[stage].inputs:
        sections.update(STAGES[need].sections)
    paths = tuple(f"controls.{section}" for section in sections)
    return frozenset(
        name for name, axis in axes.items() if any(f"{axis.key}.".startswith(f"{path}.") for path in paths)
    )
