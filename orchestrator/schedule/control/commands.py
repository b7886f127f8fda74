"""`cancel` and `retry` from any terminal: which jobs, and a note for the driver or booked at once where none runs.

A cancelled attempt is asked to save a checkpoint and end, like one that is interrupted, so that a
later `retry` goes on from there; with `now` it is killed. `retry` forgives what is held against a
job: its failure or cancellation, its charges and its smaller micro-batch. What only waits for a
job that failed is not touched: it goes on by itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from orchestrator.errors import PlanError
from orchestrator.plan.job import Job, Plan, Standing, State
from orchestrator.plan.select import Patterns, find_jobs, is_glob, select_own
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.control import channel as inbox
from orchestrator.schedule.lease import acquire, driver_lives
from orchestrator.schedule.ledger.database import NAME, JobNote, Ledger
from workloads.contract.request import Stage

CANCELLED = "cancelled; `echo-matrix retry` takes it up again"

Asked = Literal["cancel", "retry"]

MAY: Mapping[Asked, frozenset[State]] = {
    "cancel": frozenset({"new", "retry", "waiting", "running", "unknown", "blocked", "failed"}),
    "retry": frozenset({"failed", "cancelled", "retry"}),
}
"""States of jobs to which a verb can be done."""


def choose(
    verb: Asked,
    plan: Plan,
    standings: Mapping[str, Standing],
    names: Sequence[str] = (),
    *,
    failed: bool = False,
    rows: Patterns = None,
    seeds: Patterns = None,
    branches: Patterns = None,
) -> tuple[Job, ...]:
    """The jobs that a verb is meant for, in the plan's order.

    A job that is named must be one to which the verb can be done; globs and selections take those
    to which it can, and leave out the others. To retry a blocked job is to retry what it waits for.

    Args:
        verb: what is asked.
        plan: of the last run.
        standings: of all its jobs.
        names: labels, ids, unique prefixes, globs.
        failed: of these, or of all without names, those that failed (`retry` only).
        rows, seeds, branches: as for `run`; only jobs that serve no other cell.

    Raises:
        PlanError: nothing is named, a name matches nothing, or the verb can be done to none of them.
    """
    selected = any(patterns is not None for patterns in (rows, seeds, branches))
    if not (names or failed or selected):
        every = ", or --failed for all that failed" if verb == "retry" else ""
        raise PlanError(
            f"{verb} needs jobs: labels, ids, globs such as 'train/context-*', or --rows, --seeds, --branches{every}"
        )
    jobs = find_jobs(plan, names) if names else tuple(plan.jobs.values())
    if selected:
        own = select_own(plan, rows, seeds, branches)
        jobs = tuple(job for job in jobs if job.id in own)
    if failed:
        jobs = tuple(job for job in jobs if standings[job.id].state == "failed")
    wanted = {job.id for job in jobs}
    if verb == "retry":
        wanted |= {
            need for job in jobs if standings[job.id].state == "blocked" for need in _stuck(plan, standings, job)
        }
    able = tuple(job for job in plan.jobs.values() if job.id in wanted and standings[job.id].state in MAY[verb])
    for name in names:
        if not is_glob(name):
            (job,) = find_jobs(plan, [name])
            state = standings[job.id].state
            if not failed and state not in MAY[verb] and not (verb == "retry" and state == "blocked" and able):
                raise PlanError(f"{job.label} is {state}; there is nothing to {verb}")
    if not able:
        found = Counter(standings[job.id].state for job in jobs)
        there = ", ".join(f"{number} {state}" for state, number in found.items()) or "no job has failed"
        raise PlanError(f"there is nothing to {verb}: {there}; `echo-matrix status` shows where every job stands")
    return able


def _stuck(plan: Plan, standings: Mapping[str, Standing], job: Job) -> Iterable[str]:
    """What a blocked job waits for and could wait for ever: needs that failed or were cancelled, however far off."""
    waiting, seen = list(job.needs), set[str]()
    while waiting:
        need = waiting.pop()
        if need not in seen:
            seen.add(need)
            waiting += plan.jobs[need].needs
            if standings[need].state in ("failed", "cancelled"):
                yield need


def ask(
    verb: Asked, jobs: Sequence[Job], *, home: Path, now: bool = False, clock: Clock | None = None
) -> Literal["asked", "booked"]:
    """Cancel or retry jobs: `asked` where a driver will book it at its next tick, `booked` where none runs.

    `choose` says which jobs; `now`: a cancelled attempt is killed and not asked for a checkpoint first.

    Raises:
        LeaseError: a driver started this very moment; say it again.
        LedgerError: the ledger cannot be written.
    """
    clock = clock or SystemClock()
    stages = {job.fingerprint: job.stage for job in jobs}
    if driver_lives(home):
        inbox.put(home, verb, list(stages), now=now, stages=stages)
        return "asked"
    with (
        acquire(home, clock) as lease,
        Ledger.open(home / NAME, lease.check) as ledger,
        ledger.transaction(),
    ):
        if inbox.read(home):  # of a driver that is gone: the next books them, and after them what was asked for last
            inbox.put(home, verb, list(stages), now=now, stages=stages)
        for fingerprint, stage in stages.items():
            if verb == "cancel":
                book_cancel(ledger, fingerprint, stage, clock.time())
            else:
                ledger.forgive(fingerprint)
    return "booked"


def book_cancel(ledger: Ledger, fingerprint: str, stage: Stage, at: float) -> None:
    """Book that a job is cancelled; a COMMIT that comes later still wins."""
    ledger.note(JobNote(fingerprint=fingerprint, state="cancelled", reason=CANCELLED, stage=stage, signature="", at=at))
