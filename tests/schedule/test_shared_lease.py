"""One driver a store, however many homes share it."""

import dataclasses
import errno
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import LeaseError, StoreError
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.lease_holder import LeaseHolder, this_process
from orchestrator.schedule.shared_lease import PREFIX, SharedLease, acquire_shared, acquire_study, shared_holder
from orchestrator.store.protocol import ObjectEntry, SharedObjects
from orchestrator.testing.objects import FolderObjects


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "bucket")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def elsewhere(name: str = "elsewhere") -> LeaseHolder:
    """A process on another machine, of which nothing can be seen."""
    return dataclasses.replace(this_process(), host=name, boot_id=f"boot of {name}")


def take(objects: SharedObjects, clock: SimulatedClock, holder: LeaseHolder | None = None) -> SharedLease:
    return acquire_shared(objects, holder or this_process(), Path("/home/one"), clock)


def numbers(objects: FolderObjects) -> list[str]:
    return [entry.key.removeprefix(PREFIX) for entry in objects.entries(PREFIX)]


def test_the_second_home_is_refused_and_told_who_drives(objects: FolderObjects, tmp_path: Path) -> None:
    with acquire_study(tmp_path / "one", objects):
        with (
            pytest.raises(LeaseError, match=rf"pid {os.getpid()} on .* \({tmp_path}/one\) is running this study"),
            acquire_study(tmp_path / "two", objects),
        ):
            pass
        found = shared_holder(objects)
        assert found is not None
        assert (found.is_of(tmp_path / "one"), found.is_of(tmp_path / "two")) == (True, False)
    assert shared_holder(objects) is None
    with acquire_study(tmp_path / "two", objects) as lease:
        lease.confirm()


def test_a_released_lease_is_taken_at_once_and_what_is_left_of_earlier_ones_is_deleted(
    objects: FolderObjects, clock: SimulatedClock
) -> None:
    for _ in range(3):
        take(objects, clock, elsewhere()).release()
    began = clock.monotonic()
    take(objects, clock).check()
    assert clock.monotonic() == began
    assert numbers(objects) == ["0000000004.json"]


def test_a_dead_process_of_this_machine_is_taken_over_at_once(objects: FolderObjects, clock: SimulatedClock) -> None:
    take(objects, clock, dataclasses.replace(this_process(), start_time=1))
    assert shared_holder(objects) is None
    began = clock.monotonic()
    take(objects, clock)
    assert clock.monotonic() == began


class Beating(FolderObjects):
    """Another machine writes its beat whenever somebody looks."""

    lease: SharedLease | None = None

    def entries(self, prefix: str) -> list[ObjectEntry]:
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.beat()
            self.lease = lease
        return super().entries(prefix)


def test_a_process_of_another_machine_that_beats_is_left_alone(tmp_path: Path, clock: SimulatedClock) -> None:
    objects = Beating(tmp_path / "bucket")
    objects.lease = take(objects, clock, elsewhere())
    with pytest.raises(LeaseError, match=r"on elsewhere \(/home/one\) is running this study; wait for it, or stop it"):
        take(objects, clock)


def test_a_silent_process_of_another_machine_is_taken_over_after_a_minute_and_stops(
    objects: FolderObjects, clock: SimulatedClock
) -> None:
    earlier = take(objects, clock, elsewhere())
    earlier.beat()
    began, said = clock.monotonic(), []
    later = acquire_shared(objects, this_process(), Path("/home/two"), clock, said.append)
    assert clock.monotonic() - began >= 60.0
    assert "on elsewhere (/home/one) ran this study last and cannot be seen from here; waiting 60 s" in said[0]
    with pytest.raises(LeaseError, match=r"could not renew its lease for 6\d s \(no answer\) and stops before another"):
        earlier.check()
    with pytest.raises(LeaseError, match=r"no longer holds the lease, pid .* \(/home/two\) does"):
        earlier.confirm()
    earlier.release()
    later.confirm()
    assert shared_holder(objects) is not None, "the earlier one released nothing of the later one"


def test_of_many_that_take_over_at_once_one_wins(objects: FolderObjects) -> None:
    take(objects, SimulatedClock(), dataclasses.replace(this_process(), start_time=1))

    def attempt(number: int) -> SharedLease | None:
        try:
            return take(objects, SimulatedClock(), dataclasses.replace(this_process(), host=f"name-{number}"))
        except LeaseError:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [lease for lease in pool.map(attempt, range(8)) if lease is not None]
    assert len(winners) == 1
    winners[0].confirm()


def test_a_late_claim_of_a_number_that_is_free_again_loses(objects: FolderObjects, clock: SimulatedClock) -> None:
    """It saw number 1 end; meanwhile 2 was claimed, released and deleted, and 3 holds."""
    take(objects, clock).release()
    stale = objects.entries(PREFIX)
    take(objects, clock).release()
    holder = take(objects, clock)

    class Late(FolderObjects):
        seen: Sequence[ObjectEntry] | None = stale

        def entries(self, prefix: str) -> list[ObjectEntry]:
            seen, self.seen = self.seen, None
            return super().entries(prefix) if seen is None else list(seen)

    with pytest.raises(LeaseError, match="has just taken over"):
        take(Late(objects.root), clock, elsewhere())
    holder.confirm()


class Away(FolderObjects):
    """A store that does not respond while `away`."""

    away = False

    def entries(self, prefix: str) -> list[ObjectEntry]:
        self._fail()
        return super().entries(prefix)

    def put(self, key: str, content: bytes) -> None:
        self._fail()
        super().put(key, content)

    def delete(self, keys: Collection[str]) -> None:
        self._fail()
        super().delete(keys)

    def _fail(self) -> None:
        if self.away:
            raise OSError(errno.ETIMEDOUT, "timed out")


def test_a_holder_that_does_not_reach_the_store_stops_before_another_may_take_over(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    objects = Away(tmp_path / "bucket")
    lease = take(objects, clock)
    objects.away = True
    lease.beat()
    clock.sleep(20)
    lease.check()
    with pytest.raises(LeaseError, match=r"cannot see who holds the lease: .*timed out; nothing is deleted"):
        lease.confirm()
    clock.sleep(11)
    with pytest.raises(LeaseError, match=r"could not renew its lease for 31 s \(.*timed out\)"):
        lease.check()
    objects.away = False
    lease.beat()
    lease.check()
    objects.away = True
    with pytest.raises(StoreError, match=r"the store does not respond: .*timed out"):
        take(objects, clock)


def test_a_damaged_claim_is_watched_like_one_that_cannot_be_seen(objects: FolderObjects, clock: SimulatedClock) -> None:
    objects.put(f"{PREFIX}0000000001.json", b"{")
    objects.put(f"{PREFIX}notes.txt", b"mine")
    began = clock.monotonic()
    take(objects, clock)
    assert clock.monotonic() - began >= 60.0
    assert numbers(objects) == ["0000000002.json", "notes.txt"]
