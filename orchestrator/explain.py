"""`explain JOB`: its whole story, and what would happen next. Plan, ledger and attempt folders, read only."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import OrchestratorError, StoreError
from orchestrator.host.checkpoints import CheckpointRef, newest_checkpoint
from orchestrator.plan.job import Job, Standing
from orchestrator.schedule.attempt_monitor import why_it_waits
from orchestrator.schedule.failed import failure_of, trace_of
from orchestrator.schedule.host_exclusion import Avoided, avoided, endings_of, sentence
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.requests import share
from orchestrator.schedule.retry_policy import Charges, Retries, first_line, fitted
from orchestrator.study import Study
from orchestrator.ui.progress import clock_words
from workloads.contract.metrics import read_beat
from workloads.contract.result import Failure

SHOWN = 6
"""Labels of what needs the job that are named; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that is known of a job."""

    job: Job
    standing: Standing
    needs: Mapping[str, Standing]
    """By label."""
    needed_by: Sequence[str]
    """Labels."""
    attempts: Sequence[Attempt]
    charges: Charges
    retries: Retries
    share: int | None
    """Samples of a step on one rank; None where the stage has no micro-batch."""
    checkpoint: CheckpointRef | None
    """From which the next attempt would go on."""
    artifact: str
    """Its folder; empty while it is not done, or where it is gone."""
    avoided: Sequence[Avoided]
    failed: Attempt | None
    """The newest attempt that said why it failed."""
    failure: Failure | None
    now: float
    folders: Mapping[str, Path]
    """Attempt -> its folder."""

    @property
    def accumulate(self) -> int:
        """Micro-batches of a step in the next attempt."""
        return self.charges.accumulate if self.share is None else fitted(self.share, self.charges.accumulate)


def story_of(study: Study, job: Job) -> Story:
    """Read what is known of a job."""
    standings, now = study.look(), time.time()
    with Ledger.read(study.home / NAME) as ledger:
        every, charges = ledger.attempts(), ledger.charges(job.fingerprint)
    attempts = [attempt for attempt in every if attempt.fingerprint == job.fingerprint]
    folders = {attempt.id: study.folder_of(attempt) for attempt in attempts}
    failed, failure = newest_failure(attempts, folders)
    artifact, per_rank = "", None
    with contextlib.suppress(StoreError):
        artifact = str(study.store.fetch(job.fingerprint)) if standings[job.id].state == "done" else ""
    with contextlib.suppress(OrchestratorError):  # `plan` says that it cannot be shared
        per_rank = share(job)
    return Story(
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
        avoided=list(avoided(endings_of(every, now, now), now, study.cluster.avoid_s).values()),
        failed=failed,
        failure=failure,
        now=now,
        folders=folders,
    )


def newest_failure(
    attempts: Sequence[Attempt], folders: Mapping[str, Path]
) -> tuple[Attempt, Failure] | tuple[None, None]:
    """The newest attempt that said why it did not end well, and what it said."""
    for attempt in reversed(attempts):
        failure = failure_of(folders[attempt.id])
        if failure is not None:
            return attempt, failure
    return None, None


def explain_json(story: Story) -> dict[str, Any]:
    """The object of `explain --json`, version 1."""
    job, charges, retries = story.job, story.charges, story.retries
    return {
        "version": 1,
        "id": job.id,
        "label": job.label,
        "stage": job.stage,
        "fingerprint": job.fingerprint,
        "state": story.standing.state,
        "reason": story.standing.reason,
        "needs": [{"label": label, **asdict(standing)} for label, standing in story.needs.items()],
        "needed_by": list(story.needed_by),
        "attempts": [
            {
                "id": one.id,
                "host": one.backend,
                "started": one.started,
                "ended": one.ended,
                "begun": one.begun,
                "step": one.step,
                "ending": one.ending,
                "detail": one.detail,
                "folder": str(story.folders[one.id]),
            }
            for one in story.attempts
        ],
        "charges": {
            "error": {"used": charges.error, "allowed": retries.error},
            "out_of_memory": {"used": charges.out_of_memory, "allowed": retries.out_of_memory},
            "vanished": {"used": charges.vanished, "allowed": retries.vanished},
            "free_in_a_row": {"used": charges.free, "allowed": retries.free_in_a_row},
        },
        "micro_batch": None if story.share is None else story.share // story.accumulate,
        "accumulate": story.accumulate,
        "checkpoint": None
        if story.checkpoint is None
        else {"step": story.checkpoint.step, "path": str(story.checkpoint.path)},
        "artifact": story.artifact or None,
        "avoided": [asdict(one) for one in story.avoided],
        "failure": None
        if story.failure is None or story.failed is None
        else {"attempt": story.failed.id, **asdict(story.failure)},
        "next": what_next(story),
    }


def explain_text(story: Story) -> str:
    """The same for people."""
    job = story.job
    lines = [f"{job.label} ({job.id})", f"  {story.standing.state}: {story.standing.reason}"]
    for label, standing in story.needs.items():
        lines.append(f"  needs {label}: {standing.state}" + (f" ({standing.reason})" if _stands(standing) else ""))
    if story.needed_by:
        more = f" and {len(story.needed_by) - SHOWN} more" if len(story.needed_by) > SHOWN else ""
        lines.append(f"  needed by {', '.join(story.needed_by[:SHOWN])}{more}")
    lines += [f"  {_attempt_words(one, story)}" for one in story.attempts]
    if story.attempts and story.standing.state != "done":
        lines.append(f"  charged: {charges_words(story.charges, story.retries)}")
    if story.share is not None and story.accumulate > 1:
        size = story.share // story.accumulate
        lines.append(f"  micro-batch: {size}, {story.accumulate} of them a step, since it ran out of memory")
    if story.checkpoint is not None:
        lines.append(f"  checkpoint: step {story.checkpoint.step} in {story.checkpoint.path}")
    if story.artifact:
        lines.append(f"  artifact: {story.artifact}")
    if story.attempts:
        lines.append(f"  log: {story.folders[story.attempts[-1].id] / 'log.txt'}")
    lines += [f"  {sentence(one, story.now)}" for one in story.avoided]
    lines.append(f"  next: {what_next(story)}")
    if story.failed is not None:
        lines.append(f"  what {story.failed.id} said:")
        lines += [f"    {line}" for text in trace_of(story.failure) for line in text.splitlines()]
    return "\n".join(lines)


def charges_words(charges: Charges, retries: Retries) -> str:
    """`error 1 of 1, out of memory 0 of 1, vanished 0 of 3, free endings in a row 2 of 10`."""
    used = [
        ("error", charges.error, retries.error),
        ("out of memory", charges.out_of_memory, retries.out_of_memory),
        ("vanished", charges.vanished, retries.vanished),
        ("free endings in a row", charges.free, retries.free_in_a_row),
    ]
    return ", ".join(f"{what} {min(number, allowed)} of {allowed}" for what, number, allowed in used)


def what_next(story: Story) -> str:
    """What the driver would do with the job, or what somebody has to do first."""
    label, begin = story.job.label, "from the start"
    if story.checkpoint is not None:
        begin = f"from step {story.checkpoint.step}"
    match story.standing.state:
        case "done":
            return "nothing, it is done"
        case "failed" | "cancelled":
            return f"nothing, until `echo-matrix retry {label}`; then {begin}"
        case "blocked":
            stuck = [need for need, standing in story.needs.items() if _stands(standing)]
            if stuck:
                return f"nothing, until {stuck[0]} goes on; `echo-matrix explain {stuck[0]}`"
            return "nothing, until the reason above is gone"
        case "new" | "retry":
            waits = [need for need, standing in story.needs.items() if standing.state != "done"]
            after = f" once {', '.join(waits)} is done" if waits else ""
            return f"`echo-matrix run` starts it {begin}{after}"
        case "waiting" | "running" | "unknown":
            return f"it goes on; {_another(story.charges, story.retries)}"


def _another(charges: Charges, retries: Retries) -> str:
    """Which endings would be the last."""
    last = []
    if charges.error >= retries.error:
        last.append("error")
    if charges.vanished >= retries.vanished:
        last.append("vanished attempt")
    if charges.free + 1 >= retries.free_in_a_row:
        last.append("free ending")
    if not last:
        return "whatever ends it, it is tried again from its newest checkpoint"
    return f"without further progress, one more {' or '.join(last)} makes it fail"


def _stands(standing: Standing) -> bool:
    return standing.state in ("failed", "cancelled", "blocked")


def _attempt_words(one: Attempt, story: Story) -> str:
    where = f" on {one.backend}" if one.backend else ""
    at = one.started or one.intended
    words = [f"{one.id}{where}", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))]
    if one.started is not None:
        words.append(clock_words((one.ended or story.now) - one.started))
    begun, step = max(one.begun, 0), one.step
    if one.ending is None:
        beat = read_beat(story.folders[one.id])
        waits = "" if one.started is not None else why_it_waits(story.folders[one.id])
        words.append(waits or "open" if beat is None else f"{beat['step']}/{beat['of']} {beat['phase']}")
    else:
        if max(begun, step) > 0:
            words.append(f"step {begun} -> {step}" if step >= 0 else f"step {begun} -> nothing saved")
        words.append(f"{one.ending}: {first_line(one.detail)}" if one.detail else one.ending)
    return ", ".join(words)
