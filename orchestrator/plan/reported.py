"""How a study is reported: branches, scores and names, as its workload declares them."""

from collections.abc import Collection
from dataclasses import replace
from importlib import import_module

from orchestrator.errors import PlanError
from reports.spec import ReportSpec
from workloads.contract.workload import Workload


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


def restricted(spec: ReportSpec, branches: Collection[str]) -> ReportSpec:
    """The specification without the other branches."""
    contrast = spec.contrast if spec.contrast and set(spec.contrast) <= set(branches) else None
    return replace(spec, branches=[one for one in spec.branches if one.name in branches], contrast=contrast)
