"""What people ask of a driver while it runs: notes from other terminals, and the first and second Ctrl-C."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from orchestrator.backends.protocol import Backend
from orchestrator.errors import BackendError
from orchestrator.plan.job import Job
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.control import channel as inbox
from orchestrator.schedule.control import commands as ask
from orchestrator.schedule.job_states import STUCK, Board, Change
from orchestrator.schedule.lease import read_driver
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.reconciler import Books
from orchestrator.schedule.shutdown import Interruption
from orchestrator.schedule.teller import Teller
from workloads.contract.request import Stage
from workloads.runtime.fault_points import point


class Wishes:
    """Books what is asked for, and tells the backend.

    Args (keyword only):
        home: `outputs/{study}`.
        jobs: fingerprint -> job, of the whole plan.
        board, books, ledger: where it is booked.
        renew: makes the queue anew after a retry.
        interruption: where the end of the run stands.
        grace_s: how long attempts have to save and end.
    """

    def __init__(
        self,
        *,
        home: Path,
        jobs: Mapping[str, Job],
        board: Board,
        books: Books,
        ledger: Ledger,
        renew: Callable[[], None],
        interruption: Interruption,
        grace_s: float,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self._home = home
        self._jobs = jobs
        self._board = board
        self._books = books
        self._ledger = ledger
        self._renew = renew
        self._interruption = interruption
        self._grace_s = grace_s
        self._clock = clock
        self._teller = teller

    def begin(self) -> None:
        """Book what was left before this driver; no backend is needed.

        A note to interrupt that does not name this driver was meant for an earlier one.
        """
        notes = inbox.read(self._home)
        self._book([note for note in notes if note.verb != "interrupt" or note.jobs], None)
        inbox.drop(notes)

    def take(self, backend: Backend) -> bool:
        """Book what has come, and carry out what is asked for; whether anything has come."""
        notes = inbox.read(self._home)
        if notes:
            self._book(notes, backend)
            point("note.booked")
            inbox.drop(notes)
        self._carry_out_interrupt(backend)
        self._carry_out_cancels(backend)
        return bool(notes)

    def _book(self, notes: Sequence[inbox.Note], backend: Backend | None) -> None:
        for note in notes:
            with self._ledger.transaction():  # one: a note may name 60,000 jobs, and nobody is heard meanwhile
                self._book_one(note)
            if backend is not None:
                self._carry_out_cancels(backend)

    def _book_one(self, note: inbox.Note) -> None:
        self._teller.log("note", verb=note.verb, jobs=note.jobs)
        if note.verb == "interrupt":
            for _ in range(2 if note.now else 1) if self._is_meant(note) else ():
                self._interruption.ask()
            return
        for fingerprint in note.jobs:
            job = self._jobs.get(fingerprint)
            if fingerprint in self._books.committed:
                continue
            if job is None:  # of another profile or other overrides: a run of those finds it in the ledger
                self._book_elsewhere(note.verb, fingerprint, note.stages.get(fingerprint))
            elif note.verb == "cancel":
                self._cancel(job, now=note.now)
            else:
                self._retry(job)
        if note.verb == "retry":
            self._books.pause()
            self._renew()

    def _is_meant(self, note: inbox.Note) -> bool:
        """Whether a note to interrupt names this driver, or anyone who drives."""
        holder = read_driver(self._home) if note.jobs else None
        return not note.jobs or (holder is not None and holder.nonce in note.jobs)

    def _cancel(self, job: Job, *, now: bool) -> None:
        ask.book_cancel(self._ledger, job.fingerprint, job.stage, self._clock.time())
        live = [watch for watch in self._books.watches.values() if watch.job.id == job.id]
        for watch in live:
            watch.cancelled, watch.told = "now" if now else "gently", False
        if not live and job.id in self._board:
            self._board.apply(Change(job=job.id, kind="cancelled", reason=ask.CANCELLED))

    def _book_elsewhere(self, verb: ask.Asked, fingerprint: str, stage: str | None) -> None:
        if verb == "retry":
            self._ledger.forgive(fingerprint)
        elif stage in get_args(Stage):
            ask.book_cancel(self._ledger, fingerprint, cast(Stage, stage), self._clock.time())

    def _retry(self, job: Job) -> None:
        self._ledger.forgive(job.fingerprint)
        for watch in self._books.watches.values():
            if watch.job.id == job.id:
                watch.cancelled = ""  # it may be on its way to its end: then it was interrupted, and goes on
        if job.id in self._board and self._board.state(job.id) in STUCK:
            self._board.apply(Change(job=job.id, kind="again", reason="asked for by `echo-matrix retry`"))

    def _carry_out_cancels(self, backend: Backend) -> None:
        """Tell the backend whose end was asked for; again at the next tick where it does not listen."""
        untold = [watch for watch in self._books.watches.values() if watch.cancelled and not watch.told]
        for how, act in (("gently", backend.stop), ("now", backend.kill)):
            chosen = [watch for watch in untold if watch.cancelled == how]
            with contextlib.suppress(BackendError):
                if chosen:
                    act([watch.attempt for watch in chosen])
                for watch in chosen:
                    watch.told = True

    def _carry_out_interrupt(self, backend: Backend) -> None:
        act = self._interruption.next_act(self._clock.monotonic(), outlives=backend.outlives_driver)
        live = list(self._books.watches)
        if act is None:
            return
        self._teller.log(act, attempts=len(live))
        if act == "leave":
            self._teller.say(
                f"this driver was told to end; {len(live)} attempts go on without it, and `run` takes them up again"
            )
        elif act == "kill":
            backend.kill(live)
        elif live:
            self._teller.say(
                f"stopping {len(live)} attempts at a checkpoint (up to {self._grace_s:g} s); "
                "Ctrl-C again ends them at once; either way `run` goes on from there"
            )
            backend.stop(live)
