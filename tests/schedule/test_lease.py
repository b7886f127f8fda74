"""One driver a study."""

import dataclasses
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dead_driver import dead_driver

from orchestrator.commands.active_run import wait_for_end
from orchestrator.commands.logs.command import follow_job
from orchestrator.commands.status.watch import watch
from orchestrator.errors import LeaseError, PlanError
from orchestrator.opening import open_study
from orchestrator.schedule import lease as lease_module
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.lease import Lease, acquire
from orchestrator.schedule.lease_holder import LeaseHolder, is_held, read_holder, this_process


def test_the_second_is_refused_and_told_who_drives(tmp_path: Path) -> None:
    with acquire(tmp_path), pytest.raises(LeaseError, match=r"pid \d+ on .* is running this study"):
        acquire(tmp_path)


def test_after_a_release_the_next_one_drives(tmp_path: Path) -> None:
    acquire(tmp_path).release()
    assert not is_held(tmp_path)
    acquire(tmp_path).release()


def test_a_dead_process_of_the_same_boot_is_taken_over_at_once(tmp_path: Path) -> None:
    clock = SimulatedClock()
    acquire(tmp_path, clock, dead_driver())
    began = clock.monotonic()
    lease = acquire(tmp_path, clock)
    assert clock.monotonic() == began
    lease.check()


def test_a_driver_of_another_machine_is_taken_over_after_its_counter_stood_still_for_a_minute(tmp_path: Path) -> None:
    clock = SimulatedClock()
    elsewhere = dataclasses.replace(this_process(), host="elsewhere", boot_id="another")
    earlier = acquire(tmp_path, clock, elsewhere)
    began = clock.monotonic()
    acquire(tmp_path, clock).check()
    assert clock.monotonic() - began >= 60.0
    with pytest.raises(LeaseError, match="no longer holds the lease"):
        earlier.check()


class Beating(SimulatedClock):
    """While somebody waits on this clock, a far driver beats."""

    lease: Lease

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.lease.beat()


class Leaving(Beating):
    """The far driver beats for five minutes, and ends."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.time() >= 1_000_300.0:
            self.lease.release()


def test_a_driver_of_another_machine_whose_counter_moves_is_left_alone(tmp_path: Path) -> None:
    clock = Beating()
    elsewhere = dataclasses.replace(this_process(), host="elsewhere", boot_id="another")
    clock.lease = acquire(tmp_path, clock, elsewhere)
    with pytest.raises(LeaseError, match="is running this study"):
        acquire(tmp_path, clock)


class Patient(SimulatedClock):
    """Says so where somebody would wait for ever."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        assert self.time() < 1_000_600.0, "the wait does not end"


def test_who_stops_a_driver_of_a_machine_that_is_gone_does_not_wait_for_ever(tmp_path: Path) -> None:
    clock, said = Patient(), list[str]()
    gone = dataclasses.replace(this_process(), boot_id="an earlier boot")
    acquire(tmp_path, clock, gone)
    assert not wait_for_end(tmp_path, gone, said.append, clock)
    assert 60.0 <= clock.time() - 1_000_000.0 < 62.0


def test_who_stops_a_driver_that_moves_waits_for_its_end(tmp_path: Path) -> None:
    clock = Leaving()
    clock.lease = acquire(tmp_path, clock, dataclasses.replace(this_process(), boot_id="another"))
    assert wait_for_end(tmp_path, clock.lease.holder, lambda _text: None, clock)
    assert clock.time() >= 1_000_300.0


class Silent:
    """A screen that shows nothing."""

    def show(self, _look: object) -> None:
        pass

    def close(self) -> None:
        pass


def test_who_watches_or_follows_a_driver_of_a_machine_that_is_gone_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    study = open_study(Path("matrix.yaml"))
    job = next(iter(study.plan.jobs.values()))
    acquire(study.home, SimulatedClock(), dataclasses.replace(this_process(), boot_id="an earlier boot"))
    assert watch(study, [job.id], Silent(), Patient()) == 1
    with pytest.raises(PlanError, match="has not been attempted"):
        follow_job(study, job, io.StringIO(), clock=Patient())


def test_a_driver_that_comes_back_after_a_takeover_never_writes_over_its_successor(tmp_path: Path) -> None:
    clock = SimulatedClock()
    earlier = acquire(tmp_path, clock, dataclasses.replace(this_process(), boot_id="another"))
    later = acquire(tmp_path, clock)
    earlier.beat()
    later.check()
    earlier.release()
    later.check()


def test_a_beat_moves_the_counter_of_a_file_that_stays_readable(tmp_path: Path) -> None:
    lease = acquire(tmp_path)
    lease.beat()
    lease.beat()
    found = read_holder(tmp_path)
    assert found is not None
    assert found.counter == 2
    assert json.loads((tmp_path / "driver.json").read_text())["nonce"] == lease.holder.nonce


def test_of_many_that_start_at_once_one_drives(tmp_path: Path) -> None:
    def start(_number: int) -> bool:
        try:
            acquire(tmp_path)
        except LeaseError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(start, range(8))) == 1


def test_of_many_that_start_at_once_on_a_dead_drivers_study_one_drives(tmp_path: Path) -> None:
    dead = dead_driver()

    def one(home: Path) -> Lease | None:
        try:
            return acquire(home)
        except LeaseError:
            return None

    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            home = tmp_path / str(number)
            acquire(home, holder=dead)
            (lease,) = [lease for lease in pool.map(one, [home] * 8) if lease is not None]
            lease.check()
            assert [path.name for path in home.iterdir()] == ["driver.json"]


