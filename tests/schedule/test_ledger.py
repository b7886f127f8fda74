"""The ledger survives what is done to its file, and remembers what was decided."""

import contextlib
import dataclasses
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from toy_study import (
    OF_THE_FIRST_VERSION,
    OF_THE_THIRD_VERSION,
    Settings,
    Toy,
    fingerprint,
    make_duration,
    make_job,
    small_plan,
)

from orchestrator.backends.protocol import Placement
from orchestrator.errors import LeaseError, LedgerError
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.schedule.launcher import build_request
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import Attempt, JobRecord, Ledger
from orchestrator.schedule.ledger.schema import VERSION, running_s
from orchestrator.schedule.retry_policy import Charges


def make_attempt(label: str = "train/a", attempt: str = "a001-x", at: float = 1.0, **fields: Any) -> Attempt:
    job = make_job("train", label)
    return Attempt(
        id=attempt,
        fingerprint=job.fingerprint,
        job=job.id,
        label=label,
        stage="train",
        host="fake-0",
        intended=at,
        **fields,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy" / "ledger.sqlite"


def test_what_was_booked_is_read_by_another_connection(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.read(path) as reader:
        ledger.record_intent(make_attempt())
        ledger.record_tickets({"a001-x": "ray:1"})
        ledger.record_start("a001-x", 2.0)
        ledger.record_end("a001-x", "error", 5.0, "exit 1", 7, "same")
        (attempt,) = reader.attempts(fingerprint("train/a"))
        assert (attempt.ticket, attempt.started, attempt.ended, attempt.ending) == ("ray:1", 2.0, 5.0, "error")
        assert (attempt.step, attempt.signature) == (7, "same")


def test_the_first_ending_stays(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_intent(make_attempt())
        ledger.record_end("a001-x", "interrupted", 5.0)
        ledger.record_end("a001-x", "ok", 6.0)
        assert ledger.attempts()[0].ending == "interrupted"


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        with pytest.raises(ZeroDivisionError), ledger.transaction():
            ledger.record_intent(make_attempt())
            _ = 1 / 0
        assert ledger.attempts() == []


def test_the_fence_is_asked_before_anything_is_written(path: Path) -> None:
    def lost() -> None:
        raise LeaseError("another driver")

    with pytest.raises(LeaseError):
        Ledger.open(path, lost)
    with Ledger.read(path) as ledger:
        assert ledger.attempts() == []
    Ledger.open(path).close()
    with Ledger.open(path, lost) as ledger:
        with pytest.raises(LeaseError):
            ledger.record_intent(make_attempt())
        assert ledger.attempts() == []


def test_a_read_only_ledger_refuses_to_write(path: Path) -> None:
    Ledger.open(path).close()
    with Ledger.read(path) as reader, pytest.raises(LedgerError):
        reader.record_intent(make_attempt())


def test_reading_where_there_is_none_gives_an_empty_one_and_makes_no_file(path: Path) -> None:
    with Ledger.read(path) as reader:
        assert reader.history() == {}
    assert not path.exists()


def test_a_broken_file_is_put_aside_and_rebuilt_from_commits_and_folders(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "toy")
    plan = small_plan("a")
    toy.run(plan)
    job = make_job("train", "train/b")
    folder = attempt_folder(toy.home, job.fingerprint, "a001-left")
    folder.mkdir(parents=True)
    request = build_request(job, attempt="a001-left", home=toy.home, settings=Settings(), accumulate=1, resume=None)
    (folder / "request.json").write_text(json.dumps(request))
    (toy.home / "ledger.sqlite").write_bytes(b"no ledger" * 1000)
    with pytest.raises(LedgerError, match="rebuilds it"):
        Ledger.read(toy.home / "ledger.sqlite")
    with toy.ledger() as ledger:
        endings = {attempt.label: attempt.ending for attempt in ledger.attempts()}
    assert endings["train/a"] == "ok"
    assert endings[job.id] is None
    assert list(toy.home.glob("ledger.sqlite.broken-*"))


@pytest.mark.parametrize("column", ["fingerprints", "selection", "overrides"])
def test_a_damaged_run_is_said_while_looking_and_put_aside_by_the_next_run(path: Path, column: str) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_plan(small_plan("a"))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE recorded_runs SET {column} = '{{x'")
    with Ledger.read(path) as reader, pytest.raises(LedgerError, match="the next `run` puts it aside and rebuilds it"):
        for run in reader.recorded_runs():
            reader.asked_for(run.number)
    with Ledger.open(path) as ledger:
        assert ledger.recorded_runs() == []
    assert list(path.parent.glob("ledger.sqlite.broken-*"))


def test_a_ledger_of_another_version_is_refused(path: Path) -> None:
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="version is 99"):
        Ledger.open(path)


def test_charges_and_notes_are_forgotten_together(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_charges("f", Charges(error=1, accumulate=4))
        ledger.record_job(JobRecord(fingerprint="f", state="failed", reason="r", stage="train", signature="s", at=1.0))
        assert ledger.charges("f") == Charges(error=1, accumulate=4)
        ledger.reset_job("f")
        assert ledger.charges("f") == Charges()
        assert ledger.job_records() == {}


def test_an_open_attempt_is_live_only_while_a_driver_lives(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_intent(make_attempt())
        assert ledger.history()[fingerprint("train/a")].state is None
        with acquire(path.parent):
            assert ledger.history()[fingerprint("train/a")].state == "waiting"
            ledger.record_start("a001-x", 2.0)
            assert ledger.history()[fingerprint("train/a")].state == "running"


def test_a_plan_is_remembered_with_how_it_was_asked_for(path: Path) -> None:
    plan = small_plan("a")
    with Ledger.open(path) as ledger:
        assert ledger.last_plan() is None
        ledger.record_plan(plan, {"rows": "a"})
        last = ledger.last_plan()
        assert last is not None
        assert (last.profile, last.overrides, last.selection) == ("laptop", (), {"rows": "a"})
        assert set(ledger.previous_documents()) == {job.label for job in plan.jobs.values()}


def test_a_matrix_file_is_known_by_its_name_in_any_bytes(path: Path) -> None:
    where = Path(os.fsdecode(os.fsencode(path.parent) + b"/not-utf-8-\xff/matrix.yaml"))
    with Ledger.open(path) as ledger:
        ledger.record_plan(small_plan("a"), matrix=where, settings={"file": str(where)})
        last = ledger.last_plan(where)
        assert last is not None and last.is_of(where, path.parent)
        plan = ledger.recorded_plan(last.number)
        assert plan is not None and plan[1] == {"file": str(where)}


def test_of_equal_requests_the_newest_is_kept_and_the_whole_plan_of_the_newest_of_a_file(path: Path) -> None:
    one, two = small_plan("a"), small_plan("b")
    first, second = path.parent / "first.yaml", path.parent / "second.yaml"
    with Ledger.open(path) as ledger:
        for at, (plan, matrix) in enumerate([(one, first), (two, first), (one, second), (one, first)]):
            ledger.record_plan(plan, matrix=matrix, at=float(at))
        runs = ledger.recorded_runs()
        assert [(Path(run.matrix).name, run.at) for run in runs] == [
            ("first.yaml", 1.0),
            ("second.yaml", 2.0),
            ("first.yaml", 3.0),
        ]
        assert [ledger.asked_for(run.number) for run in runs] == [
            frozenset(job.fingerprint for job in plan.jobs.values()) for plan in (two, one, one)
        ]
        plans = [ledger.recorded_plan(run.number) for run in runs]
        assert plans[0] is None
        assert plans[2] is not None and plans[2][0].jobs == one.jobs
        ledger.forget_runs([runs[0].number])
        assert ledger.recorded_runs() == runs[1:]


SECOND_VERSION = """
CREATE TABLE attempts (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job TEXT NOT NULL, label TEXT NOT NULL, stage TEXT NOT NULL,
    backend TEXT NOT NULL, ticket TEXT NOT NULL, intended REAL NOT NULL, started REAL, ended REAL, ending TEXT,
    detail TEXT NOT NULL, begun INTEGER NOT NULL, step INTEGER NOT NULL, signature TEXT NOT NULL,
    cpus INTEGER NOT NULL DEFAULT 0, devices TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX attempts_of_job ON attempts (fingerprint);
CREATE INDEX attempts_open ON attempts (id) WHERE ending IS NULL;
CREATE TABLE charges (
    fingerprint TEXT PRIMARY KEY, error INTEGER NOT NULL, out_of_memory INTEGER NOT NULL, vanished INTEGER NOT NULL,
    free INTEGER NOT NULL, accumulate INTEGER NOT NULL
);
CREATE TABLE jobs (
    fingerprint TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, stage TEXT NOT NULL,
    signature TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE plans (label TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE last_plan (
    only INTEGER PRIMARY KEY CHECK (only = 1), profile TEXT NOT NULL, overrides TEXT NOT NULL, selection TEXT NOT NULL
);
INSERT INTO attempts VALUES ('a001-x', 'f', 'train/x', 'train/a', 'train', 'gpu-3', 't7', 1.0, 2.0, 9.0, 'error',
    'ValueError: no', 4, 8, 's', 2, '[1, 3]');
INSERT INTO attempts VALUES ('a002-y', 'f', 'train/x', 'train/a', 'train', 'gpu-4', '', 10.0, NULL, NULL, NULL,
    '', 8, -1, '', 2, '[0]');
INSERT INTO charges VALUES ('f', 1, 0, 0, 2, 4);
INSERT INTO jobs VALUES ('g', 'cancelled', 'r', 'train', '', 5.0);
INSERT INTO last_plan VALUES (1, 'laptop', '["a=1"]', '{"rows": "a"}');
PRAGMA user_version = 2;
"""
"""A ledger as it was when `host` was called `backend`."""


def test_a_ledger_of_the_second_version_is_migrated_and_keeps_all_rows(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(SECOND_VERSION)
    with Ledger.open(path) as ledger:
        ended, still_open = ledger.attempts()
        assert (ended.host, ended.ticket, ended.ending, ended.begun, ended.step) == ("gpu-3", "t7", "error", 4, 8)
        assert (ended.started, ended.ended, ended.detail) == (2.0, 9.0, "ValueError: no")
        assert ended.placement == Placement(host="gpu-3", cpus=2, devices=(1, 3))
        assert ledger.open_attempts() == [still_open]
        assert still_open.host == "gpu-4"
        assert ledger.charges("f") == Charges(error=1, free=2, accumulate=4)
        assert ledger.job_records()["g"].state == "cancelled"
        last = ledger.last_plan(Path("any.yaml"))
        assert last is not None and (last.overrides, last.selection) == (("a=1",), {"rows": "a"})
        assert (last.matrix, last.at, ledger.asked_for(last.number)) == ("", 0.0, frozenset())
        assert ledger.recorded_plan(last.number) is None
    with Ledger.read(path) as reader:
        assert len(reader.attempts()) == 2
    with contextlib.closing(sqlite3.connect(path)) as migrated:
        assert migrated.execute("PRAGMA user_version").fetchone()[0] == VERSION


def test_a_ledger_of_the_third_version_gets_durations_from_its_attempts(path: Path) -> None:
    well = {"started": 2.0, "ended": 9.0, "ending": "ok"}
    with Ledger.open(path) as ledger:
        ledger.record_intent(make_attempt(attempt="a001-x", **well, devices=(0, 3)))
        ledger.record_intent(make_attempt(attempt="a002-y", started=2.0, ended=5.0, ending="error"))
        ledger.record_intent(make_attempt("train/b", "a003-z", **well, begun=4))
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(OF_THE_THIRD_VERSION)
    with Ledger.open(path) as ledger:
        (found,) = ledger.durations()
        assert (found.seconds, found.devices, found.smoke, found.flops, found.kind) == (7.0, 2, False, None, "")


def test_a_ledger_of_the_sixth_version_keeps_its_durations(path: Path) -> None:
    job = make_job("train", "train/a")
    duration = make_duration(
        fingerprint=job.fingerprint,
        stage="train",
        row="a",
        backend="ray",
        kind="cpu X",
        seconds=7.0,
        estimated_s=6.0,
        basis="guess",
        p95_s=9.0,
    )
    with Ledger.open(path) as ledger:
        ledger.record_duration(duration)
        assert ledger.durations() == [duration]
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript("""
            ALTER TABLE durations DROP COLUMN p95_s;
            ALTER TABLE durations DROP COLUMN share;
            PRAGMA user_version = 6;
            """)
    with Ledger.open(path) as ledger:
        assert ledger.durations() == [dataclasses.replace(duration, p95_s=None)]


def test_a_duration_is_of_all_attempts_that_the_result_is_made_of() -> None:
    resumed = [
        make_attempt(attempt="a1", started=0.0, ended=50.0, ending="error"),
        make_attempt(attempt="a2", started=100.0, ended=130.0, ending="preempted"),
        make_attempt(attempt="a3", started=200.0, ended=205.0, ending="ok", begun=7),
    ]
    assert running_s(resumed) == 35.0
    assert running_s([make_attempt(attempt="a1", started=None, ended=5.0, ending="ok")]) is None


def test_a_ledger_of_the_first_version_is_brought_up_to_date_and_keeps_what_it_knows(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_intent(make_attempt())
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(OF_THE_FIRST_VERSION)
    before = path.read_bytes()
    with Ledger.read(path) as reader:  # whoever only looks sees it up to date, and leaves the file to the next `run`
        assert [attempt.host for attempt in reader.attempts()] == ["fake-0"]
    assert path.read_bytes() == before
    with Ledger.open(path) as ledger:
        assert [attempt.id for attempt in ledger.attempts()] == ["a001-x"]
        assert ledger.attempts()[0].placement == Placement(host="fake-0", cpus=0, devices=())
    with Ledger.read(path) as reader:
        assert len(reader.open_attempts()) == 1


def test_where_an_attempt_was_placed_is_remembered(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.record_intent(dataclasses.replace(make_attempt(), cpus=2, devices=(1, 3)))
        assert ledger.attempts()[0].placement == Placement(host="fake-0", cpus=2, devices=(1, 3))
