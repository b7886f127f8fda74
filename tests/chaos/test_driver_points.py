"""The driver dies, or its disk fails, at every named place of its code: the next run finishes, and nothing is lost.

The fake backend publishes through the real store within the driver's process, so the store's places are here too. What
only a real host or rank reaches is in `test_rank_points.py` and its neighbours.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from dead_driver import dead_driver
from toy_study import OF_THE_FIRST_VERSION, Toy, fingerprint, small_plan

from orchestrator.backends.fake.backend import Act, FakeCluster
from orchestrator.schedule.control import channel
from orchestrator.schedule.events import Event
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.store.files import FilesStore
from workloads.runtime.fault_points import POINTS, VARIABLE

RIVAL = Path(__file__).parent / "rival.py"
DEADLINE_S = 120.0
STORE = ("manifest.temporary", "manifest.written", "commit.temporary", "commit.linked")
DRIVER = tuple(name for name, where in POINTS.items() if where.startswith("driver:"))
AT_START = ("lease.claimed", "lease.taken", "ledger.rebuilt", "ledger.migrating")
"""Passed at the start of a run only."""
ONCE = (*AT_START, "ticket.recorded")
"""The same, or once a second."""
LATER = 3
"""Commits after which the others are armed."""


def prepare(home: Path, point: str) -> None:
    """What a run needs to come by the point at its start."""
    if point == "lease.claimed":
        acquire(home, holder=dead_driver())
    if point == "ledger.migrating":
        Ledger.open(home / "ledger.sqlite").close()
        with contextlib.closing(sqlite3.connect(home / "ledger.sqlite")) as old:
            old.executescript(OF_THE_FIRST_VERSION)


def run_into(home: Path, faults: Path, point: str, what: str) -> tuple[int, str]:
    """A run that comes by the armed point: at its start, or once `LATER` jobs are done."""
    faults.mkdir()
    prepare(home, point)
    if point in ONCE:
        (faults / point).write_text(what)
    command = [sys.executable, str(RIVAL), str(home), "0.05", "0.5"]
    environment = {**os.environ, VARIABLE: str(faults), "RIVAL_ARMS": f"{point} {what} {LATER}"}
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    output, _ = driver.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in output, output
    ended = driver.returncode, output
    assert (faults / f"{point}.fired").exists(), "the run has come by the point"
    return ended


def run_again(home: Path) -> None:
    with acquire(home):
        assert Toy(home).run(small_plan()).counts == {"done": 9}


def check_finished(home: Path, before: dict[str, str]) -> None:
    store = FilesStore(home / "store")
    assert store.commits() == {job.fingerprint for job in small_plan().jobs.values()}
    for job, attempt in before.items():
        assert store.read(job).attempt == attempt, "what was done stays as it was done"
    with Ledger.read(home / "ledger.sqlite") as ledger:
        assert ledger.open_attempts() == []
        attempts = ledger.attempts()
        assert ledger.job_records() == {}
    for job in store.commits():
        endings = [(attempt.ending, attempt.id) for attempt in attempts if attempt.fingerprint == job]
        assert [attempt for ending, attempt in endings if ending == "ok"] == [store.read(job).attempt]
        assert {ending for ending, _ in endings} <= {"ok", "interrupted"}
        assert len(endings) <= (1 if job in before else 2), "nothing is tried again that was done"
    hidden = [path for folder in ("store", "inbox") for path in (home / folder).rglob(".*")]
    assert [*hidden, *home.glob(".driver-*"), *(home / "inbox").glob("*")] == []
    assert not (home / "driver.json").exists()


def committed(home: Path) -> dict[str, str]:
    store = FilesStore(home / "store")
    return {job: store.read(job).attempt for job in store.commits()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "toy"


@pytest.mark.parametrize("point", [*DRIVER, *STORE])
def test_a_driver_killed_at_a_point_costs_what_was_under_way_and_nothing_more(home: Path, point: str) -> None:
    code, _ = run_into(home, home.parent / "faults", point, "kill")
    assert code == -signal.SIGKILL
    before = committed(home)
    run_again(home)
    check_finished(home, before)


@pytest.mark.parametrize("point", [*DRIVER, *STORE])
def test_a_disk_that_is_full_at_a_point_stops_the_run_with_a_sentence_and_the_next_one_finishes(
    home: Path, point: str
) -> None:
    code, output = run_into(home, home.parent / "faults", point, "ENOSPC")
    if point in ("lease.beat", "commit.linked"):  # the next beat, and reading back, make it good
        assert code == 0, output
    else:
        assert code == 1
        assert "no space left on device; free some space, then `run` again: it continues, and completed" in output
        assert len(output.splitlines()) == 1, "one sentence"
    before = committed(home)
    run_again(home)
    check_finished(home, before)


@pytest.mark.parametrize("point", [name for name in DRIVER if name not in (*AT_START, "lease.beat")])
def test_where_attempts_outlive_a_driver_that_stops_at_a_point_they_are_adopted_and_not_started_twice(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, faults = Toy(tmp_path / "toy"), tmp_path / "faults"
    toy.cluster = FakeCluster()
    faults.mkdir()
    monkeypatch.setenv(VARIABLE, str(faults))

    def arm(event: object) -> None:
        if len(toy.store.commits()) >= LATER and not list(faults.iterdir()):
            (faults / point).write_text("EIO")
            if point == "command.recorded":
                channel.send(toy.home, "retry", [fingerprint("train/a")])

    with pytest.raises(OSError, match="Input/output error"):
        toy.run(small_plan(), observe=arm)
    assert (faults / f"{point}.fired").exists()
    before = committed(toy.home)
    assert toy.run(small_plan()).counts == {"done": 9}
    check_finished(toy.home, before)
    labels = [running.submission.label for running in toy.cluster.attempts.values()]
    assert len(labels) == len(set(labels)) == 9, "each job was started once, whoever drove"


def test_what_attempts_that_died_under_a_living_driver_left_in_the_store_is_swept_at_its_end(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "toy")

    def leave(event: Event) -> None:
        if event.kind == "ended" and event.label == "train/a" and event.ending != "ok":
            (toy.store.root / "commits" / f".{event.attempt}.tmp").write_text("{")
            folder = toy.store.prepare("train", fingerprint("train/a"), event.attempt)
            (folder / ".manifest.json.tmp").write_text("{")

    lost = [Act(script="node_lost"), Act(script="vanished"), Act()]
    assert toy.run(small_plan(), {"train/a": lost}, observe=leave).counts == {"done": 9}
    assert toy.endings("train/a") == ["node_lost", "vanished", "ok"]
    assert list((toy.home / "store").rglob(".*")) == []
