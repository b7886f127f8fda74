"""One driver a study: real processes that want the same one."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.schedule.lease import LENGTH
from orchestrator.schedule.lease_holder import read_holder
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.store.files import FilesStore

RIVAL = Path(__file__).parent / "rival.py"
DEADLINE_S = 120.0
FOR_EVER = 100_000.0


def start(home: Path, seconds: float, still_s: float = FOR_EVER) -> subprocess.Popen[str]:
    command = [sys.executable, str(RIVAL), str(home), str(seconds), str(still_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_commits(home: Path, number: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while len(FilesStore(home / "store").commits()) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end(driver: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = driver.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in output, output
    return driver.returncode, output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "toy"


def test_the_second_is_refused_at_once_and_told_who_drives_and_a_killed_one_is_taken_over_at_once(home: Path) -> None:
    first = start(home, 1000.0)
    deadline = time.monotonic() + DEADLINE_S
    while read_holder(home) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    code, said = end(start(home, 0.01))
    assert code == 1
    assert f"pid {first.pid} on " in said and "is running this study since 20" in said
    first.kill()
    first.communicate()
    assert end(start(home, 0.01))[0] == 0, "it did not wait: it would have for ever"


def stop_between_transactions(driver: subprocess.Popen[str], home: Path) -> None:
    """Stop it where it does not hold the ledger's lock: one that does lets no successor write (and it is told why)."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        driver.send_signal(signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(home / "ledger.sqlite", timeout=0.0, isolation_level=None)) as ledger:
            try:
                ledger.execute("BEGIN IMMEDIATE")
                ledger.execute("ROLLBACK")
                return
            except sqlite3.OperationalError:
                assert time.monotonic() < deadline
        driver.send_signal(signal.SIGCONT)
        time.sleep(0.01)


def as_from_elsewhere(home: Path) -> None:
    """Make the driver look as if it ran where nobody here can look; in place, as its own beats are written."""
    path = home / "driver.json"
    raw = {**json.loads(path.read_bytes()), "boot_id": "of another machine"}
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, json.dumps(raw).encode().ljust(LENGTH - 1) + b"\n", 0)
    finally:
        os.close(descriptor)


def test_a_driver_that_slept_through_a_takeover_finds_itself_replaced_and_does_nothing_more(home: Path) -> None:
    sleeper = start(home, 0.3)
    wait_for_commits(home, 1)
    stop_between_transactions(sleeper, home)
    as_from_elsewhere(home)
    successor = start(home, 0.02, still_s=2.0)
    code, said = end(successor)
    assert code == 0
    assert "cannot be seen from here; waiting 2 s" in said
    store = FilesStore(home / "store")
    done = {one: store.read(one).attempt for one in store.commits()}
    ledger = (home / "ledger.sqlite").read_bytes()
    folders = sorted(path.name for path in (home / "attempts").glob("*/*"))
    sleeper.send_signal(signal.SIGCONT)
    code, said = end(sleeper)
    assert code == 1
    assert f"this controller (pid {sleeper.pid}) no longer holds the lease, nobody does" in said
    assert {one: store.read(one).attempt for one in store.commits()} == done
    assert (home / "ledger.sqlite").read_bytes() == ledger
    assert sorted(path.name for path in (home / "attempts").glob("*/*")) == folders
    with Ledger.read(home / "ledger.sqlite") as reader:
        assert reader.open_attempts() == []
    assert not list(home.glob(".driver-*")), "no file of the takeover is left"


def test_of_four_that_start_at_once_on_a_dead_drivers_study_one_drives_and_the_others_are_told(home: Path) -> None:
    first = start(home, 1000.0)
    deadline = time.monotonic() + DEADLINE_S
    while read_holder(home) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.kill()
    first.communicate()
    ends = [end(rival) for rival in [start(home, 0.2) for _ in range(4)]]
    assert [code for code, _ in ends].count(0) >= 1
    for code, said in ends:
        assert code in (0, 1)
        assert code == 0 or "driver" in said or "is running this study" in said
    with Ledger.read(home / "ledger.sqlite") as reader:
        attempts = reader.attempts()
    ok = [attempt.fingerprint for attempt in attempts if attempt.ending == "ok"]
    assert len(ok) == len(set(ok)) == 9
    assert not list(home.glob(".driver-*"))
