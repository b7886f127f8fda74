"""The pace of an attempt, and how long it will take, from its heartbeats."""

import pytest

from orchestrator.schedule.pace import Pace


def test_the_first_heartbeat_tells_no_pace() -> None:
    pace = Pace()
    pace.note(12, 400, 10.0)
    assert (pace.rate, pace.left_s(11.0)) == (None, None)


def test_time_goes_on_between_heartbeats() -> None:
    pace = Pace()
    pace.note(100, 400, 10.0)
    pace.note(150, 400, 20.0)
    pace.note(150, 400, 25.0)  # the same step again: nothing new
    assert pace.rate == pytest.approx(5.0)
    assert pace.left_s(20.0) == pytest.approx(50.0)
    assert pace.left_s(30.0) == pytest.approx(40.0)
    assert pace.left_s(1000.0) == 0.0


@pytest.mark.parametrize(("step", "of"), [(3, 400), (160, 16)])
def test_another_phase_has_its_own_pace(step: int, of: int) -> None:
    pace = Pace()
    pace.note(100, 400, 10.0)
    pace.note(150, 400, 20.0)
    pace.note(step, of, 30.0)
    assert pace.rate is None
    pace.note(step + 1, of, 32.0)
    assert pace.rate == pytest.approx(0.5)


def test_a_single_look_takes_the_mean_pace_since_the_start() -> None:
    pace = Pace()
    pace.note(100, 400, 30.0)
    assert pace.left_s(30.0) is None, "when it started is not known"
    assert pace.left_s(30.0, started=10.0) == pytest.approx(60.0)
    assert pace.left_s(30.0, started=10.0, begun=60) == pytest.approx(150.0), "it resumed: 40 steps in 20 s"
    pace.note(140, 400, 32.0)
    assert pace.left_s(32.0, started=10.0) == pytest.approx(13.0), "two looks tell more"


@pytest.mark.parametrize("step", [0, 1, 19])
def test_a_few_steps_tell_more_of_the_start_than_of_the_pace(step: int) -> None:
    pace = Pace()
    pace.note(step, 400, 30.0)
    assert pace.left_s(30.0, started=0.0) is None
