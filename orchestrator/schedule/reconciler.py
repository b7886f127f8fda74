"""The driver's books: board, ledger and places, kept in step with what became of the attempts.

What need not be on disk at once (tickets, starts) waits for the next transaction or the next
second, because each transaction costs the disk.
"""

import contextlib
import os
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from orchestrator.backends.protocol import Placement
from orchestrator.errors import OrchestratorError
from orchestrator.host.checkpoints import (
    attempt_folder,
    drop_checkpoints,
    drop_older_checkpoints,
    newest_checkpoint,
    newest_step,
)
from orchestrator.plan.job import Job
from orchestrator.schedule.attempt_monitor import WAITS, Finding, Watch
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.failed import FailedJob, failed_of, failure_of, paused_of, trace_of
from orchestrator.schedule.host_exclusion import Avoidance, Avoided, Ended, counts, sentence
from orchestrator.schedule.job_states import Board, Change
from orchestrator.schedule.ledger.database import JobNote, Ledger
from orchestrator.schedule.placing import Placer
from orchestrator.schedule.requests import share
from orchestrator.schedule.retry_policy import Retries, progressed, signature, verdict
from orchestrator.schedule.teller import Teller
from workloads.contract.request import Stage
from workloads.runtime.fault_points import point
from workloads.runtime.masking import mask, secrets_of

KEPT = 2
"""Newest checkpoints of a training that stay while it is not done: one could be damaged."""


