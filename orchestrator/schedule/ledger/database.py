"""The ledger: intents, attempts, charges and failures, in `ledger.sqlite` of the study (SQLite).

A cache of decisions: a commit record outranks it in both directions, and a broken file is put aside and
rebuilt from commit records and attempt folders. One connection writes, the controller's, and checks its lease
before each transaction; everyone else opens it read-only. `journal_mode=DELETE` because WAL does
not work on NFS, `synchronous=EXTRA` because an intention must be on disk before the act (FULL does
not sync the folder after the journal is unlinked, which is what ends a transaction). Progress and
heartbeats are not written here.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from orchestrator.errors import LedgerError
from orchestrator.plan.diff import History, document
from orchestrator.plan.forecast import Duration
from orchestrator.plan.job import Plan, State
from orchestrator.schedule.lease_holder import is_held
from orchestrator.schedule.ledger.connection import (
    in_words,
    is_filled,
    make_tables,
    mark_filled,
    open_for_reading,
    open_for_writing,
)
from orchestrator.schedule.ledger.schema import Attempt, JobRecord, LastPlan
from orchestrator.schedule.retry_policy import CANCELLED, Charges
from workloads.contract.request import Stage
from workloads.runtime.fault_points import point
from workloads.runtime.masking import mask, secrets_of

__all__ = ["NAME", "Attempt", "JobRecord", "LastPlan", "Ledger", "no_fence"]


class Ledger:
    """An open ledger. `Ledger.open` and `Ledger.read` make one; a context manager that closes it."""

    def __init__(self, connection: sqlite3.Connection, fence: Callable[[], None], path: Path) -> None:
        self._connection = connection
        self._path = path
        self._fence = fence
        self._within = False

    @classmethod
    def open(
        cls, path: Path, fence: Callable[[], None] | None = None, *, rebuild: Callable[["Ledger"], None] | None = None
    ) -> "Ledger":
        """Open the ledger at `path` for writing; made if absent, put aside and made anew if broken.

        Args:
            path: `outputs/{study}/ledger.sqlite`.
            fence: called before each transaction (`Lease.check`): raises LeaseError when another controller took over.
            rebuild: fills a ledger that was never filled (`rebuild.rebuilder`): a new one, or one that a command made
                only to record something.

        Raises:
            LedgerError: it is of another version, or cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"{path.parent} cannot be made: {error.strerror}; check that its disk is there"
            ) from error
        fence = fence or no_fence
        connection, new = open_for_writing(path, fence, _prove)
        ledger = cls(connection, fence, path)
        with ledger._translated("written"):
            if new or (rebuild is not None and not is_filled(connection)):
                with ledger.transaction():
                    make_tables(connection)
                    if rebuild is not None:
                        rebuild(ledger)
                        mark_filled(connection)
                    point("ledger.rebuilt")
        return ledger

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """Open the ledger at `path` read-only; where there is none, an empty one that is nowhere on disk.

        Raises:
            LedgerError: the file is broken (the next `run` rebuilds it) or of another version.
        """
        return cls(open_for_reading(path), no_fence, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside reaches the disk together or not at all; may be nested.

        Raises:
            LeaseError: another controller has taken over (from the fence).
            LedgerError: the file cannot be written.
        """
        if self._within:
            yield
            return
        self._fence()
        with self._translated("written"):
            self._connection.execute("BEGIN IMMEDIATE")
        self._within = True
        try:
            yield
            with self._translated("written"):
                point("ledger.commit")
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have taken it back already
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise
        finally:
            self._within = False

    def check(self) -> None:
        """Make sure that this controller may still act: what its fence says.

        Raises:
            LeaseError: another controller has taken over.
        """
        self._fence()

    # Attempts

    def record_intent(self, attempt: Attempt) -> None:
        """Record an attempt before it is submitted."""
        self._insert("attempts", {**vars(attempt), "devices": json.dumps(attempt.devices)})

    def record_tickets(self, tickets: Mapping[str, str]) -> None:
        """Record the backend's tickets: attempt -> ticket."""
        with self.transaction():
            for attempt, ticket in tickets.items():
                self._write("UPDATE attempts SET ticket = ? WHERE id = ?", ticket, attempt)

    def record_start(self, attempt: str, at: float) -> None:
        """Record that an attempt runs."""
        self._write("UPDATE attempts SET started = ? WHERE id = ? AND started IS NULL", at, attempt)

    def record_end(
        self, attempt: str, ending: str, at: float, detail: str = "", step: int = -1, signature: str = ""
    ) -> None:
        """Record how an attempt ended; the first ending stays. Secrets in `detail` are masked."""
        self._write(
            "UPDATE attempts SET ended = ?, ending = ?, detail = ?, step = ?, signature = ? "
            "WHERE id = ? AND ending IS NULL",
            *(at, ending, mask(detail, secrets_of(os.environ)), step, signature, attempt),
        )

    def attempts(self, fingerprint: str | None = None) -> list[Attempt]:
        """Attempts of a job, or all, in the order in which they were recorded: clocks may jump."""
        if fingerprint is None:
            return self._attempts("")
        return self._attempts("WHERE fingerprint = ?", fingerprint)

    def open_attempts(self) -> list[Attempt]:
        """Attempts without an ending."""
        return self._attempts("WHERE ending IS NULL")

    def attempt_counts(self) -> dict[str, int]:
        """Fingerprint -> number of attempts."""
        return dict(self._rows("SELECT fingerprint, COUNT(*) FROM attempts GROUP BY fingerprint"))

    # Durations

    def record_duration(self, duration: Duration) -> None:
        """Record how long a job took; a later one of the same job replaces it."""
        self._insert("durations", {**vars(duration), "smoke": int(duration.smoke)})

    def durations(self) -> list[Duration]:
        """Durations of the jobs that ended well, in the order in which they were recorded."""
        rows = self._rows(f"SELECT {', '.join(_DURATION)} FROM durations ORDER BY rowid")
        found = [dict(zip(_DURATION, row, strict=True)) for row in rows]
        return [Duration(**{**one, "smoke": bool(one["smoke"])}) for one in found]

    # Jobs

    def charges(self, fingerprint: str) -> Charges:
        """What a job is charged."""
        rows = self._rows(f"SELECT {', '.join(_CHARGES)} FROM charges WHERE fingerprint = ?", fingerprint)
        return Charges(**dict(zip(_CHARGES, rows[0], strict=True))) if rows else Charges()

    def record_charges(self, fingerprint: str, charges: Charges) -> None:
        """Record what a job is charged."""
        self._insert("charges", {"fingerprint": fingerprint, **vars(charges)})

    def record_job(self, record: JobRecord) -> None:
        """Record that a job failed or was cancelled."""
        self._insert("jobs", vars(record))

    def record_cancel(self, fingerprint: str, stage: Stage, at: float) -> None:
        """Record that a job is cancelled; a commit that comes later still wins."""
        self.record_job(
            JobRecord(fingerprint=fingerprint, state="cancelled", reason=CANCELLED, stage=stage, signature="", at=at)
        )

    def job_records(self) -> dict[str, JobRecord]:
        """Fingerprint -> failure or cancellation of the job."""
        rows = self._rows(f"SELECT {', '.join(_JOB)} FROM jobs")
        records = [JobRecord(**dict(zip(_JOB, row, strict=True))) for row in rows]
        return {record.fingerprint: record for record in records}

    def reset_job(self, fingerprint: str) -> None:
        """Delete a job's failure or cancellation, its charges and its smaller micro-batch (`retry`, or a commit)."""
        with self.transaction():
            self._write("DELETE FROM jobs WHERE fingerprint = ?", fingerprint)
            self._write("DELETE FROM charges WHERE fingerprint = ?", fingerprint)

    def history(self) -> dict[str, History]:
        """Fingerprint -> what is remembered of the job.

        Open attempts are waiting or running only while a controller watches them; those that a dead controller left
        are to be retried.
        """
        held = is_held(self._path.parent)
        found: dict[str, History] = {}
        counts: dict[str, int] = {}
        query = "SELECT fingerprint, host, started, ending, detail FROM attempts ORDER BY rowid"
        for fingerprint, host, started, ending, detail in self._rows(query):
            counts[fingerprint] = counts.get(fingerprint, 0) + 1
            state: State | None = None
            if ending is None and held:
                state, reason = ("waiting" if started is None else "running"), f"on {host}"
            elif ending is None:
                reason = "its controller has died"
            elif ending == "ok":
                state, reason = "done", ""
            else:
                reason = f"{ending}: {detail}" if detail else str(ending)
            found[fingerprint] = History(attempts=counts[fingerprint], state=state, reason=reason)
        for fingerprint, record in self.job_records().items():
            found[fingerprint] = History(attempts=counts.get(fingerprint, 0), state=record.state, reason=record.reason)
        return found

    # Plans

    def record_plan(self, plan: Plan, selection: Mapping[str, Any] | None = None) -> None:
        """Record a plan's options and the document of each label; only what changed is written.

        `selection` is what the command line chose (`{"rows": "context-*"}`), as JSON.
        """
        with self.transaction():
            overrides, chosen = json.dumps(plan.overrides), json.dumps(selection or {})
            self._insert("last_plan", {"only": 1, "profile": plan.profile, "overrides": overrides, "selection": chosen})
            known = dict(self._rows("SELECT label, fingerprint FROM plans"))
            for job in plan.jobs.values():
                if known.get(job.label) != job.fingerprint:
                    text = json.dumps(document(job), sort_keys=True)
                    self._insert("plans", {"label": job.label, "fingerprint": job.fingerprint, "document": text})

    def last_plan(self) -> LastPlan | None:
        """The options of the last plan; None before the first."""
        rows = self._rows("SELECT profile, overrides, selection FROM last_plan")
        if not rows:
            return None
        profile, overrides, selection = rows[0]
        return LastPlan(profile=profile, overrides=tuple(json.loads(overrides)), selection=json.loads(selection))

    def previous_documents(self) -> dict[str, dict[str, Any]]:
        """Label -> the `document` of the last plan's job of that label."""
        found: dict[str, dict[str, Any]] = {}
        for label, text in self._rows("SELECT label, document FROM plans"):
            with contextlib.suppress(ValueError):  # only a reason is lost
                found[label] = json.loads(text)
        return found

    def _attempts(self, where: str, *values: str) -> list[Attempt]:
        rows = self._rows(f"SELECT {', '.join(_ATTEMPT)} FROM attempts {where} ORDER BY rowid", *values)
        return [_attempt_of(row) for row in rows]

    def _rows(self, query: str, *values: str) -> list[Any]:
        try:
            with self._translated("read"):
                return self._connection.execute(query, values).fetchall()
        except UnicodeDecodeError as error:
            raise LedgerError(f"{self._path} cannot be read: {error}; the next `run` puts it aside") from error

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        """Add a row, or replace the one with its primary key."""
        marks = ", ".join("?" * len(row))
        self._write(f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def _write(self, query: str, *values: Any) -> None:
        with self.transaction(), self._translated("written"):
            self._connection.execute(query, values)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Raise SQLite's errors as LedgerError: the file cannot be `read` or `written`."""
        try:
            yield
        except sqlite3.Error as error:
            raise in_words(self._path, error, what) from error


NAME = "ledger.sqlite"

# Columns are named like the fields; the last of an attempt is `devices`, as JSON.
_ATTEMPT = tuple(Attempt.__dataclass_fields__)
_CHARGES = tuple(Charges.__dataclass_fields__)
_DURATION = tuple(Duration.__dataclass_fields__)
_JOB = tuple(JobRecord.__dataclass_fields__)


def no_fence() -> None:
    """For ledgers that no other process writes: read-only ones, and tests."""


def _prove(connection: sqlite3.Connection) -> None:
    """Read every row that a run will read: quick_check looks at pages, not at the values in them.

    Raises:
        sqlite3.Error, ValueError: it cannot be read.
    """
    for row in connection.execute(f"SELECT {', '.join(_ATTEMPT)} FROM attempts"):
        if row[-1] != "[]":  # the only column with a grammar; making 60,000 attempts would take a second
            _attempt_of(row)
    whole = [f"SELECT * FROM {table}" for table in ("jobs", "charges", "durations")]
    for query in (*whole, "SELECT label, fingerprint FROM plans"):
        for _ in connection.execute(query):
            pass
    for _profile, overrides, selection in connection.execute("SELECT profile, overrides, selection FROM last_plan"):
        json.loads(overrides)
        json.loads(selection)


def _attempt_of(row: Sequence[Any]) -> Attempt:
    devices = json.loads(row[-1])
    if not isinstance(devices, list) or not all(isinstance(number, int) for number in devices):
        raise ValueError(f"devices of attempt {row[0]!r} are {row[-1]!r}")
    return Attempt(**dict(zip(_ATTEMPT, (*row[:-1], tuple(devices)), strict=True)))
