"""Children of the Ray backend that cannot start are given up; those whose cluster is silent are not."""

from orchestrator.backends.ray.restarts import PAUSES_S, STARTS, Restarts


def test_a_child_that_cannot_start_is_given_up_after_some_tries() -> None:
    restarts = Restarts()
    for _ in range(STARTS):
        assert restarts.may_start(0.0)
        restarts.ended(0.0, opened=False, silent=False)
    assert restarts.given_up and not restarts.may_start(1e9)


def test_a_silent_cluster_is_looked_for_less_and_less_often_and_never_given_up() -> None:
    restarts, now, pauses = Restarts(), 0.0, []
    restarts.ended(now, opened=True, silent=True)
    assert restarts.may_start(now), "it may be back already"
    for _ in range(20):
        restarts.ended(now, opened=False, silent=True)
        began = now
        while not restarts.may_start(now):
            now += 0.5
        pauses.append(now - began)
    assert tuple(pauses[: len(PAUSES_S)]) == PAUSES_S and set(pauses[len(PAUSES_S) :]) == {PAUSES_S[-1]}
    restarts.ended(now, opened=True, silent=False)
    assert restarts.may_start(now)
