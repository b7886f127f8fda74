"""Whatever is done to the ledger's file, a run puts it right or stops with a sentence; what is done stays done."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from toy_study import OF_THE_FIRST_VERSION, Toy, small_plan

from orchestrator.errors import LedgerError
from orchestrator.schedule.events import Event
from orchestrator.schedule.ledger import connection as ledger_connection
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.ledger.schema import VERSION
from workloads.runtime.fault_points import VARIABLE

OPEN = "from pathlib import Path; from orchestrator.schedule.ledger.database import Ledger; Ledger.open(Path({!r}))"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("finished") / "toy"
    Toy(home).run(small_plan())
    return home


@pytest.fixture
def toy(finished: Path, tmp_path: Path) -> Toy:
    shutil.copytree(finished, tmp_path / "toy")
    return Toy(tmp_path / "toy")


def ledger_of(toy: Toy) -> Path:
    return toy.home / "ledger.sqlite"


def page_size(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA page_size").fetchone()[0])


def finds_nothing_to_do(toy: Toy) -> None:
    outcome = toy.run(small_plan())
    assert (outcome.submitted, outcome.counts) == (0, {"done": 9})


@pytest.mark.parametrize("seed", range(3))
def test_a_garbled_page_wherever_it_lies_makes_nothing_done_again(toy: Toy, seed: int) -> None:
    path, noise = ledger_of(toy), random.Random(seed)
    whole, size = path.read_bytes(), page_size(path)
    for start in range(0, len(whole), size):
        length = noise.choice((1, 16, size))
        at = start + noise.randrange(0, size - length + 1)
        path.write_bytes(whole[:at] + noise.randbytes(length) + whole[at + length :])
        finds_nothing_to_do(toy)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.99])
def test_a_ledger_cut_short_makes_nothing_done_again(toy: Toy, share: float) -> None:
    path = ledger_of(toy)
    os.truncate(path, int(path.stat().st_size * share))
    finds_nothing_to_do(toy)
    assert toy.endings("data") == ["ok"]


def test_a_ledger_of_zeros_is_put_aside(toy: Toy) -> None:
    path = ledger_of(toy)
    path.write_bytes(bytes(path.stat().st_size))
    finds_nothing_to_do(toy)
    assert list(toy.home.glob("ledger.sqlite.broken-*"))


def test_a_folder_in_its_place_is_put_aside(toy: Toy) -> None:
    path = ledger_of(toy)
    path.unlink()
    path.mkdir()
    with pytest.raises(LedgerError, match="the next `run` puts the file aside"):
        Ledger.read(path)
    finds_nothing_to_do(toy)
    assert list(toy.home.glob("ledger.sqlite.broken-*"))


def test_words_that_are_none_where_every_page_is_whole_are_found_too(toy: Toy) -> None:
    with contextlib.closing(sqlite3.connect(ledger_of(toy))) as connection, connection:
        connection.execute("UPDATE attempts SET devices = '{', label = CAST(x'ff00' AS TEXT)")
    finds_nothing_to_do(toy)
    assert toy.endings("data") == ["ok"]


def leave_hot_journal(path: Path) -> None:
    """Die in the middle of a transaction whose pages have reached the disk in part."""
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN IMMEDIATE');"
        "c.execute(\"UPDATE attempts SET ending = 'error', detail = hex(randomblob(8000))\");"
        "c.execute('DELETE FROM plans'); os.kill(os.getpid(), 9)"
    )
    dead = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert dead.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0


def test_a_journal_left_hot_is_played_back_by_the_next_run_and_read_by_others_before(toy: Toy) -> None:
    leave_hot_journal(ledger_of(toy))
    with Ledger.read(ledger_of(toy)) as reader:
        assert {attempt.ending for attempt in reader.attempts()} == {"ok"}
        assert len(reader.previous_documents()) == 0
    finds_nothing_to_do(toy)
    assert toy.endings("data") == ["ok"]
    assert not list(toy.home.glob("*.broken-*"))


def test_a_ledger_that_another_program_holds_is_left_where_it_is(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_connection, "BUSY_S", 0.05)
    with contextlib.closing(sqlite3.connect(ledger_of(toy), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match=r"database is locked; another program holds its lock, or this file sys"):
            toy.run(small_plan())
    assert not list(toy.home.glob("*.broken-*"))
    finds_nothing_to_do(toy)


def kill_at(point: str, path: Path, faults: Path) -> None:
    faults.mkdir(exist_ok=True)
    (faults / point).write_text("kill")
    command = [sys.executable, "-c", OPEN.format(str(path))]
    dead = subprocess.run(command, env={**os.environ, VARIABLE: str(faults)}, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert (faults / f"{point}.fired").exists()


def test_a_kill_in_the_middle_of_bringing_an_older_ledger_up_to_date_costs_nothing(toy: Toy, tmp_path: Path) -> None:
    path = ledger_of(toy)
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(OF_THE_FIRST_VERSION)
    before = path.read_bytes()
    kill_at("ledger.migrating", path, tmp_path / "faults")
    with Ledger.read(path) as reader:
        assert [attempt.ending for attempt in reader.attempts()][:1] == ["ok"]
    assert path.read_bytes() == before
    finds_nothing_to_do(toy)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
    assert toy.endings("data") == ["ok"]


def test_a_kill_before_a_rebuilt_ledger_is_whole_lets_the_next_run_rebuild_it(toy: Toy, tmp_path: Path) -> None:
    ledger_of(toy).unlink()
    kill_at("ledger.rebuilt", ledger_of(toy), tmp_path / "faults")
    with Ledger.read(ledger_of(toy)) as reader:
        assert reader.attempts() == []
    finds_nothing_to_do(toy)
    assert toy.endings("data") == ["ok"]


@pytest.mark.parametrize("what", ["garbage", "cut", "gone"])
def test_a_ledger_that_is_spoilt_under_a_running_driver_ends_in_a_sentence_or_costs_nothing(
    tmp_path: Path, what: str
) -> None:
    toy, spoilt = Toy(tmp_path / "toy"), False

    def spoil(event: Event) -> None:
        nonlocal spoilt
        if event.kind == "started" and event.label == "train/a":
            spoilt = True
            path = ledger_of(toy)
            if what == "garbage":
                path.write_bytes(random.Random(0).randbytes(path.stat().st_size))
            elif what == "cut":
                os.truncate(path, 4096)
            else:
                path.unlink()

    try:
        toy.run(small_plan(), observe=spoil)
    except LedgerError as error:
        assert str(error).endswith("rebuilds it from commit records")
    assert spoilt
    before = toy.store.commits()
    assert toy.run(small_plan()).counts == {"done": 9}
    assert len(toy.submitted()) == 9 - len(before), "what is done is not done again"
    assert all(toy.endings(job.label).count("ok") == 1 for job in small_plan().jobs.values())


def test_the_lease_is_checked_with_the_lock_held(tmp_path: Path) -> None:
    """A controller that is suspended after the check would else write over its successor when it wakes."""
    path = tmp_path / "ledger.sqlite"
    locked = []

    def fence() -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                locked.append(str(error))

    with Ledger.open(path, fence) as ledger:
        locked.clear()
        ledger.reset_job("ab" * 32)
    assert locked == ["database is locked"]
