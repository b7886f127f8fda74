"""Planning the matrix of a crate anew with the code of this installation, and what differs from the recorded plan."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.crate.description import CrateDescription
from orchestrator.crate.findings import AuditCheck, Mismatch
from orchestrator.crate.layout import MATRIX, PLAN
from orchestrator.errors import ControlsError, CrateError, MatrixError, PlanError
from orchestrator.opening import plan_of_matrix
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.reference import fingerprint_of
from orchestrator.spec.load import workload_named
from orchestrator.spec.workload import OURS
from orchestrator.wording import counted, shortened
from workloads.contract.workload import Workload

SHOWN = 3


class NotAllowed(CrateError):
    """The crate names a workload that the user has not allowed."""


def plan_anew(
    folder: Path, description: CrateDescription, allowed: Collection[str], rows: Collection[str] = ()
) -> Plan:
    """The plan of the matrix of a crate, by the code of this installation.

    The matrix is read from a folder of its own, so that nothing else of the crate can be imported.

    Args:
        folder: of the crate.
        description: has profile and overrides.
        allowed: modules of workloads that may be imported, besides those of this software.
        rows: of the recorded plan; it has those that the profile does not have but that were asked for.

    Raises:
        NotAllowed: the matrix names another workload.
        MatrixError: the matrix, profile or an override is not valid here.
        ControlsError: compared cells differ in a control.
    """
    with tempfile.TemporaryDirectory(prefix="echo-matrix-audit-") as alone:
        matrix = Path(alone, MATRIX)
        shutil.copyfile(folder / MATRIX, matrix)
        name = workload_named(matrix)
        if name.partition(".")[0] != OURS and name not in allowed:
            raise NotAllowed(
                f"{MATRIX} names the workload {name!r}, which is no part of this software; nothing of it was imported: "
                f"if you trust your own copy, installed or in the current folder: `audit --workload {name}`"
            )
        return plan_of_matrix(matrix, description.profile, description.overrides, rows)


def check_own_fingerprints(plan: Plan) -> AuditCheck:
    """The fingerprint of every job against what the recorded plan says that the job reads."""
    differences = []
    for job in plan.jobs.values():
        try:
            found = fingerprint_of(job, plan.jobs)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            found = f"none: {error}"
        if found != job.fingerprint:
            differences.append(Mismatch(where=f"{PLAN}: {job.label}", expected=found, found=job.fingerprint))
    says = f"{counted(len(plan.jobs), 'fingerprint')} against what {PLAN} says that the job reads"
    return AuditCheck(name="fingerprints", says=says, differences=differences)


def check_plan(recorded: Plan, anew: Plan | MatrixError | ControlsError | NotAllowed) -> AuditCheck:
    """The recorded plan against that of the matrix by the code of this installation, or why there is none."""
    says = f"{counted(len(recorded.jobs), 'job')} of the matrix, planned anew, against {PLAN}"
    if isinstance(anew, NotAllowed):
        return AuditCheck(name="plan", says=says, unchecked=[str(anew)])
    if isinstance(anew, Exception):
        means = "this version cannot plan it, or it was changed"
        found = Mismatch(where=MATRIX, expected="a matrix that can be planned", found=str(anew), means=means)
        return AuditCheck(name="plan", says=says, differences=[found])
    labelled = {job.label: job for job in anew.jobs.values()}
    differences: list[Mismatch] = []
    raised: Counter[str] = Counter()
    for job in recorded.jobs.values():
        now = labelled.pop(job.label, None)
        if now is None:
            differences.append(Mismatch(where=job.label, expected="no such job", found=job.fingerprint))
        elif now.fingerprint != job.fingerprint:
            for why in _reasons(job, now):
                if why.startswith(REVISION):
                    raised[why.removeprefix(REVISION)] += 1
                elif why:
                    differences.append(
                        Mismatch(where=job.label, expected=now.fingerprint, found=job.fingerprint, means=why)
                    )
    differences += [
        Mismatch(where=job.label, expected=job.fingerprint, found="no such job") for job in labelled.values()
    ]
    if recorded.jobs.keys() == anew.jobs.keys() and recorded.jobs_of != anew.jobs_of:
        differences.append(
            Mismatch(where=PLAN, expected="the cells of the matrix", found="other cells of the same jobs")
        )
    unchecked = [
        f"{counted(jobs, 'job')}: {why}; the code of this installation gives the stage another meaning than the code "
        "that ran, so their fingerprints are others"
        for why, jobs in raised.items()
    ]
    return AuditCheck(name="plan", says=says, differences=differences, unchecked=unchecked)


REVISION = "revision "


def _reasons(recorded: Job, now: Job) -> list[str]:
    """Why two jobs of one label have different fingerprints; empty texts: their inputs have."""
    keys = sorted(recorded.revisions.keys() | now.revisions.keys())
    found = [
        f"{REVISION}{key} is {now.revisions.get(key, 'absent')} here and was {recorded.revisions.get(key, 'absent')}"
        for key in keys
        if recorded.revisions.get(key) != now.revisions.get(key)
    ]
    for name, a, b in (
        ("reads", recorded.config, now.config),
        ("row", recorded.row, now.row),
        ("seed", recorded.seed, now.seed),
        ("branch", recorded.branch, now.branch),
    ):
        if _plain(a) != _plain(b):
            found.append(f"{name}: {_changed(a, b)}")
    return found or [""]


def _changed(recorded: Any, now: Any, at: str = "") -> str:
    """The first keys at which two values differ."""
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        keys = [
            key for key in sorted(recorded.keys() | now.keys()) if _plain(recorded.get(key)) != _plain(now.get(key))
        ]
        parts = [_changed(recorded.get(key), now.get(key), f"{at}.{key}" if at else str(key)) for key in keys]
        return shortened(parts, SHOWN)
    return f"{at} is {now!r} by the matrix and {recorded!r} in {PLAN}".strip()


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def usable_plan(recorded: Plan, anew: Plan) -> Plan:
    """The plan to make the report from: that of the matrix, or the recorded one where fingerprints are others."""
    if recorded.jobs.keys() == anew.jobs.keys():
        return anew
    return _with_workload(recorded, anew.workload)


def _with_workload(plan: Plan, workload: Workload) -> Plan:
    """A recorded plan with the code of its workload.

    Raises:
        PlanError: the workload has not all its stages.
    """
    unknown = {job.stage for job in plan.jobs.values()} - workload.by_name.keys()
    if unknown:
        raise PlanError(f"workload {workload.name} has no stage {', '.join(sorted(unknown))} any more")
    jobs = {job.id: replace(job, spec=workload.by_name[job.stage]) for job in plan.jobs.values()}
    return replace(plan, jobs=jobs, workload=workload)
