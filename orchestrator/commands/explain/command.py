"""`explain`: a job's state, attempts, retries and next step; or its request, to run it by hand."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.explain.explanation import Explanation, explanation_of, holds_up, what_next
from orchestrator.commands.logs.log_reader import has_log
from orchestrator.commands.options import JobArgument, JsonOption, LastRunOptions
from orchestrator.plan.job import Job
from orchestrator.plan.select import find_job
from orchestrator.schedule.attempt_monitor import waiting_reason, waits_for
from orchestrator.schedule.failures import trace_of
from orchestrator.schedule.host_exclusion import describe
from orchestrator.schedule.launcher import build_request
from orchestrator.schedule.ledger.database import Attempt
from orchestrator.schedule.ledger.schema import attempt_json
from orchestrator.schedule.retry_policy import Charges, first_line
from orchestrator.spec.cluster import RetrySettings
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from orchestrator.ui.words import clock_words
from orchestrator.wording import counted, local_time, progress_words, shortened, state_words
from workloads.contract.metrics import read_beat

SHOWN = 6
"""Dependents that are printed; the others are counted."""
SHOWN_ITEMS = 4
"""Items, likewise."""


def explain(
    job: JobArgument,
    *,
    options: LastRunOptions,
    request: Annotated[
        bool,
        typer.Option("--request", help="Print the job's request with its inputs, for `python -m workloads.run`."),
    ] = False,
    work: Annotated[
        Path, typer.Option("--work", metavar="FOLDER", help="With --request: the folder the job will write into.")
    ] = Path("by-hand"),
    as_json: JsonOption = False,
) -> None:
    """Explain why a job waits or failed, and what happens next.

    Lists its attempts, the retries used, its newest checkpoint and its newest error.
    """
    study = options.look()
    found = find_job(study.plan, job)
    if request:
        print_json(request_by_hand(study, found, work))
    elif as_json:
        print_json(explain_json(explanation_of(study, found)))
    else:
        print(explain_text(explanation_of(study, found)))


COMMAND = Command(
    function=explain,
    group=Group.INSPECT,
    position=2,
    examples=[
        ("echo-matrix explain STAGE/ROW/s0", ""),
        ("echo-matrix explain STAGE/ROW/s0 --request > request.json", "to run it by hand"),
    ],
)


def request_by_hand(study: Study, job: Job, work: Path) -> dict[str, Any]:
    """The request of a job for `python -m workloads.run`, with its inputs fetched; the job writes into `work`.

    Raises:
        ArtifactMissing: an input is not done.
    """
    request = build_request(job, attempt="by-hand", home=study.home, settings=study.cluster, accumulate=1, resume=None)
    jobs = study.plan.jobs
    inputs = {stage: str(study.store.fetch(jobs[need].fingerprint)) for stage, need in job.inputs.items()}
    return {**request, "inputs": inputs, "work": str(work.resolve())}


def explain_json(known: Explanation) -> dict[str, Any]:
    """The object of `explain --json`, version 1."""
    job, charges, retries = known.job, known.charges, known.retries
    return {
        "version": 1,
        "id": job.id,
        "label": job.label,
        "stage": job.stage,
        "fingerprint": job.fingerprint,
        "state": known.standing.state,
        "reason": known.standing.reason,
        "needs": [{"label": label, **asdict(standing)} for label, standing in known.needs.items()],
        "needed_by": list(known.needed_by),
        "attempts": [
            {**attempt_json(one), "waits": waits_for(one, folder := known.folders[one.id]), "folder": str(folder)}
            for one in known.attempts
        ],
        "charges": {
            "error": {"used": charges.error, "allowed": retries.error},
            "out_of_memory": {"used": charges.out_of_memory, "allowed": retries.out_of_memory},
            "vanished": {"used": charges.vanished, "allowed": retries.vanished},
            "free_in_a_row": {"used": charges.free, "allowed": retries.free_in_a_row},
        },
        "micro_batch": None if known.share is None else known.share // known.accumulate,
        "accumulate": known.accumulate,
        "checkpoint": None
        if known.checkpoint is None
        else {"step": known.checkpoint.step, "path": str(known.checkpoint.path)},
        "artifact": known.artifact or None,
        "avoided": [asdict(one) for one in known.excluded],
        "failure": None
        if known.failure is None or known.failed is None
        else {"attempt": known.failed.id, **asdict(known.failure)},
        "items": None if job.items is None else list(job.items),
        "taken": [{"from": label, "items": list(items), "measured": alike} for label, items, alike in known.taken],
        "slots": list(known.slots),
        "next": what_next(known),
    }


def explain_text(known: Explanation) -> str:
    """What `explain` prints."""
    job = known.job
    lines = [f"{job.label} ({job.id})", f"  {state_words(known.standing.state, known.standing.reason)}"]
    for label, standing in known.needs.items():
        words = state_words(standing.state, standing.reason) if holds_up(standing) else standing.state
        lines.append(f"  needs {label}: {words}")
    lines += [f"  {words}" for words in taken_words(known)]
    lines += [f"  waits for a slot of {words}" for words in known.slots]
    if known.needed_by:
        lines.append(f"  needed by {shortened(known.needed_by, SHOWN)}")
    lines += [f"  {_attempt_words(one, known)}" for one in known.attempts]
    if known.attempts and known.standing.state != "done":
        lines.append(f"  retries used: {charges_words(known.charges, known.retries)}")
    if known.share is not None and known.accumulate > 1:
        size = known.share // known.accumulate
        lines.append(f"  micro-batch: {size}, {known.accumulate} per step, reduced after running out of memory")
    if known.checkpoint is not None:
        lines.append(f"  checkpoint: step {known.checkpoint.step} in {known.checkpoint.path}")
    if known.artifact:
        lines.append(f"  artifact: {known.artifact}")
    if known.attempts and has_log(folder := known.folders[known.attempts[-1].id]):
        lines.append(f"  log: {folder / 'log.txt'}")
    lines += [f"  {describe(one, known.now)}" for one in known.excluded]
    lines.append(f"  next: {what_next(known)}")
    if known.failed is not None:
        lines.append(f"  error of {known.failed.id}:")
        lines += [f"    {line}" for text in trace_of(known.failure) for line in text.splitlines()]
    return "\n".join(lines)


def taken_words(known: Explanation) -> list[str]:
    """`takes over 12 of 16 cases from evaluate/loop/ROW/s0 (0123456789ab): a, b and 10 more`, of each finished job."""
    of = counted(len(known.job.items or ()), known.job.spec.item or "item")
    return [
        f"takes over {len(items)} of {of} from {label}: {shortened(items, SHOWN_ITEMS)}"
        + ("" if alike else "; they are measured anew")
        for label, items, alike in known.taken
    ]


def charges_words(charges: Charges, retries: RetrySettings) -> str:
    """`error 1 of 1, out of memory 0 of 1, vanished 0 of 3, interruptions in a row 2 of 10`."""
    used = [
        ("error", charges.error, retries.error),
        ("out of memory", charges.out_of_memory, retries.out_of_memory),
        ("vanished", charges.vanished, retries.vanished),
        ("interruptions in a row", charges.free, retries.free_in_a_row),
    ]
    return ", ".join(f"{what} {min(number, allowed)} of {allowed}" for what, number, allowed in used)


def _attempt_words(one: Attempt, known: Explanation) -> str:
    where = f" on {one.placement.where}" if one.host else ""
    where += f", failed first on {one.failed_on}" if one.failed_on else ""
    at = one.started or one.intended
    words = [f"{one.id}{where}", local_time(at)]
    if one.started is not None:
        words.append(clock_words((one.ended or known.now) - one.started))
    begun, step = max(one.begun, 0), one.step
    if one.ending is None:
        beat = read_beat(known.folders[one.id])
        if beat is not None:
            words.append(progress_words(beat["step"], beat["of"], beat["phase"]))
        elif one.started is not None:
            words.append("no progress reported yet")
        else:
            words.append(waiting_reason(known.folders[one.id]) or "not started yet")
    else:
        if one.ending != "ok" and max(begun, step) > 0:  # how far a job that is done has come, is known
            words.append(f"from step {begun}, {f'last checkpoint: step {step}' if step >= 0 else 'nothing saved'}")
        words.append(f"{one.ending}: {first_line(one.detail)}" if one.detail else one.ending)
    return ", ".join(words)
