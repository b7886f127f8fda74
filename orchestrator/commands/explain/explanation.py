"""What is known about a job and what happens to it next, from plan, ledger and attempt folders."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.backends.protocol import Ending
from orchestrator.errors import OrchestratorError, StoreError
from orchestrator.host.checkpoints import CheckpointRef, newest_checkpoint
from orchestrator.plan.growth import NONE
from orchestrator.plan.job import SHORT, Job, Standing
from orchestrator.plan.slots import slot_words
from orchestrator.schedule.failures import failure_of
from orchestrator.schedule.host_exclusion import ExcludedHost, excluded_by_attempts
from orchestrator.schedule.launcher import share
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.retry_policy import Charges, fitted, verdict
from orchestrator.spec.cluster import RetrySettings
from orchestrator.study import Study
from workloads.contract.result import Failure

CHARGED: Mapping[Ending, str] = {
    "error": "error",
    "out_of_memory": "attempt out of memory",
    "vanished": "vanished attempt",
    "interrupted": "interruption",
}
"""One ending of each budget, and its name in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything known about a job."""

    job: Job
    standing: Standing
    needs: Mapping[str, Standing]
    """By label."""
    needed_by: Sequence[str]
    """Labels."""
    attempts: Sequence[Attempt]
    charges: Charges
    retries: RetrySettings
    share: int | None
    """Samples per step on one rank; None if the stage has no micro-batch."""
    checkpoint: CheckpointRef | None
    """The checkpoint from which the next attempt resumes."""
    artifact: str
    """Its folder; empty while the job is not done, or if the folder is gone."""
    excluded: Sequence[ExcludedHost]
    failed: Attempt | None
    """The newest attempt that recorded an error."""
    failure: Failure | None
    now: float
    folders: Mapping[str, Path]
    """Attempt -> its folder."""
    taken: Sequence[tuple[str, Sequence[str], bool]] = ()
    """Label of a finished job, items that are taken over from it, whether they were measured alike."""
    slots: Sequence[str] = ()
    """What slots it waits for, and which jobs have them."""

    @property
    def accumulate(self) -> int:
        """Micro-batches of a step in the next attempt."""
        return self.charges.accumulate if self.share is None else fitted(self.share, self.charges.accumulate)


def explanation_of(study: Study, job: Job) -> Explanation:
    """Read everything known about a job."""
    standings, now = study.standings(), time.time()
    with Ledger.read(study.home / NAME) as ledger:
        every, charges = ledger.attempts(), ledger.charges(job.fingerprint)
    live = {attempt.fingerprint for attempt in every if attempt.ending is None}
    ready = standings[job.id].state in ("new", "retry") and all(standings[need].state == "done" for need in job.needs)
    others = (one for one in study.plan.jobs.values() if one.fingerprint in live)
    attempts = [attempt for attempt in every if attempt.fingerprint == job.fingerprint]
    folders = {attempt.id: study.folder_of(attempt) for attempt in attempts}
    failed, failure = newest_failure(attempts, folders)
    artifact, per_rank = "", None
    growth = NONE if standings[job.id].state == "done" else study.growth(study.store.commits()).get(job.id, NONE)
    with contextlib.suppress(StoreError):
        artifact = study.store.locate(job.fingerprint) if standings[job.id].state == "done" else ""
    with contextlib.suppress(OrchestratorError):  # `plan` reports a batch that cannot be divided
        per_rank = share(job)
    return Explanation(
        job=job,
        standing=standings[job.id],
        needs={study.plan.jobs[need].label: standings[need] for need in job.needs},
        needed_by=[one.label for one in study.plan.jobs.values() if job.id in one.needs],
        attempts=attempts,
        charges=charges,
        retries=study.cluster.retries,
        share=per_rank,
        checkpoint=newest_checkpoint(study.home, job.fingerprint),
        artifact=artifact,
        excluded=excluded_by_attempts(every, now, study.cluster.avoid_s),
        failed=failed,
        failure=failure,
        now=now,
        folders=folders,
        taken=[(_label_of(study, one.fingerprint), one.items, one.measured) for one in growth.taken],
        slots=slot_words(job, others, study.cluster.slots) if ready and live else (),
    )


def _label_of(study: Study, fingerprint: str) -> str:
    """The label of a finished job, with its fingerprint: one of an earlier plan may have the same label."""
    try:
        return f"{study.store.read(fingerprint).label} ({fingerprint[:SHORT]})"
    except StoreError:
        return fingerprint[:SHORT]


def newest_failure(
    attempts: Sequence[Attempt], folders: Mapping[str, Path]
) -> tuple[Attempt, Failure] | tuple[None, None]:
    """The newest attempt that recorded an error, and the error."""
    for attempt in reversed(attempts):
        failure = failure_of(folders[attempt.id])
        if failure is not None:
            return attempt, failure
    return None, None


def what_next(known: Explanation) -> str:
    """What the next run does with the job, or what has to happen first."""
    label, begin = known.job.label, "from the beginning"
    if known.checkpoint is not None:
        begin = f"from step {known.checkpoint.step}"
    match known.standing.state:
        case "done":
            return "nothing, it is done"
        case "failed" if known.attempts and known.attempts[-1].ending == "diverged":
            return (
                "nothing: the same job would diverge again; change what its error names, which makes another job "
                f"(`echo-matrix retry {label}` tries the same one)"
            )
        case "failed" | "cancelled":
            return f"nothing until `echo-matrix retry {label}`; then it starts {begin}"
        case "blocked":
            stuck = [need for need, standing in known.needs.items() if holds_up(standing)]
            if stuck:
                return f"nothing until {stuck[0]} can run; see `echo-matrix explain {stuck[0]}`"
            return "nothing while the reason above applies"
        case "new" | "retry":
            waits = [need for need, standing in known.needs.items() if standing.state != "done"]
            after = f" once {', '.join(waits)} is done" if waits else ""
            return f"`echo-matrix run` starts it {begin}{after}"
        case "waiting" | "running" | "unknown":
            return f"it continues; {_if_it_fails(known)}"


def _if_it_fails(known: Explanation) -> str:
    """What happens if the running attempt does not succeed."""
    charges = replace(known.charges, accumulate=known.accumulate)
    last = [
        words
        for ending, words in CHARGED.items()
        if verdict(ending, charges, known.retries, progressed=False, share=known.share).next == "failed"
    ]
    if not last:
        return "however this attempt ends, it is retried from its newest checkpoint"
    return f"without further progress, one more {' or '.join(last)} makes it fail"


def holds_up(standing: Standing) -> bool:
    """Whether the dependents of a job in this state cannot run."""
    return standing.state in ("failed", "cancelled", "blocked")
