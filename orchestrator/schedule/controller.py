"""What one driver does in a tick: poll, book what ended, place what fits, book the intentions, submit.

An attempt's row is on disk before the backend hears of it (`starting`); what is believed of it is for `evidence`,
and what became of it is booked by `books`. What an earlier driver left is for `leftovers`.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.backends.protocol import Autoscaling, Backend, Report, Submission
from orchestrator.errors import BackendError, BackendSilent, LedgerError, StoreError
from orchestrator.plan.job import Plan
from orchestrator.schedule.attempt_monitor import Finding
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.control.handling import Wishes
from orchestrator.schedule.failed import FailedJob
from orchestrator.schedule.host_exclusion import Avoidance, endings_of
from orchestrator.schedule.job_states import Board
from orchestrator.schedule.launcher import Starter
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.observation import Evidence
from orchestrator.schedule.placement import Target, targets
from orchestrator.schedule.placing import Placer
from orchestrator.schedule.reconciler import Books
from orchestrator.schedule.recovery import Leftovers
from orchestrator.schedule.requests import ExecutionSettings
from orchestrator.schedule.resilient_store import Patience
from orchestrator.schedule.retry_policy import Retries
from orchestrator.schedule.shutdown import STOP_SLACK_S, Interruption
from orchestrator.schedule.teller import Teller
from workloads.contract.request import Stage
from workloads.runtime.fault_points import point

SHORTEST_REST_S = 0.02
LONGEST_REST_S = 0.5


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

    @property
    def avoid_s(self) -> float:
        """How long a host with two endings without progress is avoided."""

    @property
    def on_event(self) -> str | None:
        """The user's command that is told what happens."""


