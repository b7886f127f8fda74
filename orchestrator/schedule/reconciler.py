"""Reconciler: the one place that changes the state of jobs and attempts, in memory and in the ledger.

The other parts of a run propose: the attempt monitor hands in findings, the launcher intents, recovery and the control
commands call the methods below. What need not be on disk at once (tickets, starts) waits for the next transaction or
the next second, because each transaction costs a disk sync.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from orchestrator.backends.protocol import Ending, Placement
from orchestrator.errors import OrchestratorError
from orchestrator.host.checkpoints import KEPT_CHECKPOINTS, JobCheckpoints, attempt_folder, step_of
from orchestrator.plan.job import Job
from orchestrator.schedule.attempt_monitor import WAITING_FILE, AttemptFinding, WatchedAttempt
from orchestrator.schedule.context import RunContext
from orchestrator.schedule.failures import failure_of, trace_of
from orchestrator.schedule.host_exclusion import HostEnding, HostExclusion, blamed, counts_for_host
from orchestrator.schedule.job_states import STUCK, JobStates, Kind, Transition
from orchestrator.schedule.launcher import Launch, SubmitResult, share
from orchestrator.schedule.ledger.schema import Attempt, JobRecord, running_s
from orchestrator.schedule.order import turns
from orchestrator.schedule.placement import Placer
from orchestrator.schedule.retry_policy import CANCELLED, Verdict, paused_of, progressed, signature, verdict
from orchestrator.schedule.rooms import Target
from workloads.contract.request import Stage
from workloads.runtime.fault_points import point
from workloads.runtime.masking import mask, secrets_of


class Reconciler:
    """Keeps job states, ledger, reservations and excluded hosts in step with what happens to the attempts."""

    def __init__(self, context: RunContext, states: JobStates, committed: set[str]) -> None:
        self._context = context
        self._ledger = context.ledger
        self._events = context.events
        self._clock = context.clock
        self._states = states
        self._deferred: list[Callable[[], None]] = []
        self._first_failure: dict[tuple[Stage, str], str] = {}
        self.exclusion = HostExclusion(context.settings.avoid_s)
        """Hosts that get no jobs for a while."""
        first = None if context.first is None else turns(context.plan, context.first)
        self.placer = Placer(states, context.forecaster.of, first, context.settings.slots)
        """Queue and reservations."""
        self.committed = committed
        """Fingerprints of done jobs; grows."""
        self.paused: Mapping[Stage, str] = {}
        """Stages that are paused, with the reason."""
        self.attempts: dict[str, WatchedAttempt] = {}
        """The live attempts, by id."""
        self.orphaned: list[str] = []
        """Attempts that the backend has started by itself, of jobs that are not to be retried: to be killed."""

    # Placing and launching

    def place(self, hosts: Sequence[Target], now: float) -> list[tuple[str, Placement]]:
        """Job ids that fit now, with their places, best first; jobs that fit on no host at all become blocked."""
        unplaceable = self.placer.unplaceable(hosts)
        if unplaceable is not None:
            self._states.set_unplaceable(unplaceable)
            if self.placer.shortage:
                self._events.say(f"{self.placer.shortage}: it waits for more")
            self.placer.rebuild_queue()
        excluded = {name: one.since for name, one in self.exclusion.hosts(now).items()}
        return self.placer.place(
            hosts, now, excluded=excluded, tried=self.exclusion.tried if self.exclusion.any_bad else None
        )

    def record_intent(self, launch: Launch) -> None:
        """Record an attempt that is about to be submitted."""
        self._ledger.record_intent(launch.intent)
        self._open(launch.watched, launch.intent.placement, f"on {launch.intent.placement.where}")

    def record_submission(self, result: SubmitResult) -> None:
        """Record what the backend answered; an attempt that it refused never started, and is not charged."""
        if result.refusal:
            for launch in result.launches:
                detail = f"the backend refused it: {result.refusal}"
                refused = AttemptFinding(phase="ended", ending="interrupted", detail=detail)
                self.end(launch.watched, refused, stopping=False, began=False)
            return
        self._deferred.append(lambda: self._ledger.record_tickets(result.tickets))
        for launch in result.launches:
            watched, place = launch.watched, launch.intent.placement
            watched.has_ticket = bool(result.tickets[watched.attempt])
            self._events.log(
                "submitted", attempt=watched.attempt, label=watched.job.label, host=place.where, devices=place.devices
            )
            self._events.emit("submitted", watched.job, watched.attempt)

    def adopt(self, watched: WatchedAttempt, placement: Placement) -> None:
        """Take over an attempt that an earlier controller left."""
        self._open(watched, placement, "left by an earlier controller")
        if watched.running:
            self._move(watched.job, "started")

    def close_unwatched(self, attempt: Attempt, ending: Ending, detail: str = "") -> None:
        """Record the end of an attempt that this run does not watch."""
        self._ledger.record_end(attempt.id, ending, self._clock.time(), detail)

    # What happens to live attempts

    def apply(self, watched: WatchedAttempt, finding: AttemptFinding, *, stopping: bool) -> None:
        """Bring job and attempt to the state that was found; `stopping`: the run is being stopped."""
        job = watched.job
        if finding.phase == "ended":
            self.end(watched, finding, stopping=stopping)
        elif finding.phase == "unknown" and not watched.unknown:
            watched.unknown = True
            self._move(job, "unknown", finding.detail)
            self._events.log("unknown", attempt=watched.attempt, label=job.label, detail=finding.detail)
        elif finding.phase == "running" and (not watched.running or watched.unknown):
            watched.unknown = False
            self._move(job, "started")
            self._start(watched)
        elif finding.phase == "waiting" and (watched.unknown or watched.waiting_reason != finding.detail):
            watched.unknown, watched.waiting_reason = False, finding.detail
            self._move(job, "submitted", finding.detail)
            with contextlib.suppress(OSError):  # for other terminals; the ledger would have a row for each change
                watched.folder.mkdir(parents=True, exist_ok=True)  # after a requeue only the job itself makes it
                (watched.folder / WAITING_FILE).write_text(finding.detail + "\n", encoding="utf-8")

    def end(self, watched: WatchedAttempt, finding: AttemptFinding, *, stopping: bool, began: bool = True) -> None:
        """Record an ending and what follows from it; `began` is false where the backend never took the attempt."""
        job = watched.job
        done = job.fingerprint in self.committed
        ending = self._ending_of(watched, finding, done=done, stopping=stopping)
        failure = failure_of(watched.folder) if ending in ("error", "bad_input", "diverged") else None
        detail, trace = mask(finding.detail, secrets_of(os.environ)), ""
        if failure is not None:
            detail = f"{failure.type}: {failure.message}"
            package = job.workload.partition(".")[0]
            trace = signature(failure.type, failure.message, failure.frames, package)
        checkpoints = JobCheckpoints(self._context.home, job.fingerprint)
        step = step_of(checkpoints.newest(watched.attempt))
        if not done:
            step = max(step, self._context.store.stored_step(job.fingerprint, watched.attempt))
        del self.attempts[watched.attempt]
        self.placer.release(watched.attempt)
        if began:
            self._start(watched)
        point("ending.seen")
        if done:  # first: the next controller repeats it if this one dies before the ending is recorded
            checkpoints.drop()
        elif job.spec.whole_checkpoints and not finding.successor:
            checkpoints.drop_older(KEPT_CHECKPOINTS)
        kind = self._context.store.kind_of(job.fingerprint) if done else ""
        successor, moved = "", True
        with self._ledger.transaction():
            self.flush()
            self._ledger.record_end(
                watched.attempt, ending, self._end_time(watched), detail, step, trace, finding.failed_on
            )
            if done:
                self._ledger.reset_job(job.fingerprint)
                self._record_duration(job, kind)
                self.placer.enqueue(map(self._states.job, self._move(job, "done")))
            else:
                records = {one.id: one for one in self._ledger.attempts(job.fingerprint)}
                record = records.pop(watched.attempt)
                moved = progressed(step, watched.begun, [one.step for one in records.values()])
                after = verdict(
                    ending,
                    self._ledger.charges(job.fingerprint),
                    self._context.settings.retries,
                    progressed=moved,
                    share=_share(job),
                    memory_remedies=job.spec.memory_remedies,
                    detail=detail,
                    short_limit=finding.short_limit,
                )
                self._ledger.record_charges(job.fingerprint, after.charges)
                self._follow(job, after, trace)
                if after.next == "again" and finding.successor and not stopping:
                    successor = finding.successor
                    self._open_successor(job, record, successor, step_of(checkpoints.newest()), after.reason)
                elif after.next == "again":
                    self.placer.enqueue([job])
        if finding.successor and not successor:
            self.orphaned.append(finding.successor)
        counts = began and not finding.short_limit and counts_for_host(ending, moved=moved)
        for host in blamed(watched.hosts, ending, finding.failed_on) if counts else ():
            self.exclusion.add(
                HostEnding(
                    host=host,
                    job=job.fingerprint,
                    label=job.label,
                    ending=ending,
                    signature=trace,
                    detail=detail,
                    began=watched.submitted_at,
                    at=self._clock.monotonic(),
                )
            )
        failed = not done and self._states.state(job.id) == "failed"
        first = self._first_failure.setdefault((job.stage, trace), job.label) if failed and trace else job.label
        self._events.log("ended", attempt=watched.attempt, label=job.label, ending=ending, detail=detail, step=step)
        alike = "" if first == job.label else first
        self._events.emit("ended", job, watched.attempt, ending=ending, detail=detail, alike=alike, watched=watched)
        if failed and not alike:
            self._events.say("\n".join(f"  {line}" for text in trace_of(failure) for line in text.splitlines()))
        if done:
            self._events.emit("done", job, watched.attempt)

    # Jobs

    def mark_failed(self, job: Job, reason: str, trace: str = "") -> None:
        """Record that a job has failed; `trace`: signature of its traceback."""
        self._record_job(job, "failed", reason, trace)
        self._events.notify("failed", job=job.id, label=job.label, stage=job.stage, reason=reason)
        self.update_pauses()

    def cancel(self, job: Job, *, now: bool) -> None:
        """Record that a job is cancelled, and mark its live attempts to be ended; a commit that comes later wins."""
        self.cancel_unplanned(job.fingerprint, job.stage)
        live = [watched for watched in self.attempts.values() if watched.job.id == job.id]
        for watched in live:
            watched.cancel, watched.cancel_sent = "now" if now else "gently", False
        if not live and job.id in self._states:
            self.placer.enqueue(map(self._states.job, self._move(job, "cancelled", CANCELLED)))

    def cancel_unplanned(self, fingerprint: str, stage: Stage) -> None:
        """Record the cancellation of a job that this run does not have; a run that has it finds it in the ledger."""
        self._ledger.record_cancel(fingerprint, stage, self._clock.time())

    def retry(self, fingerprint: str) -> None:
        """Clear a job's failure or cancellation and its charges; the caller calls `after_retries` once for many."""
        self._ledger.reset_job(fingerprint)
        job = self._context.jobs.get(fingerprint)
        if job is None:
            return
        for watched in self.attempts.values():
            if watched.job.id == job.id:
                watched.cancel = ""  # if it ends nevertheless, it was interrupted, and the job is retried
        if job.id in self._states and self._states.state(job.id) in STUCK:
            self._move(job, "again", "requested by `echo-matrix retry`")

    def after_retries(self) -> None:
        """Bring pauses and queue up to date."""
        self.update_pauses()
        self.placer.rebuild_queue()

    def update_pauses(self, *, at_start: bool = False) -> None:
        """Pause the stages in which enough jobs have failed in the same way, and no other; announce a new pause once.

        `at_start`: an earlier run has sent the notifications.
        """
        limit = self._context.settings.pause_after
        records = self._ledger.job_records().values()
        before, self.paused = self.paused, paused_of(records, self._context.jobs.keys(), limit)
        self._states.pause(self.paused)
        for stage, why in self.paused.items():
            if stage not in before:
                self._events.say(f"stage {stage} is paused: {why}")
                self._events.log("paused", stage=stage, reason=why)
                if not at_start:
                    self._events.notify("paused", stage=stage, reason=why)

    # The ledger

    def flush(self) -> None:
        """Write what was deferred."""
        if self._deferred:
            writes, self._deferred = self._deferred, []
            with self._ledger.transaction():
                for write in writes:
                    write()

    def _open(self, watched: WatchedAttempt, placement: Placement, reason: str) -> None:
        self.attempts[watched.attempt] = watched
        watched.hosts = placement.hosts
        self.placer.reserve(watched.attempt, watched.job, placement, watched.submitted_at)
        self._move(watched.job, "submitted", reason)

    def _ending_of(self, watched: WatchedAttempt, finding: AttemptFinding, *, done: bool, stopping: bool) -> Ending:
        ending = finding.ending or "vanished"
        if done or ending == "ok":
            return ending
        if watched.cancel:
            return "cancelled"
        # What ends while the run is being stopped says nothing about the job.
        return "interrupted" if stopping and ending not in ("bad_input", "diverged") else ending

    def _follow(self, job: Job, after: Verdict, trace: str) -> None:
        """Bring the job of an ended attempt to the state that follows."""
        match after.next:
            case "done":
                raise AssertionError("without a commit no job is done")
            case "failed":
                self.mark_failed(job, after.reason, trace)
            case "cancelled":
                self._record_job(job, "cancelled", after.reason, trace)
            case "again":
                self._move(job, "again", after.reason)

    def _open_successor(self, job: Job, record: Attempt, attempt: str, begun: int, reason: str) -> None:
        """Open the attempt as which the backend has restarted the job of `record`, in the same place."""
        fresh: dict[str, Any] = {
            "started": None,
            "ended": None,
            "ending": None,
            "detail": "",
            "step": -1,
            "signature": "",
        }
        self._ledger.record_intent(replace(record, id=attempt, intended=self._clock.time(), begun=begun, **fresh))
        folder = attempt_folder(self._context.home, job.fingerprint, attempt)
        now = self._clock.monotonic()
        after = WatchedAttempt(attempt=attempt, job=job, folder=folder, begun=begun, submitted_at=now)
        self._open(after, record.placement, reason)

    def _move(self, job: Job, kind: Kind, reason: str = "") -> tuple[str, ...]:
        """Change the state of a job; returns the jobs that became ready by it."""
        return self._states.apply(Transition(job=job.id, kind=kind, reason=reason))

    def _record_job(self, job: Job, state: Literal["failed", "cancelled"], reason: str, trace: str) -> None:
        record = JobRecord(
            fingerprint=job.fingerprint,
            state=state,
            reason=reason,
            stage=job.stage,
            signature=trace,
            at=self._clock.time(),
        )
        self._ledger.record_job(record)
        self.placer.enqueue(map(self._states.job, self._move(job, state, reason)))

    def _record_duration(self, job: Job, kind: str) -> None:
        """Record how long a job took that has just ended well, on this kind of device."""
        seconds = running_s(self._ledger.attempts(job.fingerprint))
        if seconds is None:
            return
        duration = self._context.duration_of(job, seconds, kind)
        self._ledger.record_duration(duration)
        self._context.forecaster.add(duration)

    def _start(self, watched: WatchedAttempt) -> None:
        if not watched.running:
            watched.running = True
            at = self._clock.time()
            watched.started_at = at, self._clock.monotonic()
            self._deferred.append(lambda: self._ledger.record_start(watched.attempt, at))
            self._events.emit("started", watched.job, watched.attempt)

    def _end_time(self, watched: WatchedAttempt) -> float:
        """Now, seconds since 1970, by a clock that did not jump since the attempt started: durations are measured."""
        if watched.started_at is None:
            return self._clock.time()
        at, since = watched.started_at
        return at + (self._clock.monotonic() - since)


def _share(job: Job) -> int | None:
    try:
        return share(job)
    except OrchestratorError:
        return None
