"""Planning: turns cells into a graph of jobs, each computation once, dependencies before dependents.

A job that several cells share is created for the first of them in file order, which names it, and lists all of them.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.plan.fingerprint import (
    BASE_DIGITS,
    Fingerprints,
    config_of,
    identity_of,
    joined,
    own_of,
    selected,
)
from orchestrator.plan.job import SHORT, Job, Plan, RowReason, part_of
from orchestrator.plan.job_kinds import KindOfJob, ReadConfig, Step, contents_of, own_contents
from orchestrator.spec.canonical import axis_text, digest
from orchestrator.spec.cell import Cell, Resources
from orchestrator.spec.expand import excluded_of
from orchestrator.spec.patterns import families_of
from orchestrator.spec.schema import Axis, ResolvedMatrix
from workloads.contract.fields import plain, without_choices
from workloads.contract.stage import StageSpec
from workloads.contract.workload import REFERENCES, Items, Workload

SMOKE_LABEL = "/smoke"

_FIELDS = tuple(field.name for field in fields(Job))


def build_plan(
    matrix: ResolvedMatrix,
    cells: Sequence[Cell],
    smoke: bool = False,
    rows: Mapping[str, RowReason] | None = None,
    others: Iterable[Cell] = (),
) -> Plan:
    """The plan of all cells.

    Args:
        matrix: with one profile merged in.
        cells: of `rows`.
        smoke: whether it is the plan of a test run.
        rows: the rows of the plan, and why each is in it; None: all of the matrix.
        others: cells of other rows; they are checked and not planned.

    Raises:
        PlanError: a revision that jobs read is not declared; two jobs whose short fingerprints are equal and whose
            full ones are not.
    """
    builder = _Builder(matrix, cells, smoke)
    with _without_collector():
        jobs_of = {cell.id: builder.jobs_of(cell) for cell in cells}
        builder.check(others)
    families = families_of(matrix.rows)
    branches = without_choices(matrix.workload.branches, plain(matrix.branches))
    controls = {"controls": plain(matrix.controls), "branches": branches}
    return Plan(
        study=matrix.study,
        workload_name=matrix.workload_name,
        workload=matrix.workload,
        profile=matrix.profile,
        overrides=matrix.overrides,
        controls_fingerprint=digest(controls),
        deviations=matrix.deviations,
        tables=matrix.tables,
        cells=tuple(cells),
        jobs=builder.finished(),
        jobs_of=jobs_of,
        excluded=tuple(one for one in excluded_of(matrix) if rows is None or one.row in rows),
        added={} if rows is None else {row: why for row, why in rows.items() if why != "profile"},
        outside={} if rows is None else {row: family for row, family in families.items() if row not in rows},
        defaults={
            name: axis_text(value)
            for name, axis in matrix.axes.items()
            if (value := _at(controls, axis.key.split("."))) is not None
        },
    )


def _at(sections: Any, path: Sequence[str]) -> Any:
    """The value of a control; None: its branch is off."""
    for part in path:
        sections = sections.get(part) if isinstance(sections, Mapping) else None
    return sections


@contextmanager
def _without_collector() -> Iterator[None]:
    """Turn garbage collection off.

    Everything created here is kept, so the collector would scan it again and again and free nothing: it took 44 % of
    the time for 60,000 jobs.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _new_job(values: dict[str, Any]) -> Job:
    """A Job in an eighth of the time: a frozen dataclass sets each field through `object.__setattr__`."""
    job = object.__new__(Job)
    object.__setattr__(job, "__dict__", values)
    return job


