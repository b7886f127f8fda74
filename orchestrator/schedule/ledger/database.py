"""The ledger: intents, attempts, charges and failures, in `ledger.sqlite` of the study (SQLite).

A cache of decisions: a commit record outranks it in both directions, and a broken file is put aside and
rebuilt from commit records and attempt folders. One connection writes, the controller's, and checks its lease
in each transaction; everyone else opens it read-only. `journal_mode=DELETE` because WAL does
not work on NFS, `synchronous=EXTRA` because an intention must be on disk before the act (FULL does
not sync the folder after the journal is unlinked, which is what ends a transaction). Progress and
heartbeats are not written here.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import Placement
from orchestrator.plan.diff import History, document
from orchestrator.plan.durations import Duration
from orchestrator.plan.job import Plan, State
from orchestrator.schedule.lease_holder import is_held
from orchestrator.schedule.ledger.file import LedgerFile, no_fence
from orchestrator.schedule.ledger.recorded_runs import (
    COLUMNS,
    RecordedRun,
    fingerprints_of,
    plan_and_settings,
    plan_column,
    request_of,
    run_of,
    shape_of,
)
from orchestrator.schedule.ledger.schema import Attempt, JobRecord, others_from, others_json
from orchestrator.schedule.retry_policy import CANCELLED, Charges
from workloads.contract.request import Stage
from workloads.runtime.masking import mask, secrets_of

__all__ = ["NAME", "Attempt", "JobRecord", "Ledger", "RecordedRun", "no_fence"]


class Ledger(LedgerFile):
    """An open ledger. `Ledger.open` and `Ledger.read` make one; a context manager that closes it."""

    @staticmethod
    def prove(connection: sqlite3.Connection) -> None:
        """See `LedgerFile`."""
        for row in connection.execute(f"SELECT {', '.join(_ATTEMPT)} FROM attempts"):
            if row[-2:] != ("[]", "[]"):  # only these have a grammar; making 60,000 attempts would take a second
                _attempt_of(row)
        whole = [f"SELECT * FROM {table}" for table in ("jobs", "charges", "durations")]
        for query in (*whole, "SELECT label, fingerprint FROM plans"):
            for _ in connection.execute(query):
                pass
        for *row, content in connection.execute(f"SELECT {', '.join(COLUMNS)}, fingerprints FROM recorded_runs"):
            run_of(row)
            fingerprints_of(content)

    # Attempts

    def record_intent(self, attempt: Attempt) -> None:
        """Record an attempt before it is submitted."""
        texts = {"devices": json.dumps(attempt.devices), "others": json.dumps(others_json(attempt.others))}
        self._insert("attempts", {**vars(attempt), **texts})

    def record_tickets(self, tickets: Mapping[str, str]) -> None:
        """Record the backend's tickets: attempt -> ticket."""
        with self.transaction():
            for attempt, ticket in tickets.items():
                self._write("UPDATE attempts SET ticket = ? WHERE id = ?", ticket, attempt)

    def record_start(self, attempt: str, at: float) -> None:
        """Record that an attempt runs."""
        self._write("UPDATE attempts SET started = ? WHERE id = ? AND started IS NULL", at, attempt)

    def record_end(
        self,
        attempt: str,
        ending: str,
        at: float,
        detail: str = "",
        step: int = -1,
        signature: str = "",
        failed_on: str = "",
    ) -> None:
        """Record how an attempt ended; the first ending stays. Secrets in `detail` are masked."""
        self._write(
            "UPDATE attempts SET ended = ?, ending = ?, detail = ?, step = ?, signature = ?, failed_on = ? "
            "WHERE id = ? AND ending IS NULL",
            *(at, ending, mask(detail, secrets_of(os.environ)), step, signature, failed_on, attempt),
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
        query = "SELECT fingerprint, host, others, started, ending, detail FROM attempts ORDER BY rowid"
        for fingerprint, host, others, started, ending, detail in self._rows(query):
            counts[fingerprint] = counts.get(fingerprint, 0) + 1
            state: State | None = None
            if ending is None and held:
                state, reason = ("waiting" if started is None else "running"), f"on {_where(host, others)}"
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

    def record_plan(
        self,
        plan: Plan,
        selection: Mapping[str, Any] | None = None,
        *,
        matrix: Path | None = None,
        at: float = 0.0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Record what a run asks for, its plan, and the document of each label; only what changed is written.

        Args:
            plan: of the run.
            selection: what the command line chose (`{"rows": "context-*"}`), as JSON.
            matrix: its matrix file.
            at: when it began, seconds since 1970.
            settings: how the jobs are executed, as JSON; returned by `recorded_plan`.
        """
        request = request_of(plan, selection, matrix, self._path.parent)
        shape = shape_of(plan, settings)
        same = " AND ".join(f"{name} = ?" for name in request)
        with self.transaction():
            known = self._rows(f"SELECT number, shape, plan FROM recorded_runs WHERE {same}", *request.values())
            whole = next((one for _, known_shape, one in known if one and known_shape == shape), None)
            self.forget_runs(number for number, *_ in known)
            # The whole plan is kept of the newest run of each file and profile: commands show it.
            self._write(
                "UPDATE recorded_runs SET plan = NULL WHERE matrix = ? AND profile = ?",
                *(request["matrix"], plan.profile),
            )
            whole = whole or plan_column(plan, settings)
            self._insert("recorded_runs", {**request, "at": at, "shape": shape, "plan": whole})
            labelled = dict(self._rows("SELECT label, fingerprint FROM plans"))
            for job in plan.jobs.values():
                if labelled.get(job.label) != job.fingerprint:
                    text = json.dumps(document(job), sort_keys=True)
                    self._insert("plans", {"label": job.label, "fingerprint": job.fingerprint, "document": text})

    def recorded_runs(self) -> list[RecordedRun]:
        """What the runs asked for, the oldest first; none in a ledger that was rebuilt.

        Raises:
            LedgerError: a row is damaged.
        """
        rows = self._rows(f"SELECT {', '.join(COLUMNS)} FROM recorded_runs ORDER BY number")
        try:
            return [run_of(row) for row in rows]
        except ValueError as error:
            raise self._damaged(error) from error

    def asked_for(self, number: int) -> frozenset[str]:
        """Fingerprints of all jobs of a run's plan; empty: an older version recorded the run, without them.

        Raises:
            LedgerError: the row is damaged.
        """
        rows = self._rows("SELECT fingerprints FROM recorded_runs WHERE number = ?", number)
        try:
            return frozenset().union(*(fingerprints_of(content) for (content,) in rows))
        except ValueError as error:
            raise self._damaged(error) from error

    def last_plan(self, matrix: Path | None = None) -> RecordedRun | None:
        """The last run of the file `matrix`, or of any file; None: none is recorded.

        A run of a file that is gone counts as one of `matrix`, which may be its new name; so does one of an older
        version, which did not record the file.
        """
        runs = self.recorded_runs()[::-1]
        if matrix is None:
            return next(iter(runs), None)
        own = next((run for run in runs if run.is_of(matrix, self._path.parent)), None)
        return own or next((run for run in runs if run.is_gone), None)

    def recorded_plan(self, number: int) -> tuple[Plan, Mapping[str, Any]] | None:
        """Plan and settings of a recorded run; None: they are not kept, or cannot be read."""
        rows = self._rows("SELECT plan FROM recorded_runs WHERE number = ? AND plan IS NOT NULL", number)
        try:
            return next((plan_and_settings(content) for (content,) in rows), None)
        except ValueError:
            return None

    def forget_runs(self, numbers: Iterable[int]) -> None:
        """Forget these runs."""
        with self.transaction():
            for number in numbers:
                self._write("DELETE FROM recorded_runs WHERE number = ?", number)

    def previous_documents(self) -> Mapping[str, dict[str, Any]]:
        """Label -> the `document` of the last plan's job of that label; read when it is asked for."""
        labels = dict.fromkeys(label for (label,) in self._rows("SELECT label FROM plans"))
        return _Documents(labels, lambda label: self._rows("SELECT document FROM plans WHERE label = ?", label))

    def _attempts(self, where: str, *values: str) -> list[Attempt]:
        rows = self._rows(f"SELECT {', '.join(_ATTEMPT)} FROM attempts {where} ORDER BY rowid", *values)
        try:
            return [_attempt_of(row) for row in rows]
        except ValueError as error:
            raise self._damaged(error) from error


class _Documents(Mapping[str, dict[str, Any]]):
    """Documents by label: those of jobs that are done tell nothing, and there are ten thousand of them."""

    def __init__(self, labels: Mapping[str, object], read: Callable[[str], list[Any]]) -> None:
        self._labels, self._read = labels, read

    def __getitem__(self, label: str) -> dict[str, Any]:
        if label in self._labels:
            for (text,) in self._read(label):
                with contextlib.suppress(ValueError):  # only a reason is lost
                    found: dict[str, Any] = json.loads(text)
                    return found
        raise KeyError(label)

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


NAME = "ledger.sqlite"

# Columns are named like the fields; the last two of an attempt are `devices` and `others`, as JSON.
_ATTEMPT = tuple(Attempt.__dataclass_fields__)
_CHARGES = tuple(Charges.__dataclass_fields__)
_DURATION = tuple(Duration.__dataclass_fields__)
_JOB = tuple(JobRecord.__dataclass_fields__)


def _where(host: str, others: str) -> str:
    """For people: the hosts of an attempt, given its columns."""
    return (
        host
        if others == "[]"
        else Placement(host=host, cpus=0, devices=(), others=others_from(json.loads(others))).where
    )


def _attempt_of(row: Sequence[Any]) -> Attempt:
    devices = [] if row[-2] == "[]" else json.loads(row[-2])
    if not isinstance(devices, list) or not all(isinstance(number, int) for number in devices):
        raise ValueError(f"devices of attempt {row[0]!r} are {row[-2]!r}")
    others = () if row[-1] == "[]" else others_from(json.loads(row[-1]))
    attempt = object.__new__(Attempt)  # in an eighth of the time: a frozen dataclass sets one field after the other
    fields = dict(zip(_ATTEMPT, (*row[:-2], tuple(devices), others), strict=True))
    object.__setattr__(attempt, "__dict__", fields)
    return attempt
