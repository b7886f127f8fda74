"""A driver that is told to end: attempts that outlive it go on, and the next one takes them up."""

import os
import signal
from pathlib import Path

import pytest
from toy_study import TWO_CPUS, Toy, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend, FakeCluster
from orchestrator.backends.protocol import HostShare, Report
from orchestrator.errors import BackendSilent
from orchestrator.schedule.attempt_monitor import waiting_reason
from orchestrator.schedule.events import Event, SilentView
from orchestrator.schedule.shutdown import Shutdown

LONG = {"train/a": [Act(seconds=60.0)]}


class Said(SilentView):
    """Keeps the sentences."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, text: str) -> None:
        self.sentences.append(text)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


class Once:
    """Sends this process a signal when train/a has started."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, event: Event) -> None:
        if event.kind == "started" and event.label == "train/a":
            os.kill(os.getpid(), self._number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_where_attempts_outlive_their_driver_it_leaves_and_they_go_on(toy: Toy, number: signal.Signals) -> None:
    toy.cluster, said = FakeCluster(), Said()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        outcome = toy.run(small_plan("a"), LONG, observe=Once(number), view=said)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (outcome.interrupted, outcome.exit_code) == (True, 130)
    assert toy.endings("train/a") == [None]
    assert "attempts that continue: 1; `run` adopts them" in "\n".join(said.sentences)
    outcome = toy.run(small_plan("a"), LONG)
    assert outcome.exit_code == 0
    assert "train/a" not in toy.submitted()
    assert toy.endings("train/a") == ["ok"]


def test_where_they_do_not_it_stops_them(toy: Toy) -> None:
    outcome = toy.run(small_plan("a"), LONG, observe=Once(signal.SIGTERM))
    assert outcome.exit_code == 130
    assert toy.endings("train/a") == ["interrupted"]


def test_ctrl_c_stops_attempts_that_would_outlive_the_driver_too(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    outcome = toy.run(small_plan("a"), LONG, observe=Once(signal.SIGINT))
    assert outcome.exit_code == 130
    assert toy.endings("train/a") == ["interrupted"]


def test_a_driver_that_stops_its_attempts_may_still_be_told_to_leave() -> None:
    shutdown = Shutdown(grace_s=20.0)
    shutdown.request()
    assert shutdown.next_act(0.0, outlives=True) == "stop"
    shutdown.leave()
    assert shutdown.next_act(1.0, outlives=True) == "leave"
    assert shutdown.leaving and shutdown.next_act(2.0, outlives=True) is None


def test_where_attempts_do_not_outlive_it_being_told_again_is_the_second_ctrl_c() -> None:
    shutdown = Shutdown(grace_s=20.0)
    shutdown.leave()
    assert shutdown.next_act(0.0, outlives=False) == "stop"
    shutdown.leave()
    assert shutdown.next_act(1.0, outlives=False) == "kill"


class Silent(FakeBackend):
    """Takes nothing for the first seconds of its life: its scheduler does not answer."""

    for_s = 60.0

    def hosts(self) -> tuple[HostShare, ...]:
        born = self.__dict__.setdefault("born", self._now())
        if self._now() - born < self.for_s:
            raise BackendSilent("nobody answers")
        return TWO_CPUS


class SilentForEver(Silent):
    for_s = 1e9


def test_a_backend_that_does_not_answer_is_waited_for_and_the_user_is_told_once(toy: Toy) -> None:
    toy.backend_type, said = Silent, Said()
    outcome = toy.run(small_plan("a"), view=said)
    assert outcome.exit_code == 0
    assert said.sentences == [
        "nothing can be started (nobody answers); the backend is polled again, and nothing is submitted twice",
        "the backend responds again",
    ]


def test_one_that_never_answers_ends_the_run_with_its_words_after_unknown_s(toy: Toy) -> None:
    toy.backend_type = SilentForEver
    outcome = toy.run(small_plan("a"))
    assert outcome.exit_code == 1
    assert outcome.note.startswith("for 1800 s nobody answers and no other job could be started")


def test_why_an_attempt_waits_can_be_read_from_other_terminals(toy: Toy) -> None:
    seen: list[str] = []

    class Waiting(FakeBackend):
        """Lets attempts wait for ten seconds."""

        def poll(self) -> dict[str, Report]:
            reports = dict(super().poll())
            for attempt, report in reports.items():
                if report.phase == "running" and self._now() - (report.started or 0.0) < 10.0:
                    reports[attempt] = Report(attempt=attempt, phase="waiting", detail="Priority: others come first")
            return reports

    def look(event: Event) -> None:
        if event.kind == "tick":
            seen.extend(waiting_reason(folder) for folder in event.paths.values())

    toy.backend_type = Waiting
    assert toy.run(small_plan("a"), {"data": [Act(seconds=30.0)]}, observe=look).exit_code == 0
    assert "Priority: others come first" in seen
