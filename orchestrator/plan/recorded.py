"""A plan as JSON, for the ledger: commands that look at a study use it while matrix.yaml cannot be planned.

It has everything but the code of the workload: a plan that is read back has its stages, and can estimate and refuse
nothing. Values that many jobs share are written once.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, make_dataclass
from typing import Any

from orchestrator.plan.job import Job, Plan
from orchestrator.spec.cell import Cell, Deviation, Resources
from orchestrator.spec.typed import build
from workloads.contract.workload import RecordCheck, StageSpec, Workload

SHARED_OF_JOB = ("config", "row", "resources", "revisions")
SHARED_OF_CELL = ("trained", "evaluated", "controls", "branches")
"""Fields whose values are the same objects in many jobs or cells."""


class _Values:
    """Values that are written once, and referred to by number."""

    def __init__(self) -> None:
        self.listed: list[Any] = []
        self._kept: list[Any] = []  # so that no id is used again
        self._numbers: dict[int, int] = {}

    def number(self, value: Any) -> int:
        known = self._numbers.get(id(value))
        if known is None:
            known = self._numbers[id(value)] = len(self.listed)
            self._kept.append(value)
            self.listed.append(asdict(value) if isinstance(value, Resources) else value)
        return known


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    values = _Values()
    workload = plan.workload
    plain = ("study", "workload_name", "profile", "overrides", "controls_fingerprint", "tables")
    return {
        **{name: getattr(plan, name) for name in plain},
        "deviations": [asdict(one) for one in plan.deviations],
        "workload": {
            "name": workload.name,
            "rows_key": workload.rows_key,
            "report": workload.report,
            "branches": [one.name for one in fields(workload.branches)],
            "stages": [asdict(stage) for stage in workload.stages],
        },
        "cells": [_fields_of(cell, SHARED_OF_CELL, values) for cell in plan.cells],
        "jobs": [{**_fields_of(job, SHARED_OF_JOB, values), "spec": job.spec.name} for job in plan.jobs.values()],
        "jobs_of": {cell: dict(jobs) for cell, jobs in plan.jobs_of.items()},
        "values": values.listed,
    }


def plan_of(document: Mapping[str, Any]) -> Plan:
    """The plan of a `plan_document`; keys of a newer or older version that are not known here are left out.

    Raises:
        ValueError: it is not one, or lacks something.
    """
    try:
        return _plan_of(document)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"is no recorded plan: {type(error).__name__}: {error}") from error


def _plan_of(document: Mapping[str, Any]) -> Plan:
    values, declared = document["values"], document["workload"]
    stages = {stage["name"]: _stage_of(stage) for stage in document["workload"]["stages"]}
    jobs: dict[str, Job] = {}
    for one in document["jobs"]:
        known = _known(Job, one, SHARED_OF_JOB, values)
        known |= {
            "spec": stages[one["spec"]],
            "cells": tuple(one["cells"]),
            "resources": build(Resources, known["resources"]),
        }
        jobs[one["id"]] = Job(**known)
    cells = []
    for one in document["cells"]:
        known = _known(Cell, one, SHARED_OF_CELL, values)
        cells.append(Cell(**{**known, "axes": tuple((name, value) for name, value in one["axes"])}))
    return Plan(
        study=document["study"],
        workload_name=document["workload_name"],
        workload=Workload(
            name=declared["name"],
            rows_key=declared["rows_key"],
            report=declared["report"],
            stages=tuple(stages.values()),
            controls=make_dataclass("RecordedControls", []),
            branches=make_dataclass("RecordedBranches", declared["branches"]),
            families=(),
        ),
        profile=document["profile"],
        overrides=tuple(document["overrides"]),
        controls_fingerprint=document["controls_fingerprint"],
        deviations=tuple(build(Deviation, one) for one in document["deviations"]),
        tables={name: tuple(rows) for name, rows in document["tables"].items()},
        cells=tuple(cells),
        jobs=jobs,
        jobs_of=document["jobs_of"],
    )


def _fields_of(one: Job | Cell, shared: tuple[str, ...], values: _Values) -> dict[str, Any]:
    return {name: values.number(value) if name in shared else value for name, value in vars(one).items()}


def _known(cls: type, written: Mapping[str, Any], shared: tuple[str, ...], values: list[Any]) -> dict[str, Any]:
    names = cls.__dataclass_fields__.keys() & written.keys()  # type: ignore[attr-defined]
    return {name: values[written[name]] if name in shared else written[name] for name in names}


def _stage_of(written: Mapping[str, Any]) -> StageSpec:
    checks = [build(RecordCheck, one) for one in written.get("checks", ())]
    files = [tuple(one) for one in written.get("files", ())]
    stage: StageSpec = build(StageSpec, {**written, "checks": checks, "files": files})
    return stage
