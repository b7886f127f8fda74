"""The check of the controls: what the done jobs of a plan recorded, compared over all its cells."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from orchestrator.plan.job import Job
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.spec.cell import Cell
from orchestrator.spec.verdicts import declared_differences, verdicts
from reports.input import ControlsCertificate
from workloads.contract.workload import StageSpec


def certificate(reader: ArtifactReader) -> ControlsCertificate:
    """The controls with their deviations and verdicts.

    It is of all compared cells of the plan, also where only some are reported: which cell differs from the rest does
    not depend on who asks.

    Raises:
        StoreError: a commit record is damaged.
    """
    plan = reader.plan
    recorded: dict[str, dict[str, Mapping[str, Any]]] = {}
    records: dict[str, Mapping[str, Any] | None] = {}
    compared, rows = [cell for cell in plan.cells if not cell.reference], {cell.row for cell in plan.cells}
    for cell in compared:
        for step, job in plan.jobs_of[cell.id].items():
            if job not in records:
                records[job] = _records(reader, plan.jobs[job]) if is_own(cell, plan.jobs[job].spec) else None
            found = records[job]
            if found is not None:
                recorded.setdefault(step, {})[cell.id] = found
    return ControlsCertificate(
        fingerprint=plan.controls_fingerprint,
        deviations=[
            *(dataclasses.asdict(one) for one in plan.deviations if rows.intersection(one.rows)),
            *declared_differences(plan.workload, compared, plan.deviations),
        ],
        verdicts=verdicts(plan.workload, compared, recorded),
    )


def is_own(cell: Cell, spec: StageSpec) -> bool:
    """Whether a job of this stage counts as the cell's: a reference row trains nothing of its own."""
    return spec.tracked and not (cell.reference and spec.row == "trained")


def _records(reader: ArtifactReader, job: Job) -> Mapping[str, Any] | None:
    commit = reader.commit(job.id)
    if commit is None:
        return None
    return {**commit.result.get("records", {}), "code": commit.code, "inputs": commit.inputs}
