"""Attempts that an earlier driver left open: booked as ended, or adopted where the backend outlives drivers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.backends.protocol import Adoption, Backend
from orchestrator.host.checkpoints import attempt_folder, drop_checkpoints
from orchestrator.host.processes import end_leftovers
from orchestrator.plan.job import Job
from orchestrator.schedule.attempt_monitor import Finding, Watch
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.job_states import STUCK, Board, Change
from orchestrator.schedule.ledger.database import Attempt, Ledger
from orchestrator.schedule.reconciler import Books
from orchestrator.schedule.resilient_store import Patience
from orchestrator.schedule.teller import Teller

FIRST = "another attempt of the job was first"


class Leftovers:
    """What lay open in the ledger when this driver began."""

    def __init__(
        self,
        *,
        jobs: Mapping[str, Job],
        board: Board,
        books: Books,
        home: Path,
        store: Patience,
        ledger: Ledger,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self._jobs = jobs
        """By fingerprint."""
        self._board = board
        self._books = books
        self._home = home
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._teller = teller
        self._open = ledger.open_attempts()

    def book_done(self, given_up: Callable[[], bool]) -> None:
        """End those that have made the COMMIT of their job; no backend is needed."""
        done = [attempt for attempt in self._open if attempt.fingerprint in self._books.committed]
        won = [attempt for attempt in done if self._store.winner(attempt.fingerprint, given_up) == attempt.id]
        for attempt in done:
            drop_checkpoints(self._home, attempt.fingerprint)
        for attempt in won:
            self._ledger.ended(attempt.id, "ok", self._clock.time(), "")
            self._open.remove(attempt)
        self._sweep(won)

    def any_unwanted(self) -> bool:
        """Whether one is of a job that was cancelled, or done by another, since: it may run on till its end is told."""
        return any(attempt.fingerprint in self._books.committed or self._cancelled(attempt) for attempt in self._open)

    def _cancelled(self, attempt: Attempt) -> bool:
        job = self._jobs.get(attempt.fingerprint)
        return job is not None and job.id in self._board and self._board.state(job.id) in STUCK

    def settle(self, backend: Backend) -> None:
        """Adopt the others where the backend outlives drivers; else they have died with theirs, and are ended."""
        if backend.outlives_driver:
            self._adopt(backend)
        else:
            self._end()

    def _adopt(self, backend: Backend) -> None:
        if self._open:
            backend.adopt([self._adoption(attempt) for attempt in self._open])
        for attempt in self._open:
            taken = self._take_up(attempt) is not None
            if not taken:  # nobody asks for it any more: it is in the way of what is asked for
                backend.stop([attempt.id])
                why = FIRST if attempt.fingerprint in self._books.committed else "this run does not ask for it"
                self._ledger.ended(attempt.id, "interrupted", self._clock.time(), why)
            self._teller.log("adopted" if taken else "stopped", attempt=attempt.id, label=attempt.label)
        self._open = []

    def _end(self) -> None:
        for attempt in self._open:
            died = FIRST if attempt.fingerprint in self._books.committed else "its driver has died"
            watch = self._take_up(attempt)
            gone = end_leftovers(attempt_folder(self._home, attempt.fingerprint, attempt.id))
            self._teller.log("leftover", attempt=attempt.id, label=attempt.label, gone=gone)
            if watch is not None:
                self._books.end(watch, Finding(what="ended", ending="interrupted", detail=died), stopping=False)
            else:
                self._ledger.ended(attempt.id, "interrupted", self._clock.time(), died)
        left, self._open = self._open, []
        self._sweep(left)

    def _sweep(self, dead: Sequence[Attempt]) -> None:
        """Remove what writers that died have left in the store; those that are still open may live."""
        folders = [(attempt.stage, attempt.fingerprint, attempt.id) for attempt in dead]
        self._store.sweep({attempt.id for attempt in self._open}, folders)

    def _take_up(self, attempt: Attempt) -> Watch | None:
        """A watch over an attempt; None where this run does not ask for its job, or it is done."""
        job = self._jobs.get(attempt.fingerprint)
        if job is None or job.id not in self._board or self._board.state(job.id) in {*STUCK, "done"}:
            return None
        watch = Watch(
            attempt=attempt.id,
            job=job,
            folder=attempt_folder(self._home, attempt.fingerprint, attempt.id),
            begun=attempt.begun,
            since=self._clock.monotonic(),
            running=attempt.started is not None,
            ticketed=bool(attempt.ticket),
        )
        self._books.open(watch, attempt.placement, "left by an earlier driver")
        if watch.running:
            self._board.apply(Change(job=job.id, kind="started"))
        return watch

    def _adoption(self, attempt: Attempt) -> Adoption:
        return Adoption(
            attempt=attempt.id,
            ticket=attempt.ticket,
            job=attempt.job,
            label=attempt.label,
            work=str(attempt_folder(self._home, attempt.fingerprint, attempt.id)),
            placement=attempt.placement,
        )
