"""The check of the controls: what the done jobs of a plan recorded, compared over all its cells."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from orchestrator.plan.job import Job
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.spec.canonical import digest
from orchestrator.spec.cell import Cell
from orchestrator.spec.verdicts import ITEMS, PLANNED_ITEMS, declared_differences, verdicts
from orchestrator.store.lineage import is_input, items_as_read, reads_by_item
from reports.input import ControlsCertificate
from workloads.contract.stage import StageSpec


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
    reads = _Reads(reader)
    compared, rows = [cell for cell in plan.cells if not cell.reference], {cell.row for cell in plan.cells}
    for cell in compared:
        for step, job in plan.jobs_of[cell.id].items():
            if job not in records:
                records[job] = _records(reader, reads, plan.jobs[job]) if is_own(cell, plan.jobs[job].spec) else None
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


class _Reads:
    """What jobs have read; equal reads are one object."""

    def __init__(self, reader: ArtifactReader) -> None:
        self._reader = reader
        self._known: dict[tuple[str, ...], Mapping[str, Any]] = {}

    def of(self, job: Job, inputs: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, Any]]:
        """Stage -> fingerprint and manifest as recorded, the fingerprint in the plan, and where items were made."""
        return {stage: self._of(job, stage, read) for stage, read in inputs.items()}

    def _of(self, job: Job, stage: str, read: Mapping[str, str]) -> Mapping[str, Any]:
        if stage not in job.inputs:
            return read
        need = self._reader.plan.jobs[job.inputs[stage]]
        fingerprint = read.get("fingerprint", "")
        if not is_input(job, stage, need, fingerprint):
            return {**read, "planned": need.fingerprint}
        if not reads_by_item(job, stage, need):
            return read
        names = job.items_read(stage)
        key = (need.id, fingerprint, read.get("manifest", ""), *names)
        if key not in self._known:
            made = items_as_read(job, stage, read, self._reader.source(read))
            self._known[key] = {**read, "fingerprint": need.fingerprint, "items": made}
        return self._known[key]


def _records(reader: ArtifactReader, reads: _Reads, job: Job) -> Mapping[str, Any] | None:
    commit = reader.commit(job.id)
    if commit is None:
        return None
    records = {**commit.result.get("records", {}), "code": commit.code, "inputs": reads.of(job, commit.inputs)}
    if job.items is None or job.spec.continued:  # the step up to which it is as longer ones is no case
        return records
    return {**records, ITEMS: digest(dict(commit.items)), PLANNED_ITEMS: digest(dict(job.items))}
