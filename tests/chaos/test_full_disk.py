"""A disk without room, or that lets nobody write: one sentence, exit code 1, and once mended the study goes on."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_study import Toy, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.errors import REMEDIES, DiskError, LedgerError, disk_error, disk_errors
from orchestrator.schedule.driver_log import DriverLog
from orchestrator.schedule.events import Event
from orchestrator.store.files import FilesStore
from orchestrator.ui.progress import PlainView
from orchestrator.ui.terminal import SteadyView

HERE = Path(__file__).parent
SENTENCE = re.compile(r"echo-matrix: \S*/toy\S* ?(cannot be written)?: .+; .+, then `run` again.*\n")
DEADLINE_S = 300.0


def may_unshare(*options: str) -> bool:
    tool = shutil.which("unshare")
    return (
        tool is not None and subprocess.run([tool, *options, "true"], capture_output=True, check=False).returncode == 0
    )


def ended_in_a_sentence(said: str) -> bool:
    return SENTENCE.fullmatch(said) is not None


@pytest.mark.root
def test_on_a_real_disk_that_is_full_or_read_only_every_run_ends_in_a_sentence_and_the_next_finishes_needs_namespaces(
    tmp_path: Path,
) -> None:
    if not may_unshare("-Urm"):
        assert "ENOSPC" in (HERE / "test_driver_points.py").read_text(), "each write of the driver fails there instead"
        return
    place = tmp_path / "small"
    place.mkdir()
    command = ["unshare", "-Urm", sys.executable, str(HERE / "small_disk.py"), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 6
    for case in found:
        assert case["during"]["code"] == 1, case
        assert ended_in_a_sentence(case["during"]["said"]), case
        assert case["after"] == {"code": 0, "said": ""}, case
        assert case["left"] == [], case
    assert any("ledger.sqlite cannot be written" in case["during"]["said"] for case in found)
    assert any("read-only file system; make it writable" in case["during"]["said"] for case in found)


@pytest.mark.root
def test_a_home_in_which_this_user_may_not_write_is_told(tmp_path: Path) -> None:
    prefix = [] if os.geteuid() else ["unshare", "-U"]
    if prefix and not may_unshare("-U"):
        assert errno.EACCES in REMEDIES, "the table says it"
        return
    (tmp_path / "toy").mkdir(mode=0o555)
    command = [*prefix, sys.executable, str(HERE / "rival.py"), str(tmp_path / "toy"), "0.01", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, ended_in_a_sentence(done.stdout)) == (1, True), done
    assert "permission denied; make it writable for this user, or put outputs/ elsewhere ($ECHO_MATRIX_HOME)" in (
        done.stdout
    )
    (tmp_path / "toy").chmod(0o755)
    assert Toy(tmp_path / "toy").run(small_plan()).counts == {"done": 9}


@pytest.mark.parametrize("number", sorted(REMEDIES))
def test_what_a_disk_says_is_told_with_what_to_do(number: int) -> None:
    with pytest.raises(DiskError) as raised, disk_errors(Path("/outputs/study")):
        raise OSError(number, os.strerror(number))
    assert str(raised.value).startswith(f"/outputs/study: {os.strerror(number).lower()}; ")
    assert "then `run` again" in str(raised.value)
    assert raised.value.exit_code == 1


def test_the_file_that_the_system_names_is_the_one_that_is_told_and_a_bug_stays_a_bug() -> None:
    told = disk_error(OSError(errno.ENOSPC, "No space left on device", "/outputs/study/driver.log"), Path("/outputs"))
    assert str(told).startswith("/outputs/study/driver.log: no space left on device; free some space, then")
    assert disk_error(OSError(errno.EINVAL, "Invalid argument")) is None
    with pytest.raises(ValueError, match="a bug"), disk_errors(Path("/outputs")):
        raise ValueError("a bug")


def test_a_driver_log_without_room_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "driver.log").symlink_to("/dev/full")
    log = DriverLog(tmp_path / "driver.log", lambda: 1.0)
    for number in range(10_000):
        log.write("line", number=number)
    log.close()


def test_a_view_on_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    with open("/dev/full", "w", buffering=1) as full:  # noqa: PTH123
        view = SteadyView(PlainView(full))
        assert Toy(tmp_path / "toy").run(small_plan(), view=view).counts == {"done": 9}
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


class Stopped(FakeBackend):
    """Notes what it was asked, in order."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.asked: list[str] = []

    def stop(self, attempts: Any) -> None:
        self.asked.append("stop")
        super().stop(attempts)

    def close(self) -> None:
        self.asked.append("close")
        super().close()


def test_when_nothing_can_be_booked_what_runs_saves_a_checkpoint_first_and_the_next_run_goes_on_from_it(
    tmp_path: Path,
) -> None:
    toy = Toy(tmp_path / "toy")
    toy.backend_type = Stopped
    near = False

    def observe(event: Event) -> None:
        nonlocal near
        near = near or (event.kind == "started" and event.label == "train/a")

    def full() -> None:
        if near and toy.clock.time() >= until:
            raise LedgerError("the ledger cannot be written: database or disk is full; free some space")

    until = toy.clock.time() + 30.0
    with pytest.raises(LedgerError, match="free some space"):
        toy.run(small_plan("a"), {"train/a": [Act(seconds=60.0)]}, observe=observe, fence=full)
    assert isinstance(toy.backend, Stopped)
    assert toy.backend.asked == ["stop", "close"]
    assert toy.run(small_plan("a")).counts == {"done": len(small_plan("a").jobs)}
    (again,) = toy.requests("train/a")
    assert again["resume"] is not None and "/checkpoints/step-" in again["resume"]
    assert FilesStore(toy.home / "store").commits() == {job.fingerprint for job in small_plan("a").jobs.values()}
