"""Planning: turns cells into a graph of jobs, each computation once, dependencies before dependents.

A job that several cells share is created for the first of them in file order, which names it, and lists all of them.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.plan.fingerprint import (
    BASE_DIGITS,
    Digests,
    FingerprintsOfKind,
    config_of,
    identity_of,
    own_of,
    selected,
)
from orchestrator.plan.job import SHORT, Job, Plan, RowReason, part_of
from orchestrator.plan.job_kinds import KindOfJob, ReadConfig, SortedItems, Step, contents_of, own_contents
from orchestrator.spec.canonical import axis_text, digest
from orchestrator.spec.cell import Cell, Resources
from orchestrator.spec.expand import excluded_of
from orchestrator.spec.frozen import frozen
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


class _Builder:
    """Creates jobs as cells need them."""

    def __init__(self, matrix: ResolvedMatrix, cells: Iterable[Cell], smoke: bool) -> None:
        self._workload, self._workload_name = matrix.workload, matrix.workload_name
        self._smoke = smoke
        self._digests = Digests()
        self._kinds: dict[tuple[int, int, int, int], list[KindOfJob]] = {}
        self._configs: dict[tuple[str, int, int], ReadConfig] = {}
        self._distinct: dict[str, list[SortedItems]] = {}
        """Name of a job -> the different items of such jobs."""
        self._items: dict[tuple[object, ...], tuple[dict[str, str], bytes]] = {}
        """What items are measured with, they and those of the inputs -> they with contents, and what a fingerprint
        covers of these."""
        self._selected: dict[tuple[str, int], str] = {}
        """Fingerprint of an input, and which of its items a job reads -> what stands for it in a fingerprint."""
        self._jobs: dict[str, Job] = {}
        self._others: dict[str, list[str]] = {}
        """Job id -> cells after the first."""
        self._ids: dict[str, dict[str, str]] = {}
        """Cell id -> its jobs."""
        self._shared: dict[tuple[str, int, int], KindOfJob] = {}
        """Name, controls and branch's section -> the kind of a stage that does not depend on the row."""
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
        ids: dict[str, str]
        if cell.alias_of is not None and cell.alias_of in self._ids:
            ids = dict(self._ids[cell.alias_of])
            for job_id in ids.values():
                self._others.setdefault(job_id, []).append(cell.id)
        else:
            ids = {}
            for kind in self._kinds_of(cell):
                seed = cell.seed if kind.seeded else None
                if (known := kind.jobs.get(seed)) is None:
                    known = kind.jobs[seed] = self._job(cell, kind, ids)
                else:
                    self._others.setdefault(known, []).append(cell.id)
                ids[kind.name] = known
        self._ids[cell.id] = ids
        return ids

    def _job(self, cell: Cell, kind: KindOfJob, ids: Mapping[str, str]) -> str:
        """Id of a job of a kind; its dependencies are in `ids`."""
        jobs = self._jobs
        fingerprints = kind.fingerprints or self._begin(kind, {stage: ids[need] for stage, need in kind.needs.items()})
        inputs, stands = kind.inputs.copy(), kind.stands.copy()
        for stage, need, first in kind.varying:
            inputs[stage] = ids[need]
            stands.append(jobs[ids[need]].fingerprint[first:])
        for stage in kind.chosen:
            inputs[stage] = ids[kind.needs[stage]]
            stands.append(self._selected_of(kind, stage, jobs[inputs[stage]]))
        seed = cell.seed if kind.spec.seed else None
        fingerprint = fingerprints.of(seed, stands)
        job_id = f"{kind.name}/{fingerprint[:SHORT]}"
        known = jobs.get(job_id)
        if known is None:
            values = kind.shared.copy()
            values["id"] = job_id
            values["label"] = self._label(cell, kind)
            values["fingerprint"] = fingerprint
            values["seed"] = seed
            values["inputs"] = inputs
            values["cells"] = (cell.id,)
            jobs[job_id] = frozen(Job, values)
        elif known.fingerprint == fingerprint:
            self._others.setdefault(job_id, []).append(cell.id)
        else:
            raise PlanError(
                f"{job_id}: two fingerprints share these {SHORT} digits, {fingerprint} of {cell.id} and "
                f"{known.fingerprint} of {known.cells[0]}; change any key of one of them"
            )
        return job_id

    def _begin(self, kind: KindOfJob, inputs: dict[str, str]) -> FingerprintsOfKind:
        """Fill in what a kind knows with its first job; one of rows that are not planned has none.

        Args:
            inputs: of that job. Those of the others have the same items: cells of a kind have equal controls.
        """
        needs = {stage: self._jobs[need] for stage, need in inputs.items()}
        for stage, need in needs.items():
            named = need.items is not None and stage in kind.read.named
            chosen = named and stage in kind.read.reads
            first = -BASE_DIGITS if named else 0
            if stage not in self._workload.seeded:
                kind.stands.append(self._selected_of(kind, stage, need) if chosen else need.fingerprint[first:])
            elif chosen:
                kind.chosen.append(stage)
            else:
                kind.varying.append((stage, kind.needs[stage], first))
        items, own = self._items_of(kind, needs)
        smoke = self._smoke and kind.spec.smoke
        kind.inputs = inputs
        kind.shared = {
            **dict.fromkeys(_FIELDS),
            "spec": kind.spec,
            "branch": kind.branch,
            "config": kind.config,
            "row": kind.row,
            "resources": self._resources[kind.spec.name],
            "smoke": smoke,
            "revisions": kind.revisions,
            "workload": self._workload_name,
            "items": items,
            "measured": kind.read.measured,
            "reads": kind.read.reads,
            "item_reads": kind.read.items or {},
        }
        head = self._digests.head(kind.spec.name, kind.revisions, kind.read.made, kind.row)
        kind.fingerprints = FingerprintsOfKind(head, kind.branch, inputs=bool(inputs), smoke=smoke, own=own)
        return kind.fingerprints

    def _items_of(self, kind: KindOfJob, needs: Mapping[str, Job]) -> tuple[dict[str, str], bytes] | tuple[None, None]:
        """The items of a kind's jobs, and what their fingerprints cover of these."""
        if kind.read.items is None:
            return None, None
        made_of = (kind.read.measured, id(kind.read.items), *(id(need.items) for need in needs.values()))
        if made_of not in self._items:
            contents = own_contents(kind, needs)
            self._items[made_of] = contents, own_of(kind.read.measured, contents)
        return self._items[made_of]

    def _selected_of(self, kind: KindOfJob, stage: str, need: Job) -> str:
        """What stands for an input of which a job reads certain items, in its fingerprint."""
        names = kind.read.reads[stage]
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
            self._jobs[job_id] = frozen(Job, {**vars(job), "cells": (*job.cells, *cells)})
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
        if where in self._shared:
            return self._shared[where]
        read = self._configs.get(where)
        if read is None:
            config = config_of(stage, cell.controls, section)
            if reads == "references":
                config[REFERENCES] = self._references.get(_read(step, cell), {})
            read = self._configs[where] = self._config(step, config, cell.controls, section)
        kind = KindOfJob(step, read, row, self._workload)
        if stage.name in self._workload.shared:
            self._shared[where] = kind
        return kind

    def _config(
        self, step: Step, config: Mapping[str, Any], controls: Mapping[str, Any], section: Mapping[str, Any] | None
    ) -> ReadConfig:
        """The config of a step; a smoke job has no items, since its result counts for none."""
        stage, branch, _ = step
        smoke = self._smoke and stage.smoke
        items = None if smoke else self._same(step, self._workload.items(stage, branch, controls, section))
        read = {} if smoke else self._workload.reads(stage, controls)
        reads = {need: tuple(sorted(names)) for need, names in read.items()}
        if items is not None:
            made, measured = identity_of(stage, config)
            return ReadConfig(given=config, made=made, measured=digest(measured), items=items, reads=reads)
        return ReadConfig(given=config, made=config, reads=reads)

    def _same(self, step: Step, items: Items | None) -> SortedItems | None:
        """The items, sorted; equal ones of a step are one object, so that their contents are computed once."""
        if items is None:
            return None
        found = {item: {need: tuple(sorted(names)) for need, names in reads.items()} for item, reads in items.items()}
        known = self._distinct.setdefault(step[2], [])
        for one in known:
            if one == found:
                return one
        known.append(found)
        return found

    def _label(self, cell: Cell, kind: KindOfJob) -> str:
        label = f"{kind.name}/{cell.id}"
        if kind.spec.name in self._workload.rowless:
            # The job is shared by rows: its label has only the axis values that it reads.
            parts = [f"{axis}={value}" for axis, value in cell.axes if axis in self._named_by[kind.spec.name]]
            shared = "/".join([kind.name, *parts, *([f"s{cell.seed}"] if kind.spec.seed else [])])
            # Two such jobs with one label differ by a deviation; the second is named after its cell.
            label = label if shared in self._labels else shared
            self._labels.add(label)
        return label + SMOKE_LABEL if kind.shared["smoke"] else label


def _references(workload: Workload, cells: Iterable[Cell]) -> dict[tuple[object, ...], dict[str, Mapping[str, Any]]]:
    """What a stage of reference rows reads besides them -> the distinct rows that read it, by part, sorted."""
    found: dict[tuple[object, ...], dict[str, Mapping[str, Any]]] = {}
    steps = [step for step in workload.reference_steps if step[0].row == "references"]
    references = [cell for cell in cells if cell.reference] if steps else []
    # Of cells that differ in their seed one will do.
    for cell in {(id(cell.evaluated), id(cell.controls), id(cell.branches)): cell for cell in references}.values():
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
