"""Control commands: `cancel`, `retry` and `interrupt`, on the side that sends them and in the controller.

A cancelled attempt saves a checkpoint and ends, like one that is interrupted, so that a later `retry` resumes from
it; with `now` it is killed. `retry` clears a job's failure or cancellation, its charges and its smaller
micro-batch. A job that only waits for a failed one is not changed: it starts by itself once the other is done.
Where no controller runs, the command is recorded in the ledger at once.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from orchestrator.backends.protocol import Backend
from orchestrator.errors import BackendError, PlanError
from orchestrator.plan.job import Job, Plan, Standing, State
from orchestrator.plan.select import Patterns, find_jobs, select_own
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.context import RunContext
from orchestrator.schedule.control import channel
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.lease_holder import is_held, read_holder
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.reconciler import Reconciler
from orchestrator.schedule.shutdown import STOP_SLACK_S, Shutdown
from orchestrator.spec.patterns import is_glob
from orchestrator.wording import counted
from workloads.runtime.fault_points import point

JobVerb = Literal["cancel", "retry"]

APPLIES_TO: Mapping[JobVerb, frozenset[State]] = {
    "cancel": frozenset({"new", "retry", "waiting", "running", "unknown", "blocked", "failed"}),
    "retry": frozenset({"failed", "cancelled", "retry"}),
}
"""States of the jobs to which a verb applies."""


def select_jobs(
    verb: JobVerb,
    plan: Plan,
    standings: Mapping[str, Standing],
    names: Sequence[str] = (),
    *,
    failed: bool = False,
    rows: Patterns = None,
    seeds: Patterns = None,
    branches: Patterns = None,
) -> tuple[Job, ...]:
    """The jobs to which a verb applies, in the plan's order.

    The verb must apply to a job that is named in full; of globs and selections the jobs to which it does not apply are
    left out. To retry a blocked job is to retry what it waits for.

    Args:
        verb: what is requested.
        plan: of the last run.
        standings: of all its jobs.
        names: labels, ids, unique prefixes, globs.
        failed: of these, or of all without names, those that failed (`retry` only).
        rows, seeds, branches: as for `run`; only jobs that serve no other cell.

    Raises:
        PlanError: nothing is named, a name matches nothing, or the verb applies to none of them.
    """
    selected = any(patterns is not None for patterns in (rows, seeds, branches))
    if not (names or failed or selected):
        every = ", or --failed for all that failed" if verb == "retry" else ""
        raise PlanError(
            f"{verb} needs jobs: labels, ids, globs such as 'STAGE/ROW*', or --rows, --seeds, --branches{every}"
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
    able = tuple(job for job in plan.jobs.values() if job.id in wanted and standings[job.id].state in APPLIES_TO[verb])
    for name in names:
        if not is_glob(name):
            (job,) = find_jobs(plan, [name])
            state = standings[job.id].state
            if not failed and state not in APPLIES_TO[verb] and not (verb == "retry" and state == "blocked" and able):
                raise PlanError(f"{job.label} is {state}; there is nothing to {verb}")
    if not able:
        found = Counter(standings[job.id].state for job in jobs)
        there = ", ".join(f"{number} {state}" for state, number in found.items()) or "no job has failed"
        raise PlanError(f"there is nothing to {verb}: {there}; `echo-matrix status` shows the state of every job")
    return able


def _stuck(plan: Plan, standings: Mapping[str, Standing], job: Job) -> Iterable[str]:
    """The needs, direct and indirect, of a blocked job that failed or were cancelled."""
    waiting, seen = list(job.needs), set[str]()
    while waiting:
        need = waiting.pop()
        if need not in seen:
            seen.add(need)
            waiting += plan.jobs[need].needs
            if standings[need].state in ("failed", "cancelled"):
                yield need


def request(
    verb: JobVerb, jobs: Sequence[Job], *, home: Path, now: bool = False, clock: Clock | None = None
) -> Literal["requested", "done"]:
    """Cancel or retry jobs: `requested` where a controller does it at its next tick, `done` where none runs.

    `select_jobs` says which jobs; `now`: a cancelled attempt is killed and not asked for a checkpoint first.

    Raises:
        LeaseError: a controller started this very moment; repeat the command.
        LedgerError: the ledger cannot be written.
    """
    clock = clock or SystemClock()
    stages = {job.fingerprint: job.stage for job in jobs}
    if is_held(home):
        channel.send(home, verb, list(stages), now=now, stages=stages)
        return "requested"
    with (
        acquire(home, clock) as lease,
        Ledger.open(home / NAME, lease.check) as ledger,
        ledger.transaction(),
    ):
        if channel.pending(home):  # sent to a controller that has ended: the next one does those first, then this one
            channel.send(home, verb, list(stages), now=now, stages=stages)
        for fingerprint, stage in stages.items():
            if verb == "cancel":
                ledger.record_cancel(fingerprint, stage, clock.time())
            else:
                ledger.reset_job(fingerprint)
    return "done"


class CommandHandler:
    """Carries out, in the controller, the commands that were sent, and Ctrl-C."""

    def __init__(self, context: RunContext, reconciler: Reconciler, shutdown: Shutdown) -> None:
        self._context = context
        self._reconciler = reconciler
        self._shutdown = shutdown

    def start(self) -> None:
        """Record what was sent before this controller began; no backend is needed.

        An `interrupt` that does not name this controller was meant for an earlier one.
        """
        commands = channel.pending(self._context.home)
        self._record([command for command in commands if command.verb != "interrupt" or command.jobs], None)
        channel.remove(commands)

    def handle(self, backend: Backend) -> bool:
        """Record and carry out what was sent; whether there was anything."""
        commands = channel.pending(self._context.home)
        if commands:
            self._record(commands, backend)
            point("command.recorded")
            channel.remove(commands)
        self._send_interrupt(backend)
        self._send_cancels(backend)
        return bool(commands)

    def _record(self, commands: Sequence[channel.ControlCommand], backend: Backend | None) -> None:
        for command in commands:
            with self._context.ledger.transaction():  # one: a command may name 60,000 jobs
                self._record_one(command)
            if backend is not None:
                self._send_cancels(backend)

    def _record_one(self, command: channel.ControlCommand) -> None:
        self._context.events.log("command", verb=command.verb, jobs=command.jobs)
        if command.verb == "interrupt":
            for _ in range(2 if command.now else 1) if self._is_meant(command) else ():
                self._shutdown.request()
            return
        for fingerprint in command.jobs:
            if fingerprint in self._reconciler.committed:
                continue
            job = self._context.jobs.get(fingerprint)
            if command.verb == "retry":
                self._reconciler.retry(fingerprint)
            elif job is not None:
                self._reconciler.cancel(job, now=command.now)
            elif stage := command.stages.get(fingerprint):
                # Of another profile or other overrides: a run of those finds it in the ledger.
                self._reconciler.cancel_unplanned(fingerprint, stage)
        if command.verb == "retry":
            self._reconciler.after_retries()

    def _is_meant(self, command: channel.ControlCommand) -> bool:
        """Whether an `interrupt` is meant for this controller."""
        holder = read_holder(self._context.home) if command.jobs else None
        return not command.jobs or (holder is not None and holder.nonce in command.jobs)

    def _send_cancels(self, backend: Backend) -> None:
        """Tell the backend which attempts are to end; again at the next tick where it does not respond."""
        unsent = [one for one in self._reconciler.attempts.values() if one.cancel and not one.cancel_sent]
        for how, act in (("gently", backend.stop), ("now", backend.kill)):
            chosen = [watched for watched in unsent if watched.cancel == how]
            with contextlib.suppress(BackendError):
                if chosen:
                    act([watched.attempt for watched in chosen])
                for watched in chosen:
                    watched.cancel_sent = True

    def _send_interrupt(self, backend: Backend) -> None:
        act = self._shutdown.next_act(self._context.clock.monotonic(), outlives=backend.outlives_driver)
        live = list(self._reconciler.attempts)
        if act is None:
            return
        events = self._context.events
        events.log(act, attempts=len(live))
        if act == "leave":
            events.say(f"the controller ends as requested; attempts that continue: {len(live)}; `run` adopts them")
        elif act == "kill":
            events.say(f"stopping {counted(len(live), 'attempt')} at once; the same command continues")
            backend.kill(live)
        elif live:
            most_s = self._context.settings.grace_s + STOP_SLACK_S
            saves = f"{counted(len(live), 'attempt')} save{'s' if len(live) == 1 else ''}"
            events.say(
                f"stopping: {saves} a checkpoint, at most {most_s:g} s\n"
                "Ctrl-C again to stop at once; the same command continues"
            )
            backend.stop(live)
