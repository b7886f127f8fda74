"""Running jobs of a crate again, in a folder of its own, with the code and the cluster file of this machine."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.commands.run.run_study import run_study
from orchestrator.crate.audit import Audit
from orchestrator.crate.crate_store import CrateStore
from orchestrator.crate.findings import AuditCheck, Mismatch
from orchestrator.crate.layout import MATRIX
from orchestrator.crate.rerun_choice import RerunChoice, choose_jobs
from orchestrator.crate.rerun_comparison import JobComparison, JobResult, compare_results
from orchestrator.errors import Interrupted, PlanError, StoreError
from orchestrator.opening import HOME_VARIABLE, open_study
from orchestrator.plan.job import SHORT, Job
from orchestrator.schedule.events import View
from orchestrator.spec.cluster import TrackingSettings
from orchestrator.study import Study
from orchestrator.wording import counted, shortened
from workloads.contract.metrics import CASES, METRICS

NAME = "run again"
SHOWN = 3


def default_folder(audit: Audit) -> Path:
    """Where jobs of this crate are run again, so that the same command continues."""
    return Path(os.environ.get(HOME_VARIABLE) or "outputs") / _name_of(audit)


def _name_of(audit: Audit) -> str:
    return f"audit-{audit.digest[:SHORT]}"


def rerun_study(audit: Audit, crate: Path, work: Path, cluster: Path | None, settings: Sequence[str]) -> Study:
    """The study of a crate, planned to run in the folder `work`; of the crate, only the matrix is used.

    The store is a folder of its own, in a bucket too: results of the user's own study are not to count here. It has no
    tracker and no `on_event`, since no team's server is to show these runs.

    Raises:
        PlanError: there is no plan to run, or the backend only pretends.
        MatrixError: the cluster file is not valid.
    """
    if audit.anew is None:
        raise PlanError(
            "--rerun: the matrix of the crate cannot be planned here: see `plan` in the audit without --rerun"
        )
    work.mkdir(parents=True, exist_ok=True)
    matrix = work / MATRIX
    shutil.copyfile(crate / MATRIX, matrix)
    given = audit.description
    study = open_study(
        matrix,
        profile=given.profile,
        overrides=given.overrides,
        cluster=cluster,
        settings=settings,
        rows={cell.row for cell in audit.anew.cells},
        look=False,
    )
    if not study.publishes_results:
        raise PlanError(
            f"--rerun: the results of backend {study.cluster.backend} have no meaning; choose another cluster"
        )
    store = study.cluster.store
    if store.url is not None:
        store = replace(store, url=f"{store.url.rstrip('/')}/{_name_of(audit)}")
    own = replace(study.cluster, store=store, tracking=TrackingSettings(kind="none"), on_event=None)
    return replace(study, home=(work / "outputs" / study.plan.study).resolve(), cluster=own)


def choice_of(study: Study, audit: Audit, names: Sequence[str]) -> RerunChoice:
    """The jobs to run again.

    Raises:
        PlanError: see `choose_jobs`.
    """
    return choose_jobs(study.plan, audit.commits, study.cluster.paths, names)


def run_again(study: Study, audit: Audit, crate: Path, choice: RerunChoice, view: View) -> AuditCheck:
    """Run the chosen jobs and compare their results with those of the crate.

    Raises:
        Interrupted: the run was stopped; the same command continues.
        OrchestratorError: see `run_study`.
    """
    ids = [job.id for job in choice.jobs]
    if not ids:
        return AuditCheck(name=NAME, says="0 jobs", unchecked=_refusals(choice) or ["no job has a result to compare"])
    study.check_feasible(study.plan.workload.estimate(study.plan, ids, study.cluster), ids)
    outcome = run_study(study, ids, view, {}).outcome
    if outcome.interrupted:
        raise Interrupted
    done = study.store.commits()
    compared = [
        _compared(job, study, audit, crate)
        for job in choice.jobs
        if job.fingerprint in done and job.id in audit.commits
    ]
    unchecked = [f"{failed.label} failed when it was run again: {failed.reason}" for failed in outcome.failures]
    unchecked += [line for one in compared for line in one.unchecked]
    if compared and not any(one.compared for one in compared):
        unchecked.append(
            "all bits differ on this other machine, and none of these jobs has values to compare: name one that has "
            "with --job, such as an evaluation"
        )
    left = [job.label for job in choice.jobs if job.fingerprint not in done]
    if left and not outcome.failures:
        unchecked.append(f"{counted(len(left), 'job')} not done: {shortened(left, SHOWN)} {outcome.note}".rstrip())
    equal = sum(one.equal for one in compared)
    return AuditCheck(
        name=NAME,
        says=f"{counted(len(compared), 'job')} run again, {equal} with equal bits",
        differences=[difference for one in compared for difference in one.differences],
        unchecked=unchecked,
        notes=[*(f"{one.label}: {one.says}" for one in compared), *_refusals(choice), f"results: {study.home}"],
    )


def _compared(job: Job, study: Study, audit: Audit, crate: Path) -> JobComparison:
    store, theirs = study.store, CrateStore(crate)
    try:
        recorded = JobResult(
            commit=audit.commits[job.id],
            manifest=theirs.manifest(job.fingerprint),
            folder=theirs.fetch(job.fingerprint),
        )
        anew = JobResult(
            commit=store.read(job.fingerprint),
            manifest=store.manifest(job.fingerprint),
            folder=store.fetch_files(
                job.fingerprint, [METRICS, *(f"{part}/{CASES}".lstrip("/") for part in job.parts)]
            ),
        )
        return compare_results(job, recorded, anew)
    except StoreError as error:
        found = Mismatch(where=job.label, expected="a result that can be compared", found=str(error))
        return JobComparison(label=job.label, equal=False, says="cannot be compared", differences=[found])


def _refusals(choice: RerunChoice) -> list[str]:
    """Why some jobs cannot be run again here."""
    whys: dict[str, list[str]] = {}
    for label, why in choice.refused.items():
        whys.setdefault(why, []).append(label)
    return [f"cannot be run again here: {shortened(labels, SHOWN)}: {why}" for why, labels in whys.items()]
