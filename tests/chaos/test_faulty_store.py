"""A store whose calls fail, hang, or succeed and report failure costs patience, and nothing else."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faulty_store import FaultyStore
from toy_study import Toy, small_plan

from orchestrator.backends.fake.backend import FakeBackend
from orchestrator.backends.protocol import Report
from orchestrator.errors import StoreError
from orchestrator.schedule import resilient_store
from orchestrator.schedule.events import SilentView
from orchestrator.schedule.run import RunResult, run
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Store
from orchestrator.testing.stores import StoreContract


class TestFaultyStoreWhenCalm(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return FaultyStore(FilesStore(tmp_path / "store"), chances={"ok": 1.0})

    @pytest.fixture
    def other(self, tmp_path: Path) -> Store:
        return FilesStore(tmp_path / "store")


def shape(store: Store) -> dict[str, tuple[str, str]]:
    """What is done, whoever did it: fingerprint -> label and manifest."""
    return {one: (store.read(one).label, store.read(one).manifest) for one in store.commits()}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    toy = Toy(tmp_path_factory.mktemp("calm") / "toy")
    assert toy.run(small_plan()).exit_code == 0
    return shape(toy.store)


def drive(toy: Toy, faulty: FaultyStore, **more: Any) -> RunResult:
    """A driver that sees the faulty store; its fake backend publishes through the true one."""
    with toy.ledger() as ledger:
        return run(
            small_plan(),
            list(small_plan().jobs),
            home=toy.home,
            store=faulty,
            ledger=ledger,
            backend_factory=lambda: toy.backend_type(store=toy.store, now=toy.clock.time, cluster=toy.cluster),
            cluster=toy.settings,
            clock=toy.clock,
            **more,
        )


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


@pytest.mark.parametrize("seed", range(6))
def test_a_driver_whose_store_often_fails_or_lies_ends_as_on_a_calm_day(
    toy: Toy, calm: dict[str, tuple[str, str]], seed: int
) -> None:
    faulty = FaultyStore(toy.store, seed=seed, chances={"fail": 0.4, "lie": 0.2})
    outcome = drive(toy, faulty)
    assert outcome.counts == {"done": 9}
    assert faulty.fates["commits", "fail"] > 0
    assert shape(toy.store) == calm
    assert all(toy.endings(job.label) == ["ok"] for job in small_plan().jobs.values()), "nothing was tried twice"


class Words(SilentView):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_long_silence_is_told_and_nothing_is_started_in_it(toy: Toy) -> None:
    faulty, words = FaultyStore(toy.store, script={"commits": ["ok", *["fail"] * 30]}), Words()
    assert drive(toy, faulty, view=words).counts == {"done": 9}
    assert faulty.fates["commits", "fail"] == 30
    told, again = words.said
    assert "the store does not respond" in told and "nothing is started; nothing is lost" in told
    assert again == "the store responds again"
    assert toy.endings("data") == ["ok"]


def test_a_store_that_stays_silent_ends_the_run_after_unknown_s_and_the_next_run_finishes(toy: Toy) -> None:
    began = toy.clock.monotonic()
    outcome = drive(toy, FaultyStore(toy.store, script={"commits": ["ok", *["fail"] * 10_000]}))
    assert outcome.exit_code == 1
    assert "for 1800 s the store does not respond" in outcome.note
    assert 1800.0 <= toy.clock.monotonic() - began < 3600.0
    assert toy.endings("data") == [None], "what became of it is for the next run to find out"
    assert toy.run(small_plan()).counts == {"done": 9}
    assert toy.endings("data") == ["ok"]


def test_a_store_that_is_silent_at_the_start_is_waited_for_and_one_that_refuses_is_not_for_long(toy: Toy) -> None:
    began = toy.clock.monotonic()
    with pytest.raises(StoreError, match="the store does not respond"):
        drive(toy, FaultyStore(toy.store, chances={"fail": 1.0}, seed=1))
    assert toy.clock.monotonic() - began <= 1810.0
    assert drive(toy, FaultyStore(toy.store, script={"commits": ["fail", "lie", "fail"]})).counts == {"done": 9}


def test_a_hanging_store_does_not_hold_the_loop(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resilient_store, "CALL_TIMEOUT_S", 0.05)
    faulty = FaultyStore(toy.store, script={"commits": ["ok", "hang"]})
    loops = 0

    def count(_: object) -> None:
        nonlocal loops
        loops += 1
        if loops == 20:
            faulty.go_on()

    view = SilentView()
    monkeypatch.setattr(view, "tick", count)
    assert drive(toy, faulty, view=view).counts == {"done": 9}
    assert faulty.fates["commits", "hang"] == 1
    assert loops >= 20
    assert toy.endings("data") == ["ok"]


def test_commit_records_that_cannot_be_read_cost_one_call_and_the_kind_of_device(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resilient_store, "CALL_TIMEOUT_S", 0.05)
    faulty = FaultyStore(toy.store, script={"read": ["fail", "ok", "hang", "hang"]})
    assert drive(toy, faulty).counts == {"done": 9}
    assert (faulty.fates["read", "fail"], faulty.fates["read", "hang"]) == (1, 1)
    with toy.ledger() as ledger:
        assert sorted(one.kind for one in ledger.durations()) == [*[""] * 8, "fake"]


def test_a_store_that_cannot_say_who_won_is_asked_again_and_the_winner_is_booked_as_such(toy: Toy) -> None:
    class Late(FakeBackend):
        """Its host dies after the COMMIT and before it could say so."""

        def poll(self) -> Mapping[str, Report]:
            found = dict(super().poll())
            for attempt, report in found.items():
                if report.ending == "ok":
                    found[attempt] = dataclasses.replace(report, ending="node_lost", detail="its host died")
            return found

    toy.backend_type = Late
    faulty = FaultyStore(toy.store, seed=3, chances={"fail": 0.5}, calls=("read",))
    assert drive(toy, faulty).counts == {"done": 9}
    assert faulty.fates["read", "fail"] > 3
    assert all(toy.endings(job.label) == ["ok"] for job in small_plan().jobs.values())


def test_a_silent_store_when_a_driver_begins_books_what_an_earlier_one_left(toy: Toy) -> None:
    drive(toy, FaultyStore(toy.store, script={"commits": ["ok", *["fail"] * 10_000]}))
    toy.settings.unknown_s = 5.0
    faulty = FaultyStore(toy.store, script={"read": ["fail", "lie", "fail"]})
    assert drive(toy, faulty).counts == {"done": 9}
    assert faulty.fates["read", "fail"] == 2
    assert toy.endings("data") == ["ok"]