class Driver:
    """The loop's hands: `begin`, then `drive` if `has_work`."""

    def __init__(
        self,
        *,
        plan: Plan,
        board: Board,
        committed: set[str],
        home: Path,
        store: Patience,
        ledger: Ledger,
        cluster: ClusterSettings,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self._of_fingerprint = {job.fingerprint: job for job in plan.jobs.values()}
        self._board = board
        self._store = store
        self._ledger = ledger
        self._cluster = cluster
        self._clock = clock
        self._teller = teller
        self._avoidance = Avoidance(cluster.avoid_s)
        self._placer = Placer(board, ledger.mean_seconds, self._avoidance)
        self._books = Books(
            board=board,
            ledger=ledger,
            placer=self._placer,
            avoidance=self._avoidance,
            committed=committed,
            known=self._of_fingerprint.keys(),
            home=home,
            retries=cluster.retries,
            pause_after=cluster.pause_after,
            clock=clock,
            teller=teller,
        )
        self._starter = Starter(
            plan=plan,
            board=board,
            books=self._books,
            ledger=ledger,
            home=home,
            settings=cluster,
            clock=clock,
            teller=teller,
        )
        self._leftovers = Leftovers(
            jobs=self._of_fingerprint,
            board=board,
            books=self._books,
            home=home,
            store=store,
            ledger=ledger,
            clock=clock,
            teller=teller,
        )
        self._evidence = Evidence(self._books, store, lambda: self.interrupted)
        self._interruption = Interruption(cluster.grace_s)
        self._wishes = Wishes(
            home=home,
            jobs=self._of_fingerprint,
            board=board,
            books=self._books,
            ledger=ledger,
            renew=self._placer.renew,
            interruption=self._interruption,
            grace_s=cluster.grace_s,
            clock=clock,
            teller=teller,
        )
        self._ended_badly: list[tuple[str, str, str]] = []
        self._only_unknown_since: float | None = None
        self._rest_s = SHORTEST_REST_S
        self.note = ""
        """Why it ended with work left."""
        self.drove = False
        """Whether a backend was asked for anything."""

    @property
    def submitted(self) -> int:
        """Attempts this driver has started."""
        return self._starter.submitted

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._interruption.asked

    def interrupt(self) -> None:
        """Ask for the end: gently the first time, at once the second. Safe in a signal handler."""
        self._interruption.ask()

    def leave(self) -> None:
        """Ask for the end of this process: attempts of a backend that outlives it go on. Safe in a signal handler."""
        self._interruption.leave()

    def has_work(self) -> bool:
        """Whether any job could be started now, or an attempt is to be ended; if not, nothing can change by running."""
        return self._board.any_ready() or self._leftovers.any_unwanted()

    def failures(self) -> tuple[FailedJob, ...]:
        """Jobs that stand as failed, in the plan's order, with the words of the newest result."""
        return self._books.failures()

    def paused(self) -> Mapping[Stage, str]:
        """Stages that are paused, with the reason."""
        return self._books.paused

    def begin(self) -> None:
        """Book what was left in the inbox, and open attempts of jobs that are done; no backend is needed."""
        self._wishes.begin()
        self._books.pause(from_before=True)
        self._leftovers.book_done(lambda: self.interrupted)

    def drive(self, backend_factory: Callable[[], Backend]) -> None:
        """Run until nothing more can be done, or an interrupt has been carried out."""
        self.drove = True
        backend = backend_factory()
        try:
            now = self._clock.monotonic()
            self._avoidance.load(endings_of(self._ledger.attempts(), self._clock.time(), now), now)
            self._leftovers.settle(backend)
            self._placer.renew()
            while self._tick(backend):
                self._clock.sleep(self._rest_s)
            self._books.write_later()
            self._store.sweep(set(self._books.watches), self._ended_badly)
        except (OSError, LedgerError, StoreError):
            if not backend.outlives_driver:
                self._save_what_runs(backend)
            raise
        finally:
            backend.close()

    def _save_what_runs(self, backend: Backend) -> None:
        """Nothing can be booked any more: let the attempts save a checkpoint before they end with their driver."""
        live = set(self._books.watches)
        if not live:
            return
        self._teller.say(
            f"the run cannot go on; stopping {len(live)} attempts at a checkpoint (up to {self._cluster.grace_s:g} s)"
        )
        until = self._clock.monotonic() + self._cluster.grace_s + STOP_SLACK_S
        asked = self._interruption.times
        with contextlib.suppress(BackendError, OSError):  # the reason why it stops is said by the caller
            backend.stop(sorted(live))
            while self._clock.monotonic() < until and self._interruption.times <= asked:
                reports = backend.poll()
                if not any(one in reports and reports[one].phase not in ("ended", "missing") for one in live):
                    break
                self._clock.sleep(SHORTEST_REST_S)

    # The tick

    def _tick(self, backend: Backend) -> bool:
        """One round; False: there is nothing left to wait for."""
        self._ledger.check()
        noted = self._wishes.take(backend)
        reports = self._poll(backend)
        now = self._clock.monotonic()
        findings = self._evidence.findings(reports, now, stopping=self._interruption.stopping)
        ended = any(finding.what == "ended" for _, finding in findings)
        submissions: list[Submission] = []
        with self._ledger.transaction() if ended or self._may_place(now) else contextlib.nullcontext():
            for watch, finding in findings:
                if finding.what == "ended" and finding.ending != "ok":
                    self._ended_badly.append((watch.job.stage, watch.job.fingerprint, watch.attempt))
                self._books.book(watch, finding, stopping=self._interruption.stopping)
            if self._may_place(now):
                submissions = self._starter.intend(self._placer.place(self._hosts(backend), now))
            if ended or submissions:
                self._books.write_later()
        if ended:
            point("ending.booked")
        if self._books.unwanted:
            backend.kill(self._books.unwanted)
            self._books.unwanted = []
        self._starter.submit(backend, submissions)
        if self._teller.tick_due(now):
            self._books.write_later()
            point("ticket.booked")
            self._books.tell_avoided()
            means = self._ledger.mean_seconds()
            self._teller.tick(self._books.watches.values(), means, now, store_silent=self._store.silent)
        longest = max(LONGEST_REST_S, len(self._books.watches) / 1000.0)
        busy = noted or ended or bool(submissions)
        self._rest_s = SHORTEST_REST_S if busy else min(longest, self._rest_s * 1.5)
        return self._goes_on(now)

    def _hosts(self, backend: Backend) -> Sequence[Target]:
        """The hosts that take attempts now; none while the backend does not answer."""
        if isinstance(backend, Autoscaling):
            backend.waiting_for_room({job.stage for job in self._board.ready()})
        try:
            hosts = targets(backend)
        except BackendSilent as error:
            self._teller.silent = str(error)
            return ()
        self._teller.silent = ""
        if isinstance(backend, Autoscaling):
            self._teller.asking(backend.pending_hosts())
        return hosts

    def _may_place(self, now: float) -> bool:
        able = not self._interruption.stopping and not self._interruption.leaving and not self._store.silent
        return able and self._starter.may_start(now) and self._board.any_ready()

    def _goes_on(self, now: float) -> bool:
        watches = self._books.watches
        if self._interruption.leaving:
            return False
        if self._interruption.stopping:
            if self._interruption.given_up(now):
                if self._store.silent:  # what became of them is for the next run to find out
                    return False
                for watch in list(watches.values()):
                    silent = Finding(what="ended", ending="interrupted", detail="did not answer the kill")
                    self._books.end(watch, silent, stopping=True)
            return bool(watches)
        if not watches and not self._board.any_ready():
            return False
        moving = any(not watch.unknown for watch in watches.values())
        # What is ready beside unknown attempts only has found no place: they hold it.
        places = not watches and self._board.any_ready() and self._placer.has_hosts and not self._store.silent
        if moving or places:
            self._only_unknown_since = None
            return True
        if self._only_unknown_since is None:
            self._only_unknown_since = now
        if now - self._only_unknown_since < self._cluster.unknown_s:
            return True
        what = f"{len(watches)} attempts are unknown" if watches else self._teller.silent or "the backend has no hosts"
        if self._store.silent:
            what = f"the store does not answer ({self._store.why})"
        self.note = (
            f"for {self._cluster.unknown_s:g} s {what} and nothing else can go on; see `echo-matrix doctor`, "
            "then `run` again: it takes up what is left"
        )
        self._teller.say(self.note)
        return False

    def _poll(self, backend: Backend) -> Mapping[str, Report]:
        try:
            return backend.poll() if self._books.watches else {}
        except BackendError as error:
            self._teller.log("poll failed", error=str(error))
            silent = "the backend does not answer"
            return {attempt: Report(attempt=attempt, phase="unknown", detail=silent) for attempt in self._books.watches}
