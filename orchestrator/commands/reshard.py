"""`reshard`: convert a job's newest checkpoint to another number of ranks or another ZeRO stage.

The result is recorded as the checkpoint of a new attempt, so that the next attempt resumes from it. The original is
kept. The conversion runs in a process of its own, because it needs torch.
"""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.active_run import refuse_second_run
from orchestrator.commands.command import Command, Group
from orchestrator.commands.libraries import libraries_of_stages
from orchestrator.commands.options import JobArgument, JsonOption, LastRunOptions
from orchestrator.errors import OrchestratorError, PlanError
from orchestrator.host.checkpoints import attempt_folder, newest_checkpoint
from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.environment import passed
from orchestrator.host.stored_checkpoints import bring_checkpoints
from orchestrator.plan.job import Job
from orchestrator.plan.select import find_job
from orchestrator.requirements import require_libraries
from orchestrator.schedule.launcher import new_attempt_id
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.shared_lease import acquire_study
from orchestrator.store.protocol import StoredCheckpoint
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from orchestrator.wording import counted


def reshard(
    job: JobArgument,
    *,
    ranks: Annotated[
        int | None, typer.Option("--ranks", min=1, metavar="N", help="Number of ranks. Default: as planned.")
    ] = None,
    zero_stage: Annotated[
        int | None,
        typer.Option("--zero-stage", min=0, max=2, metavar="N", help="ZeRO stage. Default: that of the cluster file."),
    ] = None,
    options: LastRunOptions,
    as_json: JsonOption = False,
) -> None:
    """Convert a job's newest checkpoint to other ranks or ZeRO stage.

    The next run resumes from it. Its results then equal those of an undisturbed run up to rounding, not bit by bit;
    the conversion is recorded with the job.
    """
    study = options.reopen()
    found = find_job(study.plan, job)
    planned = planned_shards(study, found)
    refuse_second_run(study.home)
    wanted = (ranks if ranks is not None else planned[0], zero_stage if zero_stage is not None else planned[1])
    made = convert_checkpoint(study, found, ranks=wanted[0], stage=wanted[1])
    if as_json:
        print_json({"version": 1, "attempt": made.attempt, "step": made.step, "checkpoint": str(made.checkpoint)})
        return
    print(f"{found.label}: step {made.step} for {counted(wanted[0], 'rank')} at ZeRO {wanted[1]}: {made.checkpoint}")
    if wanted != planned:
        print(
            f"the plan still has {counted(planned[0], 'rank')} at ZeRO {planned[1]}: change "
            f"resources.{found.stage}.devices in the matrix, or deepspeed in the cluster file"
        )
    print("`echo-matrix run` resumes from it")


COMMAND = Command(
    function=reshard,
    group=Group.MAINTENANCE,
    position=2,
    examples=[("echo-matrix reshard STAGE/ROW/s0 --ranks 1 --zero-stage 2", "")],
)


@dataclass(frozen=True, kw_only=True)
class Resharded:
    """A converted checkpoint."""

    attempt: str
    step: int
    checkpoint: Path


def planned_shards(study: Study, job: Job) -> tuple[int, int]:
    """Ranks in the plan, and ZeRO stage in the cluster file."""
    zero = study.cluster.deepspeed.get("zero_optimization", {})
    return job.resources.world_size, int(zero.get("stage", 0)) if hasattr(zero, "get") else 0


def convert_checkpoint(study: Study, job: Job, *, ranks: int, stage: int) -> Resharded:
    """Convert the newest complete checkpoint of a job, record it as that of a new attempt, and reset the job's retries.

    Args:
        study: as planned.
        job: not done.
        ranks: of the attempts that will resume.
        stage: the ZeRO stage of these attempts.

    Raises:
        PlanError: the job's stage has no shards, the job is done, has no checkpoint, or the converter refuses.
        RequirementError: a library that the converter imports is not installed here.
        LeaseError: a run is in progress.
        OrchestratorError: the converter failed.
    """
    if not job.spec.reshard:
        raise PlanError(f"{job.label}: checkpoints of stage {job.stage} have no shards to convert")
    if job.fingerprint in study.store.commits():
        raise PlanError(f"{job.label} is done; nothing is left to resume")
    require_libraries(libraries_of_stages(study, [job.spec]), "`reshard`")
    rebuild = rebuilder(study.home, study.store)
    with (
        acquire_study(study.home, study.store.objects) as lease,
        Ledger.open(study.home / NAME, lease.check, rebuild=rebuild) as ledger,
    ):
        stored, whole = study.store.checkpoints, job.spec.whole_checkpoints
        if stored is None:
            source = newest_checkpoint(study.home, job.fingerprint)
        else:
            source = bring_checkpoints(stored, study.home, job.fingerprint, whole=whole)
        if source is None:
            raise PlanError(
                f"{job.label} has no complete checkpoint; `echo-matrix run` starts it from the beginning, "
                "with any number of ranks"
            )
        attempt = new_attempt_id(len(ledger.attempts(job.fingerprint)) + 1)
        target = attempt_folder(study.home, job.fingerprint, attempt) / "checkpoints"
        try:
            convert(job, source.path, ranks, stage, target, beside=study.matrix.resolve().parent)
        except OrchestratorError:
            shutil.rmtree(target.parent, ignore_errors=True)  # of an attempt that was not recorded
            raise
        made = target / f"step-{source.step}"
        if stored is not None:
            one = StoredCheckpoint(fingerprint=job.fingerprint, attempt=attempt, step=source.step)
            stored.upload(one, made)
        now = time.time()
        with ledger.transaction():
            # The job may have failed because of its shards.
            ledger.reset_job(job.fingerprint)
            ledger.record_intent(
                Attempt(
                    id=attempt,
                    fingerprint=job.fingerprint,
                    job=job.id,
                    label=job.label,
                    stage=job.stage,
                    host="",
                    intended=now,
                    ended=now,
                    ending="interrupted",
                    detail=f"made by `reshard` from {source.attempt}: {counted(ranks, 'rank')}, ZeRO {stage}",
                    begun=source.step,
                    step=source.step,
                )
            )
    return Resharded(attempt=attempt, step=source.step, checkpoint=made)


def convert(job: Job, source: Path, ranks: int, stage: int, target: Path, *, beside: Path) -> None:
    """Run the converter of the job's stage (`StageSpec.reshard`), which may lie in the folder `beside` matrix.yaml.

    Raises:
        PlanError: it refuses.
        OrchestratorError: it failed.
    """
    command = python_command(job.spec.reshard, str(source))
    command += ["--ranks", str(ranks), "--zero-stage", str(stage), "--out", str(target)]
    environment = child_environment(CHECKOUT, passed(os.environ, job.spec.environment), beside)
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=environment)
    words = (done.stderr.strip().splitlines() or ["no message"])[-1]
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
