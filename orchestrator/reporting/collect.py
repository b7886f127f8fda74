"""Collecting results: reads committed artifacts of a plan as the report's input.

The whole matrix of the profile is covered: a result that does not exist is listed as missing, with the state of its
job.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.plan.job import Plan, Standing
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.spec.cell import Cell
from orchestrator.spec.controls import verdicts
from orchestrator.store.protocol import Store
from reports.input import ControlsCertificate, Cost, Curve, Missing, ReportInput, ResultLine, RowInfo, Strip
from reports.spec import ReportSpec
from workloads.contract.workload import StageSpec, Workload


def report_input(plan: Plan, standings: Mapping[str, Standing], store: Store) -> ReportInput:
    """The report's input.

    Args:
        plan: the whole matrix of the profile.
        standings: by job id; the reason of a missing result.
        store: has the artifacts.

    Raises:
        StoreError: a commit record or its files are damaged.
    """
    reader = ArtifactReader(plan, store)
    values: list[ResultLine] = []
    missing: list[Missing] = []
    costs: list[Cost] = []
    strips: list[Strip] = []
    curves: list[Curve] = []
    records: dict[str, Mapping[str, Any]] = {}
    workload, sections = plan.workload, sections_of(plan.cells)
    notes = workload.notes(plan.cells, sections)
    gits: set[str] = set()
    for cell in plan.cells:
        axes = ";".join(f"{key}={value}" for key, value in cell.axes)
        missing += _missing(cell, axes, plan, standings, reader)
        for job in plan.jobs_of[cell.id].values():
            spec, branch = plan.jobs[job].spec, plan.jobs[job].branch
            commit = reader.commit(job)
            if commit is None or not _is_own(cell, spec):
                continue
            if spec is workload.checked:
                gits.add(commit.git)
                records[cell.id] = commit.result.get("records", {})
            if spec.curve:
                steps, drawn, last = reader.series(job)
                curves.append(Curve(row=cell.row, seed=cell.seed, axes=axes, steps=steps, values=drawn))
                notes += workload.remarks(cell.id, last)
            cost = {key: float(value) for key, value in commit.result.get("cost", {}).items() if value is not None}
            cost.setdefault("device_s", commit.ended - commit.started)
            costs.append(Cost(row=cell.row, seed=cell.seed, axes=axes, stage=spec.name, branch=branch, values=cost))
            for line in reader.cases(job) if branch else ():
                values.append(ResultLine(row=cell.row, seed=cell.seed, axes=axes, branch=branch or "", **line))
            for case, path in reader.images(job) if spec.images else ():
                strips.append(Strip(row=cell.row, seed=cell.seed, axes=axes, branch=branch or "", case=case, path=path))
    return ReportInput(
        study=plan.study,
        profile=plan.profile,
        git=", ".join(sorted(filter(None, gits))),
        seeds=tuple(dict.fromkeys(cell.seed for cell in plan.cells)),
        rows=_rows(plan.cells),
        tables=plan.tables,
        values=values,
        missing=missing,
        costs=costs,
        strips=strips,
        curves=curves,
        controls=ControlsCertificate(
            fingerprint=plan.controls_fingerprint,
            deviations=[dataclasses.asdict(deviation) for deviation in plan.deviations],
            verdicts=verdicts(workload, [cell for cell in plan.cells if not cell.reference], records),
            sections=sections,
        ),
        notes=notes,
        spec=report_spec(workload),
    )


def sections_of(cells: Sequence[Cell]) -> dict[str, Any]:
    """The controls of all cells together, since a cell has only the row controls that its row reads."""
    sections: dict[str, dict[str, Any]] = {}
    for cell in cells:
        for name, section in {**cell.controls, **{f"branch {b}": s for b, s in cell.branches.items()}}.items():
            for key, value in section.items():
                sections.setdefault(name, {}).setdefault(key, value)
    return sections


def _is_own(cell: Cell, spec: StageSpec) -> bool:
    """Whether a job of this stage counts as the cell's: a reference row trains nothing of its own."""
    return spec.tracked and not (cell.reference and spec.row == "trained")


def report_spec(workload: Workload) -> ReportSpec:
    """The workload's report specification, or the generic one."""
    if not workload.report:
        return ReportSpec()
    spec = getattr(import_module(workload.report), "REPORT", None)
    if not isinstance(spec, ReportSpec):
        raise PlanError(
            f"workload {workload.name}: `report` names {workload.report!r}, which has no REPORT = ReportSpec()"
        )
    return spec


def _missing(
    cell: Cell, axes: str, plan: Plan, standings: Mapping[str, Standing], reader: ArtifactReader
) -> Iterable[Missing]:
    """The missing results of a cell: the first stage without branches that is not done, else branches not done."""
    first = next((spec.name for spec in plan.workload.stages if spec.tracked and spec.branches), "")
    for job in plan.jobs_of[cell.id].values():
        spec, branch = plan.jobs[job].spec, plan.jobs[job].branch
        if not _is_own(cell, spec) or reader.commit(job) is not None:
            continue
        standing = standings.get(job)
        state, reason = ("new", "") if standing is None else (standing.state, standing.reason)
        said = reason if branch is None or spec.name == first else f"{spec.name}: {reason}"
        yield Missing(row=cell.row, seed=cell.seed, axes=axes, branch=branch or spec.name, state=state, reason=said)
        if branch is None:
            return


def _rows(cells: Sequence[Cell]) -> list[RowInfo]:
    """Rows in file order, with the row of which each is an alias."""
    row_of = {cell.id: cell.row for cell in cells}
    found: dict[str, RowInfo] = {}
    for cell in cells:
        if cell.row not in found:
            alias = None if cell.alias_of is None else row_of.get(cell.alias_of)
            found[cell.row] = RowInfo(
                name=cell.row,
                family=cell.family,
                alias_of=alias if alias != cell.row else None,
                reference=cell.reference,
            )
    return list(found.values())
