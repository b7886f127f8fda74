"""What is believed of an attempt: by evidence, never by silence, and never by the wall clock."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from toy_study import Toy, fingerprint, make_job, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.backends.protocol import Report
from orchestrator.schedule.attempt_monitor import EVIDENCE_S, AttemptFinding, WatchedAttempt, assess
from orchestrator.schedule.clock import SimulatedClock


def make_watch(folder: Path) -> WatchedAttempt:
    return WatchedAttempt(
        attempt="a001-x", job=make_job("train", "train/a"), folder=folder, begun=-1, submitted_at=0.0, running=True
    )


def running(beat: Any) -> Report:
    return Report(attempt="a001-x", phase="running", heartbeat=beat)


def told(watch: WatchedAttempt, report: Report | None, now: float) -> AttemptFinding:
    return assess(watch, report, now, committed=False, stopping=False)


def test_a_heartbeat_that_stands_while_the_backend_says_running_is_unknown_until_it_beats(tmp_path: Path) -> None:
    watch = make_watch(tmp_path)
    assert told(watch, running({"counter": 1}), 0.0).phase == "running"
    assert told(watch, running({"counter": 1}), EVIDENCE_S - 1).phase == "running"
    finding = told(watch, running({"counter": 1}), EVIDENCE_S)
    assert finding.phase == "unknown"
    assert finding.detail == "the backend reports it as running, but its heartbeat has stopped"
    assert told(watch, running({"counter": 2}), EVIDENCE_S + 1).phase == "running"


def test_it_is_never_ended_by_standing_still_however_long(tmp_path: Path) -> None:
    watch = make_watch(tmp_path)
    assert {told(watch, running({"counter": 1}), day * 86400.0).phase for day in range(1, 60)} == {"running", "unknown"}


def test_an_attempt_that_has_not_beaten_yet_may_take_its_time(tmp_path: Path) -> None:
    watch = make_watch(tmp_path)
    assert told(watch, running(None), 0.0).phase == "running"
    assert told(watch, running(None), 10 * EVIDENCE_S).phase == "running"


def test_a_missing_attempt_whose_heartbeat_goes_on_never_vanishes(tmp_path: Path) -> None:
    watch = make_watch(tmp_path)
    for minute in range(60):
        (tmp_path / "heartbeat.json").write_text(f'{{"counter": {minute}}}')
        assert told(watch, None, minute * 60.0).phase == "unknown"
    stands_since = 59 * 60.0
    assert told(watch, None, stands_since + EVIDENCE_S - 1).phase == "unknown"
    assert told(watch, None, stands_since + EVIDENCE_S).ending == "vanished"


def test_one_answer_that_does_not_know_it_is_not_enough_however_late(tmp_path: Path) -> None:
    assert told(make_watch(tmp_path), None, 1e6).phase == "unknown"


def test_an_answer_in_between_begins_the_count_anew(tmp_path: Path) -> None:
    watch = make_watch(tmp_path)
    told(watch, None, 0.0)
    told(watch, running(None), 100.0)
    told(watch, None, 200.0)
    assert told(watch, None, 200.0 + EVIDENCE_S - 1).phase == "unknown"


@pytest.mark.parametrize("beat", [{"counter": [1], "step": "x", "of": None, "phase": 7}, {}, {"step": -1, "of": 2.5}])
def test_a_heartbeat_that_makes_no_sense_stops_nobody(tmp_path: Path, beat: Mapping[str, Any]) -> None:
    watch = make_watch(tmp_path)
    assert told(watch, running(beat), 1.0).phase == "running"
    assert (watch.step, watch.of) == (0, 0)


class Frozen(FakeBackend):
    """Its heartbeats stand still between 300 and 900 s after its start."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._began = self._now()

    def poll(self) -> Mapping[str, Report]:
        reports = super().poll()
        if not 300.0 < self._now() - self._began < 900.0:
            return reports
        return {
            name: report
            if report.heartbeat is None
            else Report(attempt=name, phase="running", heartbeat={"counter": -1})
            for name, report in reports.items()
        }


class JumpingClock(SimulatedClock):
    """Its wall clock is set days forward and back, again and again; the monotonic one goes on."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def time(self) -> float:
        self._calls += 1
        return super().time() + 86400.0 * (self._calls % 7 - 3)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def test_a_hang_is_seen_and_forgotten_when_it_beats_again(toy: Toy) -> None:
    toy.backend_type = Frozen
    outcome = toy.run(small_plan("a"), {"train/a": [Act(seconds=2000.0)]})
    assert outcome.exit_code == 0
    assert toy.endings("train/a") == ["ok"]
    log = (toy.home / "driver.log").read_text()
    assert log.count("its heartbeat has stopped") == 1


STORY = {
    "data": [Act(script="missing"), Act()],
    "latents": [Act(script="unpublished"), Act()],
    "train/a": [Act(script="preempted", reaches=3, seconds=50.0), Act(script="error", reaches=5), Act()],
    "train/b": [Act(script="error")],
    "train/c": [Act(script="out_of_memory"), Act()],
}


def tell(toy: Toy, clock: SimulatedClock) -> tuple[Any, ...]:
    toy.clock = clock
    began = clock.monotonic()
    outcome = toy.run(small_plan(), STORY)
    with toy.ledger() as ledger:
        attempts = ledger.attempts()
    tried = [(one.label, one.ending, one.begun, one.step, one.detail) for one in attempts]
    resumed = [request["resume"] is not None for request in toy.requests("train/a")]
    charged = [ledger_charges(toy, label) for label in STORY]
    return outcome.counts, tried, resumed, charged, clock.monotonic() - began


def ledger_charges(toy: Toy, label: str) -> Any:
    with toy.ledger() as ledger:
        return ledger.charges(fingerprint(label))


def test_a_wall_clock_that_jumps_days_changes_nothing_but_records(tmp_path: Path) -> None:
    calm = tell(Toy(tmp_path / "calm"), SimulatedClock())
    assert tell(Toy(tmp_path / "jumping"), JumpingClock()) == calm


def test_a_jump_does_not_change_which_attempt_is_the_last(toy: Toy) -> None:
    toy.clock = JumpingClock()
    toy.run(small_plan(), STORY)
    with toy.ledger() as ledger:
        ids = [attempt.id for attempt in ledger.attempts(fingerprint("train/a"))]
    assert ids == sorted(ids)
    assert len(ids) == 3
