"""A plan as JSON, for the ledger: commands that look at a study use it while matrix.yaml cannot be planned.

It has everything but the code of the workload: a plan that is read back has its stages, and can estimate and refuse
nothing. Values that many jobs share are written once.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, make_dataclass
from typing import Any

from orchestrator.plan.job import Job, Plan
from orchestrator.spec.cell import Cell, Resources
from orchestrator.spec.typed import build
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Workload

SHARED_OF_JOB = ("config", "row", "resources", "revisions", "items", "reads", "item_reads")
SHARED_OF_CELL = ("trained", "evaluated", "controls", "branches")
"""Fields whose values are the same objects in many jobs or cells."""
OF_ITEMS = ("reads", "item_reads")
"""Fields with tuples inside, which JSON has as lists."""
WRITTEN_APART = ("workload", "cells", "jobs", "jobs_of", "values")


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
            self.listed.append(_plain(value) if isinstance(value, Resources) else value)
        return known


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    values, workload = _Values(), plan.workload
    return {
        **{name: _plain(value) for name, value in vars(plan).items() if name not in WRITTEN_APART},
        "workload": {
            "name": workload.name,
            "rows_key": workload.rows_key,
            "report": workload.report,
            "branches": [one.name for one in fields(workload.branches)],
            "stages": [_plain(stage) for stage in workload.stages],
        },
        "cells": [_fields_of(cell, SHARED_OF_CELL, values) for cell in plan.cells],
        "jobs": [{**_fields_of(job, SHARED_OF_JOB, values), "spec": job.spec.name} for job in plan.jobs.values()],
        "jobs_of": {cell: dict(jobs) for cell, jobs in plan.jobs_of.items()},
        "values": values.listed,
    }


def plan_of(document: Mapping[str, Any]) -> Plan:
    """The plan of a `plan_document`; keys of another version that are not known here are left out.

    Raises:
        ValueError: it is not one, or lacks something.
    """
    try:
        return _plan_of(document)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"is no recorded plan: {type(error).__name__}: {error}") from error


def _plan_of(document: Mapping[str, Any]) -> Plan:
    of_items = {one[name] for one in document["jobs"] for name in OF_ITEMS if name in one}
    values = [_tuples(value) if at in of_items else value for at, value in enumerate(document["values"])]
    declared = document["workload"]
    stages = {stage["name"]: build(StageSpec, stage) for stage in declared["stages"]}
    jobs: dict[str, Job] = {}
    for one in document["jobs"]:
        known = _known(Job, one, SHARED_OF_JOB, values)
        resources, spec = build(Resources, known["resources"]), stages[one["spec"]]
        jobs[one["id"]] = Job(**{**known, "resources": resources, "spec": spec, "cells": tuple(one["cells"])})
    cells: list[Cell] = []
    for one in document["cells"]:
        axes = tuple((name, value) for name, value in one["axes"])
        cells.append(Cell(**{**_known(Cell, one, SHARED_OF_CELL, values), "axes": axes}))
    workload = Workload(
        name=declared["name"],
        rows_key=declared["rows_key"],
        report=declared["report"],
        stages=tuple(stages.values()),
        controls=make_dataclass("RecordedControls", []),
        branches=make_dataclass("RecordedBranches", declared["branches"]),
        families=(),
    )
    rest = {name: value for name, value in document.items() if name not in WRITTEN_APART}
    plan: Plan = build(Plan, rest, workload=workload, cells=tuple(cells), jobs=jobs, jobs_of=document["jobs_of"])
    return plan


def _fields_of(one: Job | Cell, shared: tuple[str, ...], values: _Values) -> dict[str, Any]:
    return {name: values.number(value) if name in shared else value for name, value in vars(one).items()}


def _known(
    cls: type[Job] | type[Cell], written: Mapping[str, Any], shared: tuple[str, ...], values: list[Any]
) -> dict[str, Any]:
    names = [one.name for one in fields(cls) if one.name in written]
    return {name: values[written[name]] if name in shared else written[name] for name in names}


def _tuples(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    if isinstance(value, Mapping):
        return {name: _tuples(one) for name, one in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, at every depth."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, Mapping) else value
