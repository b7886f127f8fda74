"""`logs`: the log of one attempt of a job; with `--follow`, also of the attempts that follow it."""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated, TextIO

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.logs.log_reader import NAME, AttemptLog
from orchestrator.commands.options import JobArgument, LastRunOptions
from orchestrator.commands.status.command import exit_on_interrupt
from orchestrator.errors import PlanError
from orchestrator.plan.job import Job
from orchestrator.plan.select import find_job
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.lease_holder import LeaseWatcher
from orchestrator.schedule.ledger.database import Attempt
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json

POLL_S = 0.5


def logs(
    job: JobArgument,
    *,
    options: LastRunOptions,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Continue as the log grows, through retries, until the job has ended."),
    ] = False,
    attempt: Annotated[
        str | None, typer.Option("--attempt", metavar="ID", help="Only this attempt: its id or a prefix of it.")
    ] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=0, metavar="N", help="Start with the last N lines.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the id of the attempt and the path of its log instead.")
    ] = False,
) -> None:
    """Print the log of a job's newest attempt."""
    study = options.look()
    found = find_job(study.plan, job)
    with exit_on_interrupt():
        if follow and attempt is None and not as_json:
            follow_job(study, found, sys.stdout, tail=tail, say=lambda text: print(text, file=sys.stderr))
            return
        chosen = last_attempt(study, found) if attempt is None else find_attempt(study, found, attempt)
        if as_json:
            log = study.folder_of(chosen) / NAME
            print_json({"version": 1, "label": found.label, "attempt": chosen.id, "log": str(log)})
        else:
            (follow_attempt if follow else print_log)(study, chosen, sys.stdout, tail=tail)


COMMAND = Command(
    function=logs,
    group=Group.INSPECT,
    position=1,
    examples=[
        ("echo-matrix logs STAGE/ROW/s0", ""),
        ("echo-matrix logs STAGE/ROW/s0 --follow", "as it grows"),
        ("echo-matrix logs STAGE/ROW/s0 --attempt a001 --tail 20", "the end of an earlier attempt"),
    ],
)


def last_attempt(study: Study, job: Job) -> Attempt:
    """The newest attempt of a job.

    Raises:
        PlanError: there has been none.
    """
    found = study.attempts().get(job.fingerprint)
    if not found:
        raise PlanError(f"{job.label} has not been attempted yet; see `echo-matrix explain {job.label}`")
    return found[-1]


def find_attempt(study: Study, job: Job, name: str) -> Attempt:
    """The attempt with this id, or unique prefix of an id.

    Raises:
        PlanError: none, or several.
    """
    attempts = study.attempts().get(job.fingerprint, ())
    found = [attempt for attempt in attempts if attempt.id.startswith(name)]
    if len(found) != 1:
        allowed = ", ".join(attempt.id for attempt in attempts) or "none yet"
        what = f"{name!r} matches {len(found)} attempts" if found else f"no attempt {name!r}"
        raise PlanError(f"{what} of {job.label} (attempts: {allowed})")
    return found[0]


def print_log(study: Study, attempt: Attempt, out: TextIO, *, tail: int | None = None) -> None:
    """Print the log of one attempt, or its last `tail` lines.

    Raises:
        PlanError: it has ended, and its log is not here.
    """
    folder = study.folder_of(attempt)
    if attempt.ending is not None and not folder.is_dir():
        raise PlanError(
            f"attempt {attempt.id} has no folder {folder}: it ran with another outputs folder, which has its log, or "
            "its log was removed"
        )
    _show(AttemptLog(folder), out, tail)


def follow_attempt(
    study: Study, attempt: Attempt, out: TextIO, *, tail: int | None = None, clock: Clock | None = None
) -> None:
    """Print the log of one attempt as it grows, until the attempt has ended."""
    clock = clock or SystemClock()
    watcher = LeaseWatcher(study.home, clock)
    log = AttemptLog(study.folder_of(attempt))
    _show(log, out, tail)
    while not _ended(study, attempt, watcher):
        clock.sleep(POLL_S)
        _show(log, out, None)
    _show(log, out, None)


def follow_job(
    study: Study,
    job: Job,
    out: TextIO,
    *,
    tail: int | None = None,
    say: Callable[[str], None] = lambda _text: None,
    clock: Clock | None = None,
) -> None:
    """Print the log of the newest attempt, then of the attempts that follow it.

    Ends when the job is done, failed, cancelled or blocked, or when no run is in progress.

    Args:
        study: as planned.
        job: may still wait for its first attempt.
        out: receives the logs, with a header before each attempt but the first.
        tail: number of lines to start with.
        say: receives what it waits for.
        clock: the machine's by default.

    Raises:
        PlanError: it has not been attempted, and no run is in progress.
    """
    clock = clock or SystemClock()
    watcher = LeaseWatcher(study.home, clock)
    if not study.attempts().get(job.fingerprint) and watcher.holder():
        say(f"{job.label} is waiting for its first attempt")
        while _more_may_come(study, job, watcher) and not study.attempts().get(job.fingerprint):
            clock.sleep(POLL_S)
    attempt = last_attempt(study, job)
    while True:
        follow_attempt(study, attempt, out, tail=tail, clock=clock)
        tail = None
        while not (newer := _after(study, attempt)):
            if not _more_may_come(study, job, watcher):
                return
            clock.sleep(POLL_S)
        attempt = newer[0]
        out.write(f"==> {job.label}: attempt {attempt.id} on {attempt.placement.where}\n")


def _more_may_come(study: Study, job: Job, watcher: LeaseWatcher) -> bool:
    in_progress = watcher.holder() is not None
    return in_progress and study.standings()[job.id].state not in ("done", "failed", "cancelled", "blocked")


def _after(study: Study, attempt: Attempt) -> Sequence[Attempt]:
    ids = [one.id for one in study.attempts().get(attempt.fingerprint, ())]
    return study.attempts()[attempt.fingerprint][ids.index(attempt.id) + 1 :] if attempt.id in ids else ()


def _ended(study: Study, attempt: Attempt, watcher: LeaseWatcher) -> bool:
    """Whether the log is complete: the attempt has ended, or no run is in progress that could record its end."""
    mine = [one for one in study.attempts().get(attempt.fingerprint, ()) if one.id == attempt.id]
    return not mine or mine[0].ending is not None or watcher.holder() is None


def _show(log: AttemptLog, out: TextIO, lines: int | None) -> None:
    text = log.read()
    if lines is not None:
        text = "".join(deque(text.splitlines(keepends=True), maxlen=lines))
    if text:
        out.write(text)
        out.flush()
