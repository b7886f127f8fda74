"""The ledger: what was intended and what happened, in `ledger.sqlite` of the study.

A cache of decisions: a COMMIT outranks it in both directions, and a broken file is put aside and
rebuilt from COMMITs and attempt folders. One connection writes, the driver's, and asks its lease
before each transaction; everyone else opens it read-only. `journal_mode=DELETE` because WAL does
not work on NFS, `synchronous=FULL` because an intention must be on disk before the act. Progress
and heartbeats are not written here.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from orchestrator.backends.protocol import Placement
from orchestrator.errors import LedgerError
from orchestrator.plan.diff import History, document
from orchestrator.plan.job import Plan, State
from orchestrator.schedule.failures import Charges, paused_stages
from orchestrator.schedule.lease import driver_lives
from orchestrator.schedule.ledger_tables import MIGRATIONS, SCHEMA, VERSION
from workloads.contract.request import Stage


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of a job, as booked."""

    id: str
    fingerprint: str
    job: str
    label: str
    stage: str
    backend: str
    """Host it was placed on; empty after the ledger was rebuilt."""
    intended: float
    """When it was decided, by the driver's clock, seconds since 1970."""
    ticket: str = ""
    """The backend's name for it; empty until its answer is booked."""
    started: float | None = None
    ended: float | None = None
    ending: str | None = None
    """None while it is open."""
    detail: str = ""
    begun: int = -1
    """Step of the checkpoint it resumed from; -1: from the start."""
    step: int = -1
    """Newest complete checkpoint it left; -1: none."""
    signature: str = ""
    """What makes its traceback equal to another's; empty without one."""
    cpus: int = 0
    """Of its place on the host; 0 after the ledger was rebuilt."""
    devices: tuple[int, ...] = ()
    """Numbers of the host's devices that it holds."""

    @property
    def placement(self) -> Placement:
        """Where it was placed."""
        return Placement(host=self.backend, cpus=self.cpus, devices=self.devices)


@dataclass(frozen=True, kw_only=True)
class JobNote:
    """What is held against a job: it failed, or it was cancelled."""

    fingerprint: str
    state: Literal["failed", "cancelled"]
    reason: str
    stage: Stage
    signature: str
    at: float


@dataclass(frozen=True, kw_only=True)
class LastPlan:
    """How the last plan was asked for; the report shows the same."""

    profile: str
    overrides: tuple[str, ...]
    selection: Mapping[str, Any]


