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
from orchestrator.commands.options import JsonOption, LastRunOptions, Overrides, Selection, last_selection
from orchestrator.plan.forecast import LiveTime
from orchestrator.plan.forecast_show import forecast_json, forecast_text
from orchestrator.plan.growth_show import growth_json, growth_lines
from orchestrator.plan.job import SHORT, Job, Plan, Standing
from orchestrator.plan.select import select, selected_part
from orchestrator.plan.show import added_text, counts, counts_text, job_json, others_text
from orchestrator.schedule.attempt_monitor import waiting_reason, waits_for
from orchestrator.schedule.failures import FailedJob, failed_of, failures_json, failures_text
from orchestrator.schedule.host_exclusion import ExcludedHost, describe, excluded_by_attempts
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.ledger.schema import attempt_json
from orchestrator.schedule.pace import Pace
from orchestrator.schedule.retry_policy import paused_of
from orchestrator.schedule.shared_lease import SharedHolder, shared_holder
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from orchestrator.wording import progress_words, without_state
from workloads.contract.metrics import read_beat
from workloads.contract.request import Stage

BLOCKED_SHOWN = 12
"""Jobs that are listed of those blocked for the same reason; the others are counted."""


def status(
    overrides: Overrides = None,
    *,
    options: LastRunOptions,
    selection: Selection,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run in progress until it ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the state of the jobs.

    Lists every job that is neither done nor waiting for its turn, then what failed and why. Without --rows, --seeds
    and --branches, the jobs are those that the last run selected. Changes nothing.
    """
    study = options.look(overrides, selection.rows)
    chosen = selection if selection.given else last_selection(study)
    if watch:
        # Here, because rich takes a tenth of a second.
        from orchestrator.commands.status.watch import watch as watch_run
        from orchestrator.ui.watch import make_watch_view

        selected = select(study.plan, **chosen.given)
        with exit_on_interrupt():
            raise typer.Exit(watch_run(study, selected, make_watch_view(sys.stdout, as_json=as_json)))
    if as_json:
        print_json(status_json(study, chosen))
    else:
        print(status_text(study, chosen))


COMMAND = Command(
    function=status,
    group=Group.INSPECT,
    position=0,
    examples=[
        ("echo-matrix status", "the state now"),
        ("echo-matrix status --rows '*'", "of all rows, whatever the last run selected"),
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


def status_json(study: Study, selection: Selection | None = None) -> dict[str, Any]:
    """What `status --json` prints: jobs with their attempts, counts, failures, paused stages, excluded hosts.

    `jobs`, `counts` and `failures` are of the selection, `others` counts the other jobs; None: all are selected.
    """
    part, standings, others = _selected(study, selection)
    attempts, at = study.attempts(), time.time()
    failures, paused = failed_jobs(study, standings)
    growth = study.growth()
    return {
        "version": 2,
        "study": study.plan.study,
        "profile": study.plan.profile,
        "selection": selection.given if selection else {},
        "added": dict(part.added),
        "outside": list(part.outside),
        "jobs": [
            {
                **job_json(job, standings[job.id], growth.get(job.id)),
                "attempts": [
                    {**attempt_json(attempt), "waits": waits_for(attempt, study.folder_of(attempt))}
                    for attempt in attempts.get(job.fingerprint, ())
                ],
            }
            for job in part.jobs.values()
        ],
        "counts": counts(standings),
        "others": counts(others),
        "growth": growth_json(study.stage_growth(standings)),
        "failures": failures_json(failures),
        "paused": paused,
        "race": None if study.race is None else asdict(study.race),
        "forecast": forecast_json(study.forecast(standings, _live_times(study, part, attempts, at)), at),
        "avoided": [asdict(one) for one in hosts_excluded(study, attempts, at)],
        "other_home": None
        if (other := other_home(study)) is None
        else {"pid": other.holder.pid, "host": other.holder.host, "home": other.home, "since": other.holder.since},
    }


def status_text(study: Study, selection: Selection | None = None) -> str:
    """What `status` prints: counts, jobs that run or need attention, excluded hosts, failures."""
    part, standings, others = _selected(study, selection)
    attempts, at = study.attempts(), time.time()
    lines = [f"{study.plan.study} · {study.plan.profile} · {counts_text(standings)}"]
    if selection and selection.given:
        lines.append(f"  selected: {selection}; {others_text(others)}")
    if part.added:
        lines.append(f"  beside the rows of profile {part.profile}: {added_text(part.added)}")
    blocked: Counter[str] = Counter()
    for job in part.jobs.values():
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
    if (other := other_home(study)) is not None:
        lines.append(f"  {other} shares the store and is running this study")
    lines += [f"  {describe(one, at)}" for one in hosts_excluded(study, attempts, at)]
    lines += growth_lines(study.stage_growth(standings))
    if expected := forecast_text(study.forecast(standings, _live_times(study, part, attempts, at)), at):
        lines += ["", expected]
    if (race := study.race) is not None:
        from reports.race_progress import race_text  # numpy, where there was a race

        lines += ["", race_text(race)]
    failed = failures_text(*failed_jobs(study, standings))
    return "\n".join([*lines, "", failed] if failed else lines)


def _selected(study: Study, selection: Selection | None) -> tuple[Plan, Mapping[str, Standing], Mapping[str, Standing]]:
    """The selected part of the plan; states of its jobs, and of the others."""
    found = study.standings()
    part = selected_part(study.plan, **selection.given) if selection else study.plan
    others = {job_id: now for job_id, now in found.items() if job_id not in part.jobs}
    return part, {job_id: found[job_id] for job_id in part.jobs}, others


def failed_jobs(study: Study, standings: Mapping[str, Standing]) -> tuple[Sequence[FailedJob], dict[Stage, str]]:
    """Failed jobs with the errors of their newest attempts, and the stages they pause."""
    jobs = study.plan.jobs
    failed = [(jobs[job_id], now.reason) for job_id, now in standings.items() if now.state == "failed"]
    with Ledger.read(study.home / NAME) as ledger:
        found, records = failed_of(study.home, failed, ledger), ledger.job_records()
    return found, paused_of(records.values(), {job.fingerprint for job in jobs.values()}, study.cluster.pause_after)


def other_home(study: Study) -> SharedHolder | None:
    """The process of another home that shares the store and is running the study, if there is one."""
    found = shared_holder(study.store.objects)
    return None if found is None or found.is_of(study.home) else found


def hosts_excluded(study: Study, attempts: Mapping[str, Sequence[Attempt]], at: float) -> list[ExcludedHost]:
    """Hosts that a run would exclude now; `at`: seconds since 1970."""
    every = [one for mine in attempts.values() for one in mine]
    return excluded_by_attempts(every, at, study.cluster.avoid_s)


def _live_times(study: Study, plan: Plan, attempts: Mapping[str, Sequence[Attempt]], at: float) -> dict[str, LiveTime]:
    """Job id -> time of its live attempt, as the run estimates it."""
    newest = {job.id: attempts[job.fingerprint][-1] for job in plan.jobs.values() if attempts.get(job.fingerprint)}
    found: dict[str, LiveTime] = {}
    for job_id, one in newest.items():
        if one.started and one.ended is None:
            elapsed_s, pace = max(0.0, at - one.started), Pace()
            if beat := read_beat(study.folder_of(one)):
                pace.note(beat["step"], beat["of"], elapsed_s)
            found[job_id] = LiveTime(elapsed_s=elapsed_s, left_s=pace.left_s(elapsed_s, 0.0, one.begun))
    return found


def _where(study: Study, job: Job, now: Standing, attempts: Mapping[str, Any]) -> str:
    mine, reason = attempts.get(job.fingerprint), without_state(now.state, now.reason)
    if mine and now.state == "waiting":
        return waiting_reason(study.folder_of(mine[-1])) or reason
    if now.state != "running" or not mine:
        return reason
    beat = read_beat(study.folder_of(mine[-1]))
    return reason if beat is None else progress_words(beat["step"], beat["of"], beat["phase"])
