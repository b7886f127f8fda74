"""What `status` and `explain` show: plan, ledger and attempt folders, read only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.plan.job import SHORT, Job, Standing
from orchestrator.plan.show import counts
from orchestrator.schedule.ledger import Attempt
from orchestrator.schedule.requests import build_request
from orchestrator.study import Study
from workloads.contract.growing import read_beat


def status_json(study: Study) -> dict[str, Any]:
    """`status --json`: the plan's jobs with their attempts, and counts."""
    standing, attempts = study.look(), study.attempts()
    return {
        "version": 1,
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
                "attempts": [_attempt_json(attempt) for attempt in attempts.get(job.fingerprint, ())],
            }
            for job in study.plan.jobs.values()
        ],
        "counts": counts(standing),
    }


def status_text(study: Study) -> str:
    """Counts, then every job that is not done and not merely waiting for its turn."""
    standing, attempts = study.look(), study.attempts()
    lines = [f"{study.plan.study} · {study.plan.profile} · " + _words(counts(standing))]
    for job in study.plan.jobs.values():
        now = standing[job.id]
        if now.state in ("done", "new"):
            continue
        lines.append(
            f"  {now.state:<9}  {job.label:<40}  {job.fingerprint[:SHORT]}  {_where(study, job, now, attempts)}"
        )
    return "\n".join(lines)


def explain_text(study: Study, job: Job) -> str:
    """Why a job stands where it stands: its reason, what it needs, its attempts and where they lie."""
    standing = study.look()
    lines = [f"{job.label} ({job.id})", f"  {standing[job.id].state}: {standing[job.id].reason}"]
    lines += [f"  needs {study.plan.jobs[need].label}: {standing[need].state}" for need in job.needs]
    lines += [
        f"  attempt {attempt.id}: {attempt.ending or 'open'} {attempt.detail} {study.folder_of(attempt)}"
        for attempt in study.attempts().get(job.fingerprint, ())
    ]
    return "\n".join(lines)


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
    if now.state != "running" or not mine:
        return now.reason
    beat = read_beat(study.folder_of(mine[-1]))
    return now.reason if beat is None else f"{beat['step']}/{beat['of']} {beat['phase']}"


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "backend": attempt.backend,
        "ticket": attempt.ticket,
        "started": attempt.started,
        "ended": attempt.ended,
        "ending": attempt.ending,
    }


def _words(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in numbers.items())