class Ledger:
    """An open ledger. `Ledger.open` and `Ledger.read` make one; a context manager that closes it."""

    def __init__(self, connection: sqlite3.Connection, fence: Callable[[], None], home: Path) -> None:
        self._connection = connection
        self._home = home
        self._fence = fence
        self._within = False

    @classmethod
    def open(
        cls, path: Path, fence: Callable[[], None] | None = None, *, rebuild: Callable[["Ledger"], None] | None = None
    ) -> "Ledger":
        """Open the ledger at `path` for writing; made if absent, put aside and made anew if broken.

        Args:
            path: `outputs/{study}/ledger.sqlite`.
            fence: asked before each transaction (`Lease.check`): raises LeaseError when another driver took over.
            rebuild: fills a ledger that is new (`rebuild.rebuilder`).

        Raises:
            LedgerError: it is of another version, or cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        asked = fence or no_fence
        existed = path.exists() and path.stat().st_size > 0
        try:
            connection = _connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not existed:
                raise LedgerError(f"{path} cannot be made: {error}") from error
            asked()
            for name in (path, path.with_name(f"{path.name}-journal")):
                if name.exists():
                    name.rename(name.with_name(f"{name.name}.broken-{time.time_ns()}"))
            existed = False
            connection = _connect(path)
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            connection.close()
            raise LedgerError(
                f"{path}: version is {found}, this code reads {VERSION} and older; "
                "run the newer code, or put the file aside, and the next `run` rebuilds it from COMMITs"
            )
        for older in range(found, VERSION) if found else ():
            connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[older]} PRAGMA user_version = {older + 1}; COMMIT;")
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        ledger = cls(connection, asked, path.parent)
        if not existed and rebuild is not None:
            with ledger.transaction():
                rebuild(ledger)
        return ledger

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """Open the ledger at `path` read-only; where there is none, an empty one that is nowhere on disk.

        Raises:
            LedgerError: the file is broken (the next `run` rebuilds it) or of another version.
        """
        if not path.exists():
            connection = sqlite3.connect(":memory:", isolation_level=None)
            connection.executescript(SCHEMA)
            return cls(connection, no_fence, path.parent)
        try:
            uri = f"{path.resolve().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30.0)
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute("SELECT COUNT(*) FROM attempts")
        except sqlite3.DatabaseError as error:
            raise LedgerError(
                f"{path} cannot be read: {error}; the next `run` puts it aside and rebuilds it from COMMITs"
            ) from error
        if found != VERSION:
            connection.close()
            raise LedgerError(
                f"{path}: version is {found}, this code reads {VERSION}; the next `run` brings an older one up to date"
            )
        return cls(connection, no_fence, path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; idempotent."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything booked inside reaches the disk together or not at all; may be nested.

        Raises:
            LeaseError: another driver has taken over (from the fence).
            LedgerError: the file cannot be written.
        """
        if self._within:
            yield
            return
        self._fence()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise LedgerError(
                f"the ledger cannot be written: {error}; is the disk full, or another writer at it"
            ) from error
        self._within = True
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._connection.execute("ROLLBACK")
                raise LedgerError(f"the ledger cannot be written: {error}; is the disk full") from error
        finally:
            self._within = False

    # Attempts

    def intend(self, attempt: Attempt) -> None:
        """Book an attempt before it is submitted."""
        values = [getattr(attempt, name) for name in _ATTEMPT[:-1]] + [json.dumps(attempt.devices)]
        marks = ", ".join("?" * len(values))
        self._write(f"INSERT OR REPLACE INTO attempts ({', '.join(_ATTEMPT)}) VALUES ({marks})", values)

    def ticketed(self, tickets: Mapping[str, str]) -> None:
        """Book the backend's tickets: attempt -> ticket."""
        with self.transaction():
            for attempt, ticket in tickets.items():
                self._write("UPDATE attempts SET ticket = ? WHERE id = ?", (ticket, attempt))

    def started(self, attempt: str, at: float) -> None:
        """Book that an attempt runs."""
        self._write("UPDATE attempts SET started = ? WHERE id = ? AND started IS NULL", (at, attempt))

    def ended(
        self, attempt: str, ending: str, at: float, detail: str = "", step: int = -1, signature: str = ""
    ) -> None:
        """Book how an attempt ended; the first ending stays."""
        self._write(
            "UPDATE attempts SET ended = ?, ending = ?, detail = ?, step = ?, signature = ? "
            "WHERE id = ? AND ending IS NULL",
            (at, ending, detail, step, signature, attempt),
        )

    def attempts(self, fingerprint: str | None = None) -> list[Attempt]:
        """Attempts of a job, or all, in the order in which they were intended."""
        where, values = ("", ()) if fingerprint is None else ("WHERE fingerprint = ?", (fingerprint,))
        return self._attempts(where, values)

    def open_attempts(self) -> list[Attempt]:
        """Attempts without an ending."""
        return self._attempts("WHERE ending IS NULL", ())

    def attempt_counts(self) -> dict[str, int]:
        """Fingerprint -> number of attempts."""
        return dict(self._rows("SELECT fingerprint, COUNT(*) FROM attempts GROUP BY fingerprint"))

    def mean_seconds(self) -> dict[str, float]:
        """Stage -> mean duration in seconds of its attempts that ended well."""
        return dict(
            self._rows(
                "SELECT stage, AVG(ended - started) FROM attempts "
                "WHERE ending = 'ok' AND started IS NOT NULL AND ended > started GROUP BY stage"
            )
        )

    # Jobs

    def charges(self, fingerprint: str) -> Charges:
        """What a job is charged."""
        columns = "error, out_of_memory, vanished, free, accumulate"
        rows = self._rows(f"SELECT {columns} FROM charges WHERE fingerprint = ?", (fingerprint,))
        if not rows:
            return Charges()
        error, memory, vanished, free, accumulate = rows[0]
        return Charges(error=error, out_of_memory=memory, vanished=vanished, free=free, accumulate=accumulate)

    def charge(self, fingerprint: str, charges: Charges) -> None:
        """Book what a job is charged."""
        self._write(
            "INSERT OR REPLACE INTO charges (fingerprint, error, out_of_memory, vanished, free, accumulate) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                fingerprint,
                charges.error,
                charges.out_of_memory,
                charges.vanished,
                charges.free,
                charges.accumulate,
            ),
        )

    def note(self, note: JobNote) -> None:
        """Book that a job failed or was cancelled."""
        self._write(
            "INSERT OR REPLACE INTO jobs (fingerprint, state, reason, stage, signature, at) VALUES (?, ?, ?, ?, ?, ?)",
            (note.fingerprint, note.state, note.reason, note.stage, note.signature, note.at),
        )

    def notes(self) -> dict[str, JobNote]:
        """Fingerprint -> what is held against the job."""
        rows = self._rows("SELECT fingerprint, state, reason, stage, signature, at FROM jobs")
        return {
            row[0]: JobNote(fingerprint=row[0], state=row[1], reason=row[2], stage=row[3], signature=row[4], at=row[5])
            for row in rows
        }

    def forgive(self, fingerprint: str) -> None:
        """Forget what is held against a job, charges and smaller micro-batch included (`retry`, or a COMMIT)."""
        with self.transaction():
            self._write("DELETE FROM jobs WHERE fingerprint = ?", (fingerprint,))
            self._write("DELETE FROM charges WHERE fingerprint = ?", (fingerprint,))

    def history(self) -> dict[str, History]:
        """Fingerprint -> what is remembered of the job.

        Open attempts are waiting or running only while a driver lives that can see to them; what a
        dead driver left open is to be taken up again.
        """
        driven = driver_lives(self._home)
        notes = self.notes()
        found: dict[str, History] = {}
        counts: dict[str, int] = {}
        query = "SELECT fingerprint, backend, started, ending, detail FROM attempts ORDER BY intended, id"
        for fingerprint, backend, started, ending, detail in self._rows(query):
            counts[fingerprint] = counts.get(fingerprint, 0) + 1
            state: State | None = None
            if ending is None and driven:
                state, reason = ("waiting" if started is None else "running"), f"on {backend}"
            elif ending is None:
                reason = "its driver has died"
            elif ending == "ok":
                state, reason = "done", ""
            else:
                reason = f"{ending}: {detail}" if detail else str(ending)
            found[fingerprint] = History(attempts=counts[fingerprint], state=state, reason=reason)
        for fingerprint, note in notes.items():
            found[fingerprint] = History(attempts=counts.get(fingerprint, 0), state=note.state, reason=note.reason)
        return found

    def paused(self, pause_after: int) -> dict[Stage, str]:
        """Stages in which `pause_after` jobs have failed alike, with the reason."""
        return paused_stages([(note.stage, note.signature) for note in self.notes().values()], pause_after)

    # Plans

    def remember_plan(self, plan: Plan, selection: Mapping[str, Any] | None = None) -> None:
        """Keep how a plan was asked for, and what it says of each label; only what changed is written.

        `selection` is what the command line chose (`{"rows": "context-*"}`), as JSON.
        """
        with self.transaction():
            self._write(
                "INSERT OR REPLACE INTO last_plan (only, profile, overrides, selection) VALUES (1, ?, ?, ?)",
                (plan.profile, json.dumps(plan.overrides), json.dumps(selection or {})),
            )
            known = dict(self._rows("SELECT label, fingerprint FROM plans"))
            for job in plan.jobs.values():
                if known.get(job.label) != job.fingerprint:
                    self._write(
                        "INSERT OR REPLACE INTO plans (label, fingerprint, document) VALUES (?, ?, ?)",
                        (job.label, job.fingerprint, json.dumps(document(job), sort_keys=True)),
                    )

    def last_plan(self) -> LastPlan | None:
        """How the last plan was asked for; None before the first."""
        rows = self._rows("SELECT profile, overrides, selection FROM last_plan")
        if not rows:
            return None
        profile, overrides, selection = rows[0]
        return LastPlan(profile=profile, overrides=tuple(json.loads(overrides)), selection=json.loads(selection))

    def previous_documents(self) -> dict[str, dict[str, Any]]:
        """Label -> the `document` of the last plan's job of that label."""
        return {label: json.loads(text) for label, text in self._rows("SELECT label, document FROM plans")}

    def _attempts(self, where: str, values: Sequence[Any]) -> list[Attempt]:
        rows = self._rows(f"SELECT {', '.join(_ATTEMPT)} FROM attempts {where} ORDER BY intended, id", values)
        return [Attempt(**dict(zip(_ATTEMPT, (*row[:-1], tuple(json.loads(row[-1]))), strict=True))) for row in rows]

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger cannot be read: {error}; the next `run` puts a broken one aside") from error

    def _write(self, query: str, values: Sequence[Any]) -> None:
        with self.transaction():
            try:
                self._connection.execute(query, values)
            except sqlite3.Error as error:
                raise LedgerError(f"the ledger cannot be written: {error}; is the disk full") from error


NAME = "ledger.sqlite"

_ATTEMPT = tuple(Attempt.__dataclass_fields__)


def no_fence() -> None:
    """For a ledger that nobody else can write: read-only ones, and tests."""


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(answer)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