class _Builder:
    """Creates jobs as cells need them."""

    def __init__(self, matrix: ResolvedMatrix, cells: Iterable[Cell], smoke: bool) -> None:
        self._workload, self._workload_name = matrix.workload, matrix.workload_name
        self._smoke = smoke
        self._fingerprints = Fingerprints()
        self._kinds: dict[tuple[int, int, int, int], list[KindOfJob]] = {}
        self._configs: dict[tuple[str, int, int], ReadConfig] = {}
        self._items: dict[int, tuple[dict[str, str], bytes]] = {}
        """What jobs read -> their items with contents, and what a fingerprint covers of these."""
        self._selected: dict[tuple[str, int], str] = {}
        """Fingerprint of an input, and which of its items a job reads -> what stands for it in a fingerprint."""
        self._jobs: dict[str, Job] = {}
        self._others: dict[str, list[str]] = {}
        """Job id -> cells after the first."""
        self._ids: dict[str, dict[str, str]] = {}
        """Cell id -> its jobs."""
        self._shared: dict[tuple[int, int], dict[str, str]] = {}
        """Controls of a cell, seed -> the jobs of stages that do not depend on the row."""
        self._labels: set[str] = set()
        self._references = _references(matrix.workload, cells)
        self._resources: Mapping[str, Resources] = {
            stage: getattr(matrix.resources, stage) for stage in matrix.workload.by_name
        }
        self._named_by = {
            stage.name: _axes_read(matrix.workload, stage, matrix.axes) for stage in matrix.workload.stages
        }

    def jobs_of(self, cell: Cell) -> dict[str, str]:
        """Name -> id of the jobs of one cell; creates those that no earlier cell needs."""
        if cell.alias_of is not None and cell.alias_of in self._ids:
            ids = dict(self._ids[cell.alias_of])
            remaining: list[KindOfJob] = []
        else:
            # A reference cell may need only some of the shared jobs, so it looks for each of its own.
            shared = {} if cell.reference else self._shared.get((id(cell.controls), cell.seed), {})
            ids = dict(shared)
            remaining = [kind for kind in self._kinds_of(cell) if kind.name not in shared]
        for job_id in ids.values():
            self._others.setdefault(job_id, []).append(cell.id)
        for kind in remaining:
            ids[kind.name] = self._job(cell, kind, ids)
        if not cell.reference and len(ids) == len(remaining):
            # Those with branches are looked up: a cell may lack one.
            self._shared[id(cell.controls), cell.seed] = {
                name: ids[name] for name in self._workload.shared if name in ids
            }
        self._ids[cell.id] = ids
        return ids

    def _job(self, cell: Cell, kind: KindOfJob, ids: Mapping[str, str]) -> str:
        """Id of one job of a cell; its dependencies are in `ids`."""
        jobs = self._jobs
        inputs = {stage: ids[need] for stage, need in kind.needs}
        read = [jobs[need] for need in inputs.values()]
        if kind.start is None:
            self._begin(kind, read)
        seed, smoke = cell.seed if kind.spec.seed else None, kind.shared["smoke"]
        stands = [need.fingerprint for need in read]
        for nth in kind.by_base:
            stands[nth] = stands[nth][-BASE_DIGITS:]
        for nth, names in kind.chosen:
            stands[nth] = self._selected_of(kind, read[nth], names)
        fingerprint = self._fingerprints.finish(kind.start, seed, kind.branch, stands, smoke)
        if kind.own is not None:
            fingerprint = joined(fingerprint, kind.own)
        job_id = f"{kind.name}/{fingerprint[:SHORT]}"
        known = jobs.get(job_id)
        if known is None:
            jobs[job_id] = _new_job(
                {
                    **kind.shared,
                    "id": job_id,
                    "label": self._label(cell, kind, smoke),
                    "fingerprint": fingerprint,
                    "seed": seed,
                    "inputs": inputs,
                    "cells": (cell.id,),
                }
            )
        elif known.fingerprint == fingerprint:
            self._others.setdefault(job_id, []).append(cell.id)
        else:
            raise PlanError(
                f"{job_id}: two fingerprints share these {SHORT} digits, {fingerprint} of {cell.id} and "
                f"{known.fingerprint} of {known.cells[0]}; change any key of one of them"
            )
        return job_id

    def _begin(self, kind: KindOfJob, needs: Sequence[Job]) -> None:
        """What its first job needs of a kind; one of rows that are not planned has none.

        Args:
            needs: the inputs of that job. Those of the others have the same items: cells of a kind have equal controls.
        """
        for nth, ((stage, _), need) in enumerate(zip(kind.needs, needs, strict=True)):
            if need.items is not None and stage in kind.read.reads:
                kind.chosen.append((nth, kind.read.reads[stage]))
            elif need.items is not None and stage in kind.read.named:
                kind.by_base.append(nth)
        items = None
        if kind.read.items is not None:
            known = self._items.get(id(kind.read))
            if known is None:
                contents = own_contents(kind, {stage: need for (stage, _), need in zip(kind.needs, needs, strict=True)})
                known = self._items[id(kind.read)] = contents, own_of(kind.read.measured, contents)
            items, kind.own = known
        kind.start = self._fingerprints.start(kind.spec.name, kind.revisions, kind.read.made, kind.row)
        kind.shared = {
            **dict.fromkeys(_FIELDS),
            "spec": kind.spec,
            "branch": kind.branch,
            "config": kind.config,
            "row": kind.row,
            "resources": self._resources[kind.spec.name],
            "smoke": self._smoke and kind.spec.smoke,
            "revisions": kind.revisions,
            "workload": self._workload_name,
            "items": items,
            "measured": kind.read.measured,
            "reads": kind.read.reads,
            "item_reads": kind.read.items or {},
        }

    def _selected_of(self, kind: KindOfJob, need: Job, names: tuple[str, ...]) -> str:
        """What stands for an input of which a job reads these items, in its fingerprint."""
        known = self._selected.get((need.fingerprint, id(names)))
        if known is None:
            known = selected(need.base, contents_of(need, names, kind.name))
            self._selected[need.fingerprint, id(names)] = known
        return known

    def check(self, cells: Iterable[Cell]) -> None:
        """Refuse cells that could not be planned.

        Raises:
            PlanError: a revision that their jobs would read is not declared.
        """
        for cell in cells:
            self._kinds_of(cell)

    def finished(self) -> dict[str, Job]:
        """All jobs by id, dependencies first."""
        for job_id, cells in self._others.items():
            job = self._jobs[job_id]
            self._jobs[job_id] = replace(job, cells=(*job.cells, *cells))
        return self._jobs

    def _kinds_of(self, cell: Cell) -> list[KindOfJob]:
        # Equal sections and rows are the same objects in all cells (`expand`), so there are few kinds.
        key = (id(cell.controls), id(cell.branches), id(cell.trained), id(cell.evaluated))
        kinds = self._kinds.get(key)
        if kinds is None:
            every = self._workload.reference_steps if cell.reference else self._workload.steps
            steps = [step for step in every if step[1] is None or step[1] in cell.branches]
            kinds = self._kinds[key] = [self._kind(cell, step) for step in steps]
        return kinds

    def _kind(self, cell: Cell, step: Step) -> KindOfJob:
        stage, branch, name = step
        reads = stage.row
        row = {"trained": cell.trained, "evaluated": cell.evaluated}.get(reads)
        section = cell.branches[branch] if branch is not None else None
        where = (name, id(cell.controls), id(section))
        read = self._configs.get(where)
        if read is None:
            config = config_of(stage, cell.controls, section)
            if reads == "references":
                config[REFERENCES] = self._references.get(_read(step, cell), {})
            read = self._configs[where] = self._config(step, config, cell.controls, section)
        return KindOfJob(step, read, row, self._workload)

    def _config(
        self, step: Step, config: Mapping[str, Any], controls: Mapping[str, Any], section: Mapping[str, Any] | None
    ) -> ReadConfig:
        """The config of a step; a smoke job has no items, since its result counts for none."""
        stage, branch, _ = step
        smoke = self._smoke and stage.smoke
        items = None if smoke else _sorted(self._workload.items(stage, branch, controls, section))
        read = {} if smoke else self._workload.reads(stage, controls)
        reads = {need: tuple(sorted(names)) for need, names in read.items()}
        if items is not None:
            made, measured = identity_of(stage, config)
            return ReadConfig(given=config, made=made, measured=digest(measured), items=items, reads=reads)
        return ReadConfig(given=config, made=config, reads=reads)

    def _label(self, cell: Cell, kind: KindOfJob, smoke: bool) -> str:
        label = f"{kind.name}/{cell.id}"
        if kind.spec.name in self._workload.rowless:
            # The job is shared by rows: its label has only the axis values that it reads.
            parts = [f"{axis}={value}" for axis, value in cell.axes if axis in self._named_by[kind.spec.name]]
            shared = "/".join([kind.name, *parts, *([f"s{cell.seed}"] if kind.spec.seed else [])])
            # Two such jobs with one label differ by a deviation; the second is named after its cell.
            label = label if shared in self._labels else shared
        self._labels.add(label)
        return label + SMOKE_LABEL if smoke else label


