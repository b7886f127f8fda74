"""The ledger survives what is done to its file, and remembers what was decided."""

import contextlib
import dataclasses
import json
import sqlite3
from pathlib import Path

import pytest
from toy_study import Settings, Toy, fingerprint, make_job, small_plan

from orchestrator.backends.protocol import Placement
from orchestrator.errors import LeaseError, LedgerError
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import Attempt, JobNote, Ledger
from orchestrator.schedule.requests import build_request
from orchestrator.schedule.retry_policy import Charges


def make_attempt(label: str = "train/a", attempt: str = "a001-x", at: float = 1.0) -> Attempt:
    job = make_job("train", label)
    return Attempt(
        id=attempt,
        fingerprint=job.fingerprint,
        job=job.id,
        label=label,
        stage="train",
        backend="fake-0",
        intended=at,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy" / "ledger.sqlite"


def test_what_was_booked_is_read_by_another_connection(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.read(path) as reader:
        ledger.intend(make_attempt())
        ledger.ticketed({"a001-x": "ray:1"})
        ledger.started("a001-x", 2.0)
        ledger.ended("a001-x", "error", 5.0, "exit 1", 7, "same")
        (attempt,) = reader.attempts(fingerprint("train/a"))
        assert (attempt.ticket, attempt.started, attempt.ended, attempt.ending) == ("ray:1", 2.0, 5.0, "error")
        assert (attempt.step, attempt.signature) == (7, "same")


def test_the_first_ending_stays(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.intend(make_attempt())
        ledger.ended("a001-x", "interrupted", 5.0)
        ledger.ended("a001-x", "ok", 6.0)
        assert ledger.attempts()[0].ending == "interrupted"


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        with pytest.raises(ZeroDivisionError), ledger.transaction():
            ledger.intend(make_attempt())
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
            ledger.intend(make_attempt())
        assert ledger.attempts() == []


def test_a_read_only_ledger_refuses_to_write(path: Path) -> None:
    Ledger.open(path).close()
    with Ledger.read(path) as reader, pytest.raises(LedgerError):
        reader.intend(make_attempt())


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


def test_a_ledger_of_another_version_is_refused(path: Path) -> None:
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="version is 99"):
        Ledger.open(path)


def test_charges_and_notes_are_forgotten_together(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.charge("f", Charges(error=1, accumulate=4))
        ledger.note(JobNote(fingerprint="f", state="failed", reason="r", stage="train", signature="s", at=1.0))
        assert ledger.charges("f") == Charges(error=1, accumulate=4)
        ledger.forgive("f")
        assert ledger.charges("f") == Charges()
        assert ledger.notes() == {}


def test_an_open_attempt_is_live_only_while_a_driver_lives(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.intend(make_attempt())
        assert ledger.history()[fingerprint("train/a")].state is None
        with acquire(path.parent):
            assert ledger.history()[fingerprint("train/a")].state == "waiting"
            ledger.started("a001-x", 2.0)
            assert ledger.history()[fingerprint("train/a")].state == "running"


def test_a_plan_is_remembered_with_how_it_was_asked_for(path: Path) -> None:
    plan = small_plan("a")
    with Ledger.open(path) as ledger:
        assert ledger.last_plan() is None
        ledger.remember_plan(plan, {"rows": "a"})
        last = ledger.last_plan()
        assert last is not None
        assert (last.profile, last.overrides, last.selection) == ("laptop", (), {"rows": "a"})
        assert set(ledger.previous_documents()) == {job.label for job in plan.jobs.values()}


def test_a_ledger_of_the_first_version_is_brought_up_to_date_and_keeps_what_it_knows(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.intend(make_attempt())
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(
            "ALTER TABLE attempts DROP COLUMN cpus; ALTER TABLE attempts DROP COLUMN devices; "
            "CREATE TABLE sent (cell TEXT); PRAGMA user_version = 1;"
        )
    with pytest.raises(LedgerError, match="the next `run` brings an older one up to date"):
        Ledger.read(path)
    with Ledger.open(path) as ledger:
        assert [attempt.id for attempt in ledger.attempts()] == ["a001-x"]
        assert ledger.attempts()[0].placement == Placement(host="fake-0", cpus=0, devices=())
    with Ledger.read(path) as reader:
        assert len(reader.open_attempts()) == 1


def test_where_an_attempt_was_placed_is_remembered(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.intend(dataclasses.replace(make_attempt(), cpus=2, devices=(1, 3)))
        assert ledger.attempts()[0].placement == Placement(host="fake-0", cpus=2, devices=(1, 3))
