"""What one driver does in a tick: poll, book what ended, place what fits, book the intentions, submit.

An attempt's row is on disk before the backend hears of it. What need not be on disk at once
(tickets, starts) waits for the next transaction or the next second, because each costs the disk.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from orchestrator.backends.protocol import Backend, Placement, Report, Submission
from orchestrator.errors import BackendError, OrchestratorError
from orchestrator.host.processes import end_leftovers
from orchestrator.plan.job import Job, Plan
from orchestrator.schedule import ask, inbox
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.failures import Retries, signature, verdict
from orchestrator.schedule.interruption import Interruption
from orchestrator.schedule.ledger import Attempt, JobNote, Ledger
from orchestrator.schedule.placing import Placer
from orchestrator.schedule.requests import (
    ExecutionSettings,
    attempt_folder,
    build_submission,
    drop_checkpoints,
    new_attempt_id,
    newest_checkpoint,
    newest_step,
    share,
)
from orchestrator.schedule.state import STUCK, Board, Change
from orchestrator.schedule.teller import Teller
from orchestrator.schedule.watch import Finding, Watch, look
from orchestrator.store.protocol import Store
from workloads.contract.result import Failure, read_result

SHORTEST_REST_S = 0.02
LONGEST_REST_S = 0.5
REFUSED_REST_S = 5.0
"""Rest after the backend refused to start anything."""


class ClusterSettings(ExecutionSettings, Protocol):
    """What the loop takes from cluster/*.yaml."""

    @property
    def retries(self) -> Retries:
        """Budgets."""

    @property
    def pause_after(self) -> int:
        """Jobs that fail alike pause their stage."""

    @property
    def unknown_s(self) -> float:
        """How long only unknown attempts are waited for."""


class Driver:
    """The loop's hands: `begin`, then `drive` if `has_work`."""

    def __init__(
        self,
        *,
        plan: Plan,
        board: Board,
        committed: set[str],
        home: Path,
        store: Store,
        ledger: Ledger,
        cluster: ClusterSettings,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self._plan = plan
        self._of_fingerprint = {job.fingerprint: job for job in plan.jobs.values()}
        self._board = board
        self._committed = committed
        self._home = home
        self._store = store
        self._ledger = ledger
        self._cluster = cluster
        self._clock = clock
        self._teller = teller
        self._placer = Placer(board, ledger.mean_seconds)
        self._watches: dict[str, Watch] = {}
        self._attempted = ledger.attempt_counts()
        self._open = ledger.open_attempts()
        self._later: list[Callable[[], None]] = []
        self._interruption = Interruption(cluster.grace_s)
        self._only_unknown_since: float | None = None
        self._refused_until = float("-inf")
        self._rest_s = SHORTEST_REST_S
        self.submitted = 0
        """Attempts this driver has started."""
        self.note = ""
        """Why it ended with work left."""

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._interruption.asked

    def interrupt(self) -> None:
        """Ask for the end: gently the first time, at once the second. Safe in a signal handler."""
        self._interruption.ask()

    def has_work(self) -> bool:
        """Whether any job could be started now; if not, nothing can change by running."""
        return self._board.any_ready()

    def begin(self) -> None:
        """Book what was left in the inbox, and open attempts of jobs that are done; no backend is needed.

        A note to interrupt was meant for an earlier driver.
        """
        notes = inbox.read(self._home)
        self._book_notes([note for note in notes if note.verb != "interrupt"], None)
        inbox.drop(notes)
        self._pause()
        for attempt in [attempt for attempt in self._open if attempt.fingerprint in self._committed]:
            won = self._store.read(attempt.fingerprint).attempt == attempt.id
            ending, detail = ("ok", "") if won else ("interrupted", "another attempt of the job was first")
            self._ledger.ended(attempt.id, ending, self._clock.time(), detail)
            self._open.remove(attempt)

    def drive(self, backend_factory: Callable[[], Backend]) -> None:
        """Run until nothing more can be done, or an interrupt has been carried out."""
        backend = backend_factory()
        try:
            self._settle_leftovers(backend)
            self._placer.renew()
            while self._tick(backend):
                self._clock.sleep(self._rest_s)
            self._book_later()
        finally:
            backend.close()

    def failures(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """Jobs that stand as failed: label, reason, and the words of the newest result."""
        found: list[tuple[str, str, tuple[str, ...]]] = []
        for job_id in self._board.open_jobs():
            if self._board.state(job_id) != "failed":
                continue
            job = self._board.job(job_id)
            attempts = self._ledger.attempts(job.fingerprint)
            failure = self._failure(job, attempts[-1].id) if attempts else None
            lines = () if failure is None else (f"{failure.type}: {failure.message}", *reversed(failure.frames[-3:]))
            found.append((job.label, self._board.standing(job_id).reason, lines))
        return tuple(found)

    # The tick

    def _tick(self, backend: Backend) -> bool:
        """One round; False: there is nothing left to wait for."""
        noted = self._take_notes(backend)
        self._carry_out_interrupt(backend)
        reports = self._poll(backend)
        now = self._clock.monotonic()
        findings = self._findings(reports, now)
        ended = any(finding.what == "ended" for _, finding in findings)
        submissions: list[Submission] = []
        with self._ledger.transaction() if ended or self._may_place(now) else contextlib.nullcontext():
            for watch, finding in findings:
                self._book(watch, finding)
            if self._may_place(now):
                submissions = self._intend(self._placer.place(backend.hosts()))
            if ended or submissions:
                self._book_later()
        self._submit(backend, submissions)
        if self._teller.tick_due(now):
            self._book_later()
            self._teller.tick(self._watches.values(), self._ledger.mean_seconds(), now)
        longest = max(LONGEST_REST_S, len(self._watches) / 1000.0)
        busy = noted or ended or bool(submissions)
        self._rest_s = SHORTEST_REST_S if busy else min(longest, self._rest_s * 1.5)
        return self._goes_on(now)

    def _goes_on(self, now: float) -> bool:
        if self._interruption.stopping:
            if self._interruption.given_up(now):
                for watch in list(self._watches.values()):
                    self._end(watch, Finding(what="ended", ending="interrupted", detail="did not answer the kill"))
            return bool(self._watches)
        if not self._watches and not self._board.any_ready():
            return False
        moving = any(not watch.unknown for watch in self._watches.values())
        if moving or (self._board.any_ready() and self._placer.has_hosts):
            self._only_unknown_since = None
            return True
        if self._only_unknown_since is None:
            self._only_unknown_since = now
        if now - self._only_unknown_since < self._cluster.unknown_s:
            return True
        what = f"{len(self._watches)} attempts are unknown" if self._watches else "the backend has no hosts"
        self.note = (
            f"for {self._cluster.unknown_s:g} s {what} and nothing else can go on; see `echo-matrix doctor`, "
            "then `run` again: it takes up what is left"
        )
        self._teller.say(self.note)
        return False

    def _poll(self, backend: Backend) -> Mapping[str, Report]:
        try:
            return backend.poll() if self._watches else {}
        except BackendError as error:
            self._teller.log("poll failed", error=str(error))
            silent = "the backend does not answer"
            return {attempt: Report(attempt=attempt, phase="unknown", detail=silent) for attempt in self._watches}

    def _findings(self, reports: Mapping[str, Report], now: float) -> list[tuple[Watch, Finding]]:
        told = [reports.get(attempt) for attempt in self._watches]
        if any(report is None or report.phase in ("ended", "missing") for report in told):
            self._committed |= self._store.commits()
        stopping = self._interruption.stopping
        return [
            (watch, look(watch, report, now, committed=watch.job.fingerprint in self._committed, stopping=stopping))
            for watch, report in zip(self._watches.values(), told, strict=True)
        ]

    # Booking

    def _book(self, watch: Watch, finding: Finding) -> None:
        """Bring board and ledger to what was found."""
        job = watch.job
        if finding.what == "ended":
            self._end(watch, finding)
        elif finding.what == "unknown" and not watch.unknown:
            watch.unknown = True
            self._board.apply(Change(job=job.id, kind="unknown", reason=finding.detail))
            self._teller.log("unknown", attempt=watch.attempt, label=job.label, detail=finding.detail)
        elif finding.what == "running" and (not watch.running or watch.unknown):
            watch.unknown = False
            self._board.apply(Change(job=job.id, kind="started"))
            self._start(watch)
        elif finding.what == "waiting" and watch.unknown:
            watch.unknown = False
            self._board.apply(Change(job=job.id, kind="submitted", reason=finding.detail))

    def _start(self, watch: Watch) -> None:
        if not watch.running:
            watch.running = True
            at = self._clock.time()
            self._later.append(lambda: self._ledger.started(watch.attempt, at))
            self._teller.event("started", watch.job, watch.attempt)

    def _end(self, watch: Watch, finding: Finding, *, began: bool = True) -> None:
        """Book an ending and what follows from it; `began` is false where the backend never took it."""
        job, ending = watch.job, finding.ending or "vanished"
        done = job.fingerprint in self._committed
        if not done and ending != "ok":
            if watch.cancelled:
                ending = "cancelled"
            elif self._interruption.stopping and ending != "bad_input":
                ending = "interrupted"  # what ends while we stop it says nothing about the job
        failure = self._failure(job, watch.attempt) if ending in ("error", "bad_input") else None
        detail = finding.detail if failure is None else f"{failure.type}: {failure.message}"
        same = "" if failure is None else signature(failure.type, failure.message, failure.frames)
        step = newest_step(self._home, job.fingerprint, watch.attempt)
        del self._watches[watch.attempt]
        self._placer.give(watch.attempt)
        if began:
            self._start(watch)
        with self._ledger.transaction():
            self._book_later()
            self._ledger.ended(watch.attempt, ending, self._clock.time(), detail, step, same)
            if done:
                self._ledger.forgive(job.fingerprint)
                self._placer.add(map(self._board.job, self._board.apply(Change(job=job.id, kind="done"))))
            else:
                after = verdict(
                    ending,
                    self._ledger.charges(job.fingerprint),
                    self._cluster.retries,
                    progressed=step > watch.begun,
                    share=_share(job),
                    detail=detail,
                )
                assert after.next != "done", "without a COMMIT nothing is done"
                self._ledger.charge(job.fingerprint, after.charges)
                if after.next == "again":
                    self._board.apply(Change(job=job.id, kind="again", reason=after.reason))
                    self._placer.add([job])
                else:
                    self._hold_against(job, after.next, after.reason, same)
        self._teller.log("ended", attempt=watch.attempt, label=job.label, ending=ending, detail=detail, step=step)
        self._teller.event("ended", job, watch.attempt, ending=ending, detail=detail)
        if done:
            drop_checkpoints(self._home, job.fingerprint)
            self._teller.event("done", job, watch.attempt)

    def _hold_against(self, job: Job, state: Literal["failed", "cancelled"], reason: str, same: str = "") -> None:
        self._ledger.note(
            JobNote(
                fingerprint=job.fingerprint,
                state=state,
                reason=reason,
                stage=job.stage,
                signature=same,
                at=self._clock.time(),
            )
        )
        self._board.apply(Change(job=job.id, kind=state, reason=reason))
        if state == "failed":
            self._pause()

    def _pause(self) -> None:
        self._board.pause(self._ledger.paused(self._cluster.pause_after))

    def _book_later(self) -> None:
        """Write what could wait."""
        if self._later:
            with self._ledger.transaction():
                for act in self._later:
                    act()
            self._later = []

    # Starting

    def _may_place(self, now: float) -> bool:
        return not self._interruption.stopping and now >= self._refused_until and self._board.any_ready()

    def _intend(self, placed: Sequence[tuple[str, Placement]]) -> list[Submission]:
        """Book attempts that are about to be submitted."""
        submissions: list[Submission] = []
        for job_id, placement in placed:
            job = self._board.job(job_id)
            number = self._attempted.get(job.fingerprint, 0) + 1
            attempt = new_attempt_id(number)
            resume = newest_checkpoint(self._home, job.fingerprint) if number > 1 else None
            try:
                submission = build_submission(
                    job,
                    self._plan,
                    placement,
                    attempt=attempt,
                    home=self._home,
                    settings=self._cluster,
                    accumulate=self._ledger.charges(job.fingerprint).accumulate,
                    resume=resume,
                )
            except OrchestratorError as error:
                self._hold_against(job, "failed", str(error))
                continue
            begun = -1 if resume is None else resume.step
            folder = attempt_folder(self._home, job.fingerprint, attempt)
            folder.mkdir(parents=True)
            self._attempted[job.fingerprint] = number
            self._ledger.intend(
                Attempt(
                    id=attempt,
                    fingerprint=job.fingerprint,
                    job=job.id,
                    label=job.label,
                    stage=job.stage,
                    backend=placement.host,
                    intended=self._clock.time(),
                    begun=begun,
                )
            )
            self._watches[attempt] = Watch(
                attempt=attempt, job=job, folder=folder, begun=begun, since=self._clock.monotonic()
            )
            self._placer.take(attempt, job, placement)
            self._board.apply(Change(job=job.id, kind="submitted", reason=f"on {placement.host}"))
            submissions.append(submission)
        return submissions

    def _submit(self, backend: Backend, submissions: Sequence[Submission]) -> None:
        if not submissions:
            return
        try:
            tickets = dict(backend.submit(submissions))
        except BackendError as error:
            if len(submissions) > 1:  # one of them may be what is refused
                for submission in submissions:
                    self._submit(backend, [submission])
                return
            self._refused_until = self._clock.monotonic() + REFUSED_REST_S
            watch = self._watches[submissions[0].attempt]
            refused = Finding(what="ended", ending="interrupted", detail=f"the backend refused it: {error}")
            self._end(watch, refused, began=False)
            return
        self._later.append(lambda: self._ledger.ticketed(tickets))
        self.submitted += len(tickets)
        for submission in submissions:
            job, place = self._board.job(submission.job), submission.placement
            self._teller.log(
                "submitted", attempt=submission.attempt, label=job.label, host=place.host, devices=place.devices
            )
            self._teller.event("submitted", job, submission.attempt)

    # What others want, and what an earlier driver left

    def _take_notes(self, backend: Backend) -> bool:
        notes = inbox.read(self._home)
        if notes:
            self._book_notes(notes, backend)
            inbox.drop(notes)
        return bool(notes)

    def _book_notes(self, notes: Sequence[inbox.Note], backend: Backend | None) -> None:
        for note in notes:
            self._teller.log("note", verb=note.verb, jobs=note.jobs)
            if note.verb == "interrupt":
                self.interrupt()
                continue
            for fingerprint in note.jobs:
                job = self._of_fingerprint.get(fingerprint)
                if job is None or fingerprint in self._committed:
                    continue
                if note.verb == "cancel":
                    self._cancel(job, backend)
                else:
                    self._retry(job)
            if note.verb == "retry":
                self._pause()
                self._placer.renew()

    def _cancel(self, job: Job, backend: Backend | None) -> None:
        ask.book_cancel(self._ledger, job, self._clock.time())
        live = [watch for watch in self._watches.values() if watch.job.id == job.id]
        for watch in live:
            watch.cancelled = True
        if live and backend is not None:
            backend.kill([watch.attempt for watch in live])
        elif job.id in self._board:
            self._board.apply(Change(job=job.id, kind="cancelled", reason=ask.CANCELLED))

    def _retry(self, job: Job) -> None:
        self._ledger.forgive(job.fingerprint)
        if job.id in self._board and self._board.state(job.id) in STUCK:
            self._board.apply(Change(job=job.id, kind="again", reason="asked for by `echo-matrix retry`"))

    def _carry_out_interrupt(self, backend: Backend) -> None:
        act, live = self._interruption.next_act(self._clock.monotonic()), list(self._watches)
        if act is None:
            return
        self._teller.log(act, attempts=len(live))
        if act == "kill":
            backend.kill(live)
        elif live:
            self._teller.say(
                f"stopping {len(live)} attempts at a checkpoint (up to {self._cluster.grace_s:g} s); "
                "Ctrl-C again ends them at once; either way `run` goes on from there"
            )
            backend.stop(live)

    def _settle_leftovers(self, backend: Backend) -> None:
        """What an earlier driver left open: adopted where the backend outlives drivers, else ended and booked."""
        for attempt in self._open:
            job = self._of_fingerprint.get(attempt.fingerprint)
            folder = attempt_folder(self._home, attempt.fingerprint, attempt.id)
            watch = None
            if job is not None and job.id in self._board and self._board.state(job.id) not in STUCK:
                watch = Watch(
                    attempt=attempt.id, job=job, folder=folder, begun=attempt.begun, since=self._clock.monotonic()
                )
                watch.running = attempt.started is not None
                self._watches[attempt.id] = watch
                self._board.apply(Change(job=job.id, kind="submitted", reason="left by an earlier driver"))
            if backend.outlives_driver:
                continue
            gone = end_leftovers(folder)
            self._teller.log("leftover", attempt=attempt.id, label=attempt.label, gone=gone)
            if watch is not None:
                self._end(watch, Finding(what="ended", ending="interrupted", detail="its driver has died"))
            else:
                self._ledger.ended(attempt.id, "interrupted", self._clock.time(), "its driver has died")
        self._open = []

    def _failure(self, job: Job, attempt: str) -> Failure | None:
        with contextlib.suppress(OSError, ValueError):
            return read_result(attempt_folder(self._home, job.fingerprint, attempt) / "result.json").error
        return None


def _share(job: Job) -> int | None:
    try:
        return share(job)
    except OrchestratorError:
        return None
