"""A driver that is killed with SIGKILL, wherever it stands, costs nothing that was done."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_study import small_plan

from orchestrator.schedule.ledger.database import Ledger
from orchestrator.store.files import FilesStore

DRIVER = Path(__file__).parent / "fake_driver.py"
DEADLINE_S = 60.0


def start(home: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(DRIVER), str(home), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_commits(home: Path, number: int, driver: subprocess.Popen[str]) -> None:
    store, deadline = FilesStore(home / "store"), time.monotonic() + DEADLINE_S
    while len(store.commits()) < number and driver.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "toy"


def test_killed_again_and_again_it_still_finishes_and_does_nothing_twice(home: Path) -> None:
    store = FilesStore(home / "store")
    for number in (1, 3, 5):
        driver = start(home, 0.2)
        wait_for_commits(home, number, driver)
        driver.kill()
        driver.communicate()
    done = {fingerprint: store.read(fingerprint).attempt for fingerprint in store.commits()}
    driver = start(home, 0.02)
    output, _ = driver.communicate(timeout=DEADLINE_S)
    assert driver.returncode == 0, output
    assert store.commits() == {job.fingerprint for job in small_plan().jobs.values()}
    for fingerprint, attempt in done.items():
        assert store.read(fingerprint).attempt == attempt
    with Ledger.read(home / "ledger.sqlite") as ledger:
        assert ledger.open_attempts() == []
        for fingerprint in store.commits():
            endings = [attempt.ending for attempt in ledger.attempts(fingerprint)]
            assert endings.count("ok") == 1
            assert set(endings) <= {"ok", "interrupted"}


def test_a_run_after_a_kill_finishes_without_the_ledger_too(home: Path) -> None:
    driver = start(home, 0.2)
    wait_for_commits(home, 3, driver)
    driver.kill()
    driver.communicate()
    before = FilesStore(home / "store").commits()
    (home / "ledger.sqlite").write_bytes(b"this was a ledger" * 100)
    driver = start(home, 0.02)
    output, _ = driver.communicate(timeout=DEADLINE_S)
    assert driver.returncode == 0, output
    assert before <= FilesStore(home / "store").commits()
    assert list(home.glob("ledger.sqlite.broken-*"))


def test_ctrl_c_ends_with_130_and_the_next_run_with_0(home: Path) -> None:
    driver = start(home, 0.2)
    wait_for_commits(home, 1, driver)
    driver.send_signal(signal.SIGINT)  # nothing, if it has ended
    output, _ = driver.communicate(timeout=DEADLINE_S)
    assert driver.returncode == 130, output
    assert "Traceback" not in output
    assert not (home / "driver.json").exists()
    driver = start(home, 0.02)
    output, _ = driver.communicate(timeout=DEADLINE_S)
    assert driver.returncode == 0, output
