"""`status`: the state of every job, from plan, ledger and attempt folders."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, LastRunOptions, Overrides
from orchestrator.commands.watch import last_selection
from orchestrator.commands.watch import watch as watch_run
from orchestrator.plan.job import SHORT, Job, Standing
from orchestrator.plan.show import counts, job_json
from orchestrator.schedule.attempt_monitor import waiting_reason
from orchestrator.schedule.failures import FailedJob, failed_of, failures_json, failures_text
from orchestrator.schedule.host_exclusion import ExcludedHost, describe, excluded_by_attempts
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.ledger.schema import attempt_json
from orchestrator.schedule.retry_policy import paused_of
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from orchestrator.ui.watch import make_watch_view
from orchestrator.wording import progress_words, without_state
from workloads.contract.metrics import read_beat
from workloads.contract.request import Stage

BLOCKED_SHOWN = 12
"""Jobs that are listed of those blocked for the same reason; the others are counted."""


def status(
    overrides: Overrides = None,
    *,
    options: LastRunOptions,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run in progress until it ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the state of the jobs.

    Lists every job that is neither done nor waiting for its turn, then what failed and why. Changes nothing.
    """
    study = options.open(overrides)
    if watch:
        with exit_on_interrupt():
            raise typer.Exit(watch_run(study, last_selection(study), make_watch_view(sys.stdout, as_json=as_json)))
    if as_json:
        print_json(status_json(study))
    else:
        print(status_text(study))


COMMAND = Command(
    function=status,
    group=Group.INSPECT,
    position=0,
    examples=[
        ("echo-matrix status", "the state now"),
        ("echo-matrix status --watch", "follow the run in progress"),
        ("echo-matrix status --watch --json", "one JSON object a line, when something changes"),
    ],
    exit_codes={
        0: "shown; with --watch: all that the run selected is done",
        1: "with --watch: something is not done",
        130: "with --watch: interrupted; the run continues",
    },
)


@contextlib.contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """On Ctrl-C, exit with 130 and no message: for commands that only read."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def status_json(study: Study) -> dict[str, Any]:
    """What `status --json` prints: jobs with their attempts, counts, failures, paused stages, excluded hosts."""
    standings, attempts = study.standings(), study.attempts()
    failures, paused = failed_jobs(study, standings)
    return {
        "version": 2,
        "study": study.plan.study,
        "profile": study.plan.profile,
        "jobs": [
            {
                **job_json(job, standings[job.id]),
                "attempts": [attempt_json(attempt) for attempt in attempts.get(job.fingerprint, ())],
            }
            for job in study.plan.jobs.values()
        ],
        "counts": counts(standings),
        "failures": failures_json(failures),
        "paused": paused,
        "avoided": [asdict(one) for one in hosts_excluded(study, attempts, time.time())],
    }


def status_text(study: Study) -> str:
    """What `status` prints: counts, jobs that run or need attention, excluded hosts, failures."""
    standings, attempts = study.standings(), study.attempts()
    lines = [f"{study.plan.study} · {study.plan.profile} · " + _words(counts(standings))]
    blocked: Counter[str] = Counter()
    for job in study.plan.jobs.values():
        now = standings[job.id]
        if now.state in ("done", "new", "failed"):
            continue
        if now.state == "blocked":
            blocked[now.reason] += 1
            if blocked[now.reason] > BLOCKED_SHOWN:
                continue
        where = _where(study, job, now, attempts)
        lines.append(f"  {now.state:<9}  {job.label:<40}  {job.fingerprint[:SHORT]}  {where}".rstrip())
    lines += [
        f"  ... and {number - BLOCKED_SHOWN} more blocked: {reason}"
        for reason, number in blocked.items()
        if number > BLOCKED_SHOWN
    ]
    at = time.time()
    lines += [f"  {describe(one, at)}" for one in hosts_excluded(study, attempts, at)]
    failed = failures_text(*failed_jobs(study, standings))
    return "\n".join([*lines, "", failed] if failed else lines)


def failed_jobs(study: Study, standings: Mapping[str, Standing]) -> tuple[Sequence[FailedJob], dict[Stage, str]]:
    """Failed jobs with the errors of their newest attempts, and the stages they pause."""
    jobs = study.plan.jobs.values()
    failed = [(job, standings[job.id].reason) for job in jobs if standings[job.id].state == "failed"]
    with Ledger.read(study.home / NAME) as ledger:
        found, records = failed_of(study.home, failed, ledger), ledger.job_records()
    return found, paused_of(records.values(), {job.fingerprint for job in jobs}, study.cluster.pause_after)


def hosts_excluded(study: Study, attempts: Mapping[str, Sequence[Attempt]], at: float) -> list[ExcludedHost]:
    """Hosts that a run would exclude now; `at`: seconds since 1970."""
    every = [one for mine in attempts.values() for one in mine]
    return excluded_by_attempts(every, at, study.cluster.avoid_s)


def _where(study: Study, job: Job, now: Standing, attempts: Mapping[str, Any]) -> str:
    mine, reason = attempts.get(job.fingerprint), without_state(now.state, now.reason)
    if mine and now.state == "waiting":
        return waiting_reason(study.folder_of(mine[-1])) or reason
    if now.state != "running" or not mine:
        return reason
    beat = read_beat(study.folder_of(mine[-1]))
    return reason if beat is None else progress_words(beat["step"], beat["of"], beat["phase"])


def _words(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in numbers.items())