def test_who_is_late_to_take_over_removes_nothing_that_came_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire(tmp_path, holder=dead_driver())
    leases = list[Lease]()

    def another_is_quicker(name: str) -> None:
        if name == "lease.claimed" and not leases:
            monkeypatch.setattr(lease_module, "point", lambda _name: None)
            next(tmp_path.glob(".driver-*.claim")).unlink()  # as if it had not come so far yet
            leases.append(acquire(tmp_path))

    monkeypatch.setattr(lease_module, "point", another_is_quicker)
    with pytest.raises(LeaseError, match="is running this study"):
        acquire(tmp_path)
    leases[0].check()
    assert [path.name for path in tmp_path.iterdir()] == ["driver.json"]


def claim(home: Path, on: LeaseHolder, claimant: LeaseHolder) -> None:
    (home / f".driver-{on.nonce}.claim").write_text(json.dumps(dataclasses.asdict(claimant)))


def test_a_claim_of_one_that_died_is_claimed_in_turn(tmp_path: Path) -> None:
    first, second, third = dead_driver(), dead_driver(), dead_driver()
    acquire(tmp_path, holder=first)
    claim(tmp_path, first, second)
    claim(tmp_path, second, third)
    acquire(tmp_path).check()
    assert [path.name for path in tmp_path.iterdir()] == ["driver.json"]


def test_a_claim_of_one_that_runs_is_told(tmp_path: Path) -> None:
    dead = dead_driver()
    acquire(tmp_path, holder=dead)
    claim(tmp_path, dead, this_process())
    with pytest.raises(LeaseError, match=rf"pid {os.getpid()} on .* is taking this study over; wait for it"):
        acquire(tmp_path)
    assert read_holder(tmp_path) == dead


def test_a_claim_of_another_machine_is_claimed_in_turn_after_a_minute(tmp_path: Path) -> None:
    clock, dead = SimulatedClock(), dead_driver()
    acquire(tmp_path, holder=dead)
    claim(tmp_path, dead, dataclasses.replace(this_process(), boot_id="another"))
    began, said = clock.monotonic(), list[str]()
    acquire(tmp_path, clock, say=said.append).check()
    assert 60.0 <= clock.monotonic() - began < 62.0
    (told,) = said
    assert told.endswith(
        "began to take this study over and cannot be seen from here; waiting 60 s to see whether it still does"
    )


def test_a_damaged_claim_is_told(tmp_path: Path) -> None:
    dead = dead_driver()
    acquire(tmp_path, holder=dead)
    (tmp_path / f".driver-{dead.nonce}.claim").write_bytes(b"[]")
    with pytest.raises(LeaseError, match=r"\.claim cannot be read .*; remove it, then `run` again"):
        acquire(tmp_path)


def test_a_pid_that_another_process_got_since_is_taken_over_at_once(tmp_path: Path) -> None:
    clock = SimulatedClock()
    acquire(tmp_path, clock, dataclasses.replace(this_process(), start_time=1))
    began = clock.monotonic()
    acquire(tmp_path, clock).check()
    assert clock.monotonic() == began


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1024,
        b'{"host": "here", "boot',
        b"[]",
        b'{"host": 3, "boot_id": "b", "pid_namespace": "p", "pid": "x", "start_time": 1, "nonce": "n"}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_names_nobody_is_put_aside_after_a_minute_in_which_nobody_mends_it(
    tmp_path: Path, content: bytes
) -> None:
    clock, said = SimulatedClock(), list[str]()
    (tmp_path / "driver.json").write_bytes(content)
    assert not is_held(tmp_path)
    began = clock.monotonic()
    acquire(tmp_path, clock, say=said.append).check()
    assert clock.monotonic() - began >= 60.0
    assert said == [f"{tmp_path}/driver.json cannot be read; waiting 60 s to see whether a running process writes it"]
    assert [path.name for path in tmp_path.iterdir()] == ["driver.json"]


def test_a_file_that_a_living_driver_mends_is_left_alone(tmp_path: Path) -> None:
    clock = Beating()
    clock.lease = acquire(tmp_path, clock)
    os.truncate(tmp_path / "driver.json", 10)
    with pytest.raises(LeaseError, match="is running this study"):
        acquire(tmp_path, clock)
    clock.lease.check()


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "driver.json").mkdir()
    with pytest.raises(LeaseError, match=r"driver\.json is a folder.*; move it, then `run` again"):
        acquire(tmp_path)


def test_a_driver_whose_beats_fail_stops_before_another_may_take_over(tmp_path: Path) -> None:
    clock = SimulatedClock()
    acquire(tmp_path, clock)
    own = read_holder(tmp_path)
    assert own is not None
    full = Lease(tmp_path, own, os.open("/dev/full", os.O_WRONLY), clock)
    full.beat()
    clock.sleep(29.0)
    full.check()
    clock.sleep(2.0)
    full.beat()
    with pytest.raises(LeaseError, match=r"could not renew its lease for 30 s \(No space left on device\) and stops"):
        full.check()


def test_a_beat_that_succeeds_makes_good_what_failed_before(tmp_path: Path) -> None:
    clock = SimulatedClock()
    lease = acquire(tmp_path, clock)
    disk, lease._descriptor = lease._descriptor, os.open("/dev/full", os.O_WRONLY)
    lease.beat()
    os.close(lease._descriptor)
    lease._descriptor = disk
    clock.sleep(29.0)
    lease.beat()
    clock.sleep(29.0)
    lease.check()


def test_what_drivers_that_died_at_their_start_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dead = dead_driver()
    living = this_process()
    for name, driver in (("dead.tmp", dead), ("dead.claim", dead), ("living.tmp", living)):
        (tmp_path / f".driver-{name}").write_text(json.dumps(dataclasses.asdict(driver)))
    (tmp_path / ".driver-torn.tmp").write_bytes(b"")
    acquire(tmp_path).release()
    assert [path.name for path in tmp_path.iterdir()] == [".driver-living.tmp"]
