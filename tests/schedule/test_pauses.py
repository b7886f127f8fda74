"""Pauses between tries: doubled up to the longest, however long a service is away."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.slurm.core.brake import FIRST_S, LONGEST_S, Brake
from orchestrator.pauses import pause_s


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause_s(n, 0.5, 30.0) for n in range(1, 9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pause_s(3, 5.0, 5.0) == 5.0


@given(st.integers(1, 10**9), st.floats(0.01, 100.0), st.floats(1.0, 1000.0))
def test_a_pause_is_never_shorter_than_the_one_before(failures: int, first_s: float, times: float) -> None:
    longest_s = first_s * times
    pause = pause_s(failures, first_s, longest_s)
    assert first_s <= pause <= longest_s
    assert pause_s(failures + 1, first_s, longest_s) == min(longest_s, 2 * pause)


def test_a_service_that_is_away_for_weeks_is_asked_on() -> None:
    brake = Brake()
    for _ in range(5000):
        brake.failed(0.0, "full", refused=False)
    assert brake.holds(LONGEST_S - 1.0) and not brake.holds(LONGEST_S) and FIRST_S < LONGEST_S
