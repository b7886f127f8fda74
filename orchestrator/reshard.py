"""`reshard JOB`: a training's newest checkpoint, for other ranks or another ZeRO stage.

The result becomes the checkpoint of a new attempt that never ran, so that the next attempt resumes
from it like from any other. What is converted stays where it is. `workloads.training.reshard`
does the work in a process of its own, because it needs torch.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import OrchestratorError, PlanError
from orchestrator.host.checkpoints import attempt_folder, newest_checkpoint
from orchestrator.host.code import CHECKOUT
from orchestrator.plan.job import Job
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.requests import new_attempt_id
from orchestrator.study import Study


@dataclass(frozen=True, kw_only=True)
class Resharded:
    """What was made."""

    attempt: str
    step: int
    checkpoint: Path
    said: dict[str, Any]
    """What the converter printed."""


def asked_for(study: Study, job: Job) -> tuple[int, int]:
    """Ranks and ZeRO stage that the plan and the cluster file ask for now."""
    zero = study.cluster.deepspeed.get("zero_optimization", {})
    return job.resources.world_size, int(zero.get("stage", 0)) if hasattr(zero, "get") else 0


def reshard(study: Study, job: Job, *, ranks: int, stage: int) -> Resharded:
    """Convert the newest complete checkpoint of a job, book it as a new attempt's, and forgive the job.

    Args:
        study: opened.
        job: a training that is not done.
        ranks: of the attempts that are to go on.
        stage: of ZeRO.

    Raises:
        PlanError: the job is no training, is done, or has no checkpoint; or the converter refuses.
        LeaseError: a driver runs the study.
        OrchestratorError: the converter failed.
    """
    if not job.spec.reshard:
        raise PlanError(f"{job.label} is of stage {job.stage}; its checkpoints hold no shards")
    if job.fingerprint in study.store.commits():
        raise PlanError(f"{job.label} is done; there is nothing that could go on")
    rebuild = rebuilder(study.home, study.store)
    with acquire(study.home) as lease, Ledger.open(study.home / NAME, lease.check, rebuild=rebuild) as ledger:
        source = newest_checkpoint(study.home, job.fingerprint)
        if source is None:
            raise PlanError(f"{job.label} has no complete checkpoint; `run` begins it anew, with any number of ranks")
        attempt = new_attempt_id(len(ledger.attempts(job.fingerprint)) + 1)
        target = attempt_folder(study.home, job.fingerprint, attempt) / "checkpoints"
        try:
            said = _convert(job, source.path, ranks, stage, target)
        except OrchestratorError:
            shutil.rmtree(target.parent, ignore_errors=True)  # of an attempt that nobody knows of
            raise
        now = time.time()
        with ledger.transaction():
            # A job that was refused because of its shards stands as failed: this is the remedy.
            ledger.forgive(job.fingerprint)
            ledger.intend(
                Attempt(
                    id=attempt,
                    fingerprint=job.fingerprint,
                    job=job.id,
                    label=job.label,
                    stage=job.stage,
                    backend="",
                    intended=now,
                    ended=now,
                    ending="interrupted",
                    detail=f"made by `reshard` from {source.attempt}: {ranks} ranks, ZeRO {stage}",
                    begun=source.step,
                    step=source.step,
                )
            )
    return Resharded(attempt=attempt, step=source.step, checkpoint=target / f"step-{source.step}", said=said)


def _convert(job: Job, source: Path, ranks: int, stage: int, target: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", job.spec.reshard, str(source)]
    command += ["--ranks", str(ranks), "--zero-stage", str(stage), "--out", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == 2:
        raise PlanError(f"{job.label}: {words}")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        answer = None
    if done.returncode or not isinstance(answer, dict):
        raise OrchestratorError(
            f"{job.label}: {' '.join(command)} ended with {done.returncode}: {words}; nothing was changed"
        )
    return answer
