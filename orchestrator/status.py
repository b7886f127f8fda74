"""What `status` shows: plan, ledger and attempt folders, read only. `explain` tells more of one job."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.plan.job import SHORT, Job, Standing
from orchestrator.plan.show import counts
from orchestrator.schedule.attempt_monitor import waiting_reason
from orchestrator.schedule.failures import FailedJob, failed_of, failures_json, failures_text, paused_of
from orchestrator.schedule.host_exclusion import ExcludedHost, describe, excluded_hosts, host_endings
from orchestrator.schedule.launcher import build_request
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.ledger.schema import attempt_json
from orchestrator.study import Study
from workloads.contract.metrics import read_beat
from workloads.contract.request import Stage


def status_json(study: Study) -> dict[str, Any]:
    """`status --json`: the plan's jobs with their attempts, and counts; what failed, is paused, is avoided."""
    standing, attempts = study.look(), study.attempts()
    failures, paused = failed_jobs(study, standing, attempts)
    return {
        "version": 2,
        "study": study.plan.study,
        "profile": study.plan.profile,
        "jobs": [
            {
                "id": job.id,
                "stage": job.stage,
                "label": job.label,
                "fingerprint": job.fingerprint,
                "state": standing[job.id].state,
                "needs": list(job.needs),
                "reason": standing[job.id].reason,
                "attempts": [attempt_json(attempt) for attempt in attempts.get(job.fingerprint, ())],
            }
            for job in study.plan.jobs.values()
        ],
        "counts": counts(standing),
        "failures": failures_json(failures),
        "paused": paused,
        "avoided": [asdict(one) for one in avoided_hosts(study, attempts, time.time())],
    }


def status_text(study: Study) -> str:
    """Counts, every job that is not done and not merely waiting for its turn, then what failed, and avoided hosts."""
    standing, attempts = study.look(), study.attempts()
    lines = [f"{study.plan.study} · {study.plan.profile} · " + _words(counts(standing))]
    for job in study.plan.jobs.values():
        now = standing[job.id]
        if now.state in ("done", "new", "failed"):
            continue
        lines.append(
            f"  {now.state:<9}  {job.label:<40}  {job.fingerprint[:SHORT]}  {_where(study, job, now, attempts)}"
        )
    at = time.time()
    lines += [f"  {describe(one, at)}" for one in avoided_hosts(study, attempts, at)]
    failed = failures_text(*failed_jobs(study, standing, attempts))
    return "\n".join([*lines, "", failed] if failed else lines)


def failed_jobs(
    study: Study, standing: Mapping[str, Standing], attempts: Mapping[str, Sequence[Attempt]]
) -> tuple[Sequence[FailedJob], dict[Stage, str]]:
    """Jobs that stand as failed, with what their newest attempts said, and the stages that are paused by them."""
    with Ledger.read(study.home / NAME) as ledger:
        records = ledger.job_records()
    found: list[tuple[Job, str, Path | None]] = []
    for job in study.plan.jobs.values():
        if standing[job.id].state == "failed":
            mine = attempts.get(job.fingerprint)
            found.append((job, standing[job.id].reason, study.folder_of(mine[-1]) if mine else None))
    known = {job.fingerprint for job in study.plan.jobs.values()}
    return failed_of(found, records), paused_of(records.values(), known, study.cluster.pause_after)


def avoided_hosts(study: Study, attempts: Mapping[str, Sequence[Attempt]], at: float) -> list[ExcludedHost]:
    """Hosts that a driver would avoid now; `at`: seconds since 1970."""
    every = [one for mine in attempts.values() for one in mine]
    return list(excluded_hosts(host_endings(every, at, at), at, study.cluster.avoid_s).values())


def request_by_hand(study: Study, job: Job, work: Path) -> dict[str, Any]:
    """The request of a job with its inputs in place, for `python -m workloads.run`; it writes into `work`.

    Raises:
        ArtifactMissing: an input is not done.
    """
    request = build_request(job, attempt="by-hand", home=study.home, settings=study.cluster, accumulate=1, resume=None)
    jobs = study.plan.jobs
    inputs = {stage: str(study.store.fetch(jobs[need].fingerprint)) for stage, need in job.inputs.items()}
    return {**request, "inputs": inputs, "work": str(work.resolve())}


def _where(study: Study, job: Job, now: Standing, attempts: Mapping[str, Any]) -> str:
    mine = attempts.get(job.fingerprint)
    if mine and now.state == "waiting":
        return waiting_reason(study.folder_of(mine[-1])) or now.reason
    if now.state != "running" or not mine:
        return now.reason
    beat = read_beat(study.folder_of(mine[-1]))
    return now.reason if beat is None else f"{beat['step']}/{beat['of']} {beat['phase']}"


def _words(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in numbers.items())