class Books:
    """Where every attempt stands, in memory and on disk.

    Args (keyword only):
        board, ledger, placer, avoidance: what is kept in step.
        committed: fingerprints of done jobs; grows.
        known: fingerprints of all jobs of the plan; others' failures pause nothing.
        home: `outputs/{study}`.
        retries: budgets.
        pause_after: jobs that fail alike pause their stage.
    """

    def __init__(
        self,
        *,
        board: Board,
        ledger: Ledger,
        placer: Placer,
        avoidance: Avoidance,
        committed: set[str],
        known: Container[str],
        home: Path,
        retries: Retries,
        pause_after: int,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self._board = board
        self._ledger = ledger
        self._placer = placer
        self._avoidance = avoidance
        self._noted: Mapping[str, Avoided] = {}
        self._said: set[str] = set()
        self._known = known
        self._home = home
        self._retries = retries
        self._pause_after = pause_after
        self._clock = clock
        self._teller = teller
        self._later: list[Callable[[], None]] = []
        self._first: dict[tuple[Stage, str], str] = {}
        self.paused: Mapping[Stage, str] = {}
        """Stages that are paused, with the reason."""
        self.committed = committed
        """Fingerprints of done jobs."""
        self.watches: dict[str, Watch] = {}
        """The live attempts."""
        self.unwanted: list[str] = []
        """Attempts that the backend has started by itself, of jobs that are not to go on."""

    def open(self, watch: Watch, placement: Placement, reason: str) -> None:
        """Take in a live attempt: submitted now, or left by an earlier driver."""
        self.watches[watch.attempt] = watch
        watch.host = placement.host
        self._placer.take(watch.attempt, watch.job, placement)
        self._board.apply(Change(job=watch.job.id, kind="submitted", reason=reason))

    def book(self, watch: Watch, finding: Finding, *, stopping: bool) -> None:
        """Bring board and ledger to what was found; `stopping`: the run is being interrupted."""
        job = watch.job
        if finding.what == "ended":
            self.end(watch, finding, stopping=stopping)
        elif finding.what == "unknown" and not watch.unknown:
            watch.unknown = True
            self._board.apply(Change(job=job.id, kind="unknown", reason=finding.detail))
            self._teller.log("unknown", attempt=watch.attempt, label=job.label, detail=finding.detail)
        elif finding.what == "running" and (not watch.running or watch.unknown):
            watch.unknown = False
            self._board.apply(Change(job=job.id, kind="started"))
            self._start(watch)
        elif finding.what == "waiting" and (watch.unknown or watch.waits != finding.detail):
            watch.unknown, watch.waits = False, finding.detail
            self._board.apply(Change(job=job.id, kind="submitted", reason=finding.detail))
            with contextlib.suppress(OSError):  # for other terminals; the ledger would have a row for each change
                watch.folder.mkdir(parents=True, exist_ok=True)  # its job makes it when it begins, after a requeue
                (watch.folder / WAITS).write_text(finding.detail + "\n", encoding="utf-8")

    def end(self, watch: Watch, finding: Finding, *, stopping: bool, began: bool = True) -> None:
        """Book an ending and what follows from it; `began` is false where the backend never took it."""
        job, ending = watch.job, finding.ending or "vanished"
        done = job.fingerprint in self.committed
        if not done and ending != "ok":
            if watch.cancelled:
                ending = "cancelled"
            elif stopping and ending != "bad_input":
                ending = "interrupted"  # what ends while we stop it says nothing about the job
        failure = failure_of(watch.folder) if ending in ("error", "bad_input") else None
        detail = (
            mask(finding.detail, secrets_of(os.environ)) if failure is None else f"{failure.type}: {failure.message}"
        )
        same = "" if failure is None else signature(failure.type, failure.message, failure.frames)
        step = newest_step(self._home, job.fingerprint, watch.attempt)
        del self.watches[watch.attempt]
        self._placer.give(watch.attempt)
        if began:
            self._start(watch)
        point("ending.seen")
        if done:  # first: a driver that dies before it has booked this comes by here again
            drop_checkpoints(self._home, job.fingerprint)
        elif job.spec.whole_checkpoints and not finding.successor:
            drop_older_checkpoints(self._home, job.fingerprint, KEPT)
        successor = finding.successor
        moved = done or progressed(step, watch.begun, self._earlier_steps(watch))
        with self._ledger.transaction():
            self.write_later()
            self._ledger.ended(watch.attempt, ending, self._end_of(watch), detail, step, same)
            if done:
                self._ledger.forgive(job.fingerprint)
                self._placer.add(map(self._board.job, self._board.apply(Change(job=job.id, kind="done"))))
            else:
                after = verdict(
                    ending,
                    self._ledger.charges(job.fingerprint),
                    self._retries,
                    progressed=moved,
                    share=_share(job),
                    detail=detail,
                )
                assert after.next != "done", "without a COMMIT nothing is done"
                self._ledger.charge(job.fingerprint, after.charges)
                if after.next == "again":
                    self._board.apply(Change(job=job.id, kind="again", reason=after.reason))
                    if successor and not stopping:
                        self._succeed(watch, successor, after.reason)
                        successor = ""
                    else:
                        self._placer.add([job])
                else:
                    self.hold_against(job, after.next, after.reason, same)
        if successor:
            self.unwanted.append(successor)
        if began and counts(ending, moved=moved):
            self._avoidance.add(
                Ended(
                    host=watch.host,
                    job=job.fingerprint,
                    label=job.label,
                    ending=ending,
                    signature=same,
                    detail=detail,
                    began=watch.since,
                    at=self._clock.monotonic(),
                )
            )
        failed = not done and self._board.state(job.id) == "failed"
        first = self._first.setdefault((job.stage, same), job.label) if failed and same else job.label
        self._teller.log("ended", attempt=watch.attempt, label=job.label, ending=ending, detail=detail, step=step)
        alike = "" if first == job.label else first
        self._teller.event("ended", job, watch.attempt, ending=ending, detail=detail, alike=alike)
        if failed and not alike:
            self._teller.say("\n".join(f"  {line}" for text in trace_of(failure) for line in text.splitlines()))
        if done:
            self._teller.event("done", job, watch.attempt)

    def hold_against(self, job: Job, state: Literal["failed", "cancelled"], reason: str, same: str = "") -> None:
        """Book that a job has failed or was cancelled."""
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
            self._teller.tell("failed", job=job.id, label=job.label, stage=job.stage, reason=reason)
            self.pause()

    def tell_avoided(self) -> None:
        """Log which hosts are avoided from now on or no longer, and say it once where there is a choice."""
        now = self._clock.monotonic()
        before, self._noted = self._noted, self._avoidance.hosts(now)
        for host, one in self._noted.items():
            if host not in before:
                self._teller.log("avoiding", host=host, jobs=one.labels, why=one.why, seconds=round(one.until - now))
            if host not in self._said and self._placer.has_choice:
                self._said.add(host)
                self._teller.say(sentence(one, now))
        for host in before:
            if host not in self._noted:
                self._said.discard(host)
                self._teller.log("used again", host=host)

    def pause(self, *, from_before: bool = False) -> None:
        """Pause the stages in which enough jobs have failed alike, and no other; what is new is told once.

        `from_before`: it was told when it happened, in an earlier run.
        """
        before, self.paused = self.paused, paused_of(self._ledger.notes().values(), self._known, self._pause_after)
        self._board.pause(self.paused)
        for stage, why in self.paused.items():
            if stage not in before:
                self._teller.say(f"stage {stage} is paused: {why}")
                self._teller.log("paused", stage=stage, reason=why)
                if not from_before:
                    self._teller.tell("paused", stage=stage, reason=why)

    def later(self, act: Callable[[], None]) -> None:
        """Write something with the next transaction."""
        self._later.append(act)

    def write_later(self) -> None:
        """Write what could wait."""
        if self._later:
            acts, self._later = self._later, []
            with self._ledger.transaction():
                for act in acts:
                    act()

    def failures(self) -> tuple[FailedJob, ...]:
        """Jobs that stand as failed, in the plan's order, with the words of the newest result."""
        failed = [self._board.job(job) for job in self._board.open_jobs() if self._board.state(job) == "failed"]
        found: list[tuple[Job, str, Path | None]] = []
        for job in failed:
            attempts = self._ledger.attempts(job.fingerprint)
            newest = attempt_folder(self._home, job.fingerprint, attempts[-1].id) if attempts else None
            found.append((job, self._board.standing(job.id).reason, newest))
        return failed_of(found, self._ledger.notes())

    def _earlier_steps(self, watch: Watch) -> list[int]:
        attempts = self._ledger.attempts(watch.job.fingerprint)
        return [attempt.step for attempt in attempts if attempt.id != watch.attempt]

    def _succeed(self, watch: Watch, attempt: str, reason: str) -> None:
        """Take in the attempt as which the backend has started the job of an ended one again."""
        job = watch.job
        (earlier,) = [one for one in self._ledger.attempts(job.fingerprint) if one.id == watch.attempt]
        newest = newest_checkpoint(self._home, job.fingerprint)
        begun = -1 if newest is None else newest.step
        now = self._clock.time()
        self._ledger.intend(
            replace(
                earlier,
                id=attempt,
                intended=now,
                started=None,
                ended=None,
                ending=None,
                detail="",
                begun=begun,
                step=-1,
                signature="",
            )
        )
        folder = attempt_folder(self._home, job.fingerprint, attempt)
        after = Watch(attempt=attempt, job=job, folder=folder, begun=begun, since=self._clock.monotonic())
        self.open(after, earlier.placement, reason)

    def _start(self, watch: Watch) -> None:
        if not watch.running:
            watch.running = True
            at = self._clock.time()
            watch.ran_since = at, self._clock.monotonic()
            self.later(lambda: self._ledger.started(watch.attempt, at))
            self._teller.event("started", watch.job, watch.attempt)

    def _end_of(self, watch: Watch) -> float:
        """Now, seconds since 1970, by a clock that did not jump since the attempt began: durations are measured."""
        if watch.ran_since is None:
            return self._clock.time()
        at, since = watch.ran_since
        return at + (self._clock.monotonic() - since)


def _share(job: Job) -> int | None:
    try:
        return share(job)
    except OrchestratorError:
        return None