def _sorted(items: Items | None) -> Mapping[str, Mapping[str, tuple[str, ...]]] | None:
    if items is None:
        return None
    return {item: {need: tuple(sorted(names)) for need, names in reads.items()} for item, reads in items.items()}


def _references(workload: Workload, cells: Iterable[Cell]) -> dict[tuple[object, ...], dict[str, Mapping[str, Any]]]:
    """What a stage of reference rows reads besides them -> the distinct rows that read it, by part, sorted."""
    found: dict[tuple[object, ...], dict[str, Mapping[str, Any]]] = {}
    steps = [step for step in workload.reference_steps if step[0].row == "references"]
    for cell in cells if steps else ():
        if cell.reference:
            part = part_of(cell.evaluated)
            for step in steps:
                if step[1] is None or step[1] in cell.branches:
                    found.setdefault(_read(step, cell), {})[part] = cell.evaluated
    return {read: dict(sorted(rows.items())) for read, rows in found.items()}


def _read(step: Step, cell: Cell) -> tuple[object, ...]:
    """Which sections a job reads: equal ones are the same objects in all cells."""
    stage, branch, name = step
    sections = (id(cell.controls[path.partition(".")[0]]) for path in stage.sections)
    return (name, *sections, id(cell.branches[branch]) if branch is not None else None)


def _axes_read(workload: Workload, stage: StageSpec, axes: Mapping[str, Axis]) -> frozenset[str]:
    """Names of the axes whose control a stage reads, itself or through its inputs."""
    sections = set(stage.sections)
    for need in stage.inputs:
        sections.update(workload.by_name[need].sections)
    paths = tuple(f"controls.{section}" for section in sections)
    return frozenset(
        name for name, axis in axes.items() if any(f"{axis.key}.".startswith(f"{path}.") for path in paths)
    )
