"""A driver that dies leaves attempts behind: adopted where the backend outlives drivers, ended and free where not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from toy_study import Toy, commit_of, make_job, make_plan, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend, FakeCluster
from orchestrator.backends.protocol import Submission
from orchestrator.errors import LeaseError
from orchestrator.schedule.control.commands import request
from orchestrator.schedule.events import Event

LONG = {"train/a": [Act(seconds=60.0)]}


class Death:
    """A fence that raises once an attempt of `label` runs: the driver stops without a further act."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.near = False

    def observe(self, event: Event) -> None:
        self.near = self.near or (event.kind == "started" and event.label == self._label)

    def __call__(self) -> None:
        if self.near:
            raise LeaseError("gone")


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def die(toy: Toy, label: str, script: Mapping[str, Sequence[Act]] = LONG) -> None:
    death = Death(label)
    with pytest.raises(LeaseError):
        toy.run(small_plan(), script, observe=death.observe, fence=death)


def test_where_the_backend_outlives_drivers_an_attempt_is_adopted_and_not_started_twice(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    die(toy, "train/a")
    submitted: list[list[str]] = []
    outcome = toy.run(small_plan(), LONG, on_accepted=lambda: submitted.append(toy.submitted()))
    assert outcome.exit_code == 0 and submitted == [[]], "accepted once, before anything is submitted"
    assert "train/a" not in toy.submitted()
    assert toy.endings("train/a") == ["ok"]


def test_where_the_backend_dies_with_its_driver_the_attempt_is_interrupted_and_free(toy: Toy) -> None:
    die(toy, "train/a")
    outcome = toy.run(small_plan(), LONG)
    assert outcome.exit_code == 0
    assert toy.endings("train/a") == ["interrupted", "ok"]


def test_an_adopted_attempt_holds_its_place_on_the_host(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    die(toy, "train/a")
    before = toy.clock.time()
    toy.run(small_plan(), LONG)
    assert toy.backend is not None
    at_once = [one for one in toy.backend.submitted if toy.cluster.attempts[one.attempt].started <= before]
    assert len(at_once) <= 1, "two cpus, and the adopted attempt holds one"


def test_an_adopted_attempt_that_this_run_does_not_ask_for_is_stopped_and_goes_on_another_time(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    die(toy, "train/a")
    plan = small_plan()
    (chosen,) = [job.id for job in plan.jobs.values() if job.label == "evaluate/return/b"]
    assert toy.run(plan, LONG, selected=[chosen]).exit_code == 0
    assert toy.endings("train/a") == ["interrupted"]
    assert toy.run(plan).exit_code == 0
    assert toy.endings("train/a") == ["interrupted", "ok"]


def test_an_attempt_whose_job_was_cancelled_without_a_driver_is_stopped_though_nothing_else_is_to_do(toy: Toy) -> None:
    toy.cluster, plan = FakeCluster(), make_plan([make_job("train", "train/a")])
    death = Death("train/a")
    with pytest.raises(LeaseError):
        toy.run(plan, LONG, observe=death.observe, fence=death)
    assert request("cancel", list(plan.jobs.values()), home=toy.home, clock=toy.clock) == "done"
    assert toy.run(plan).counts == {"cancelled": 1}
    assert [running.ending for running in toy.cluster.attempts.values()] == ["interrupted"]
    assert toy.endings("train/a") == ["interrupted"]
    toy.run(plan)
    assert toy.backend is None


@pytest.mark.parametrize("lasting", [True, False])
def test_an_attempt_whose_job_another_has_done_is_stopped_though_nothing_else_is_to_do(toy: Toy, lasting: bool) -> None:
    toy.cluster, plan = FakeCluster() if lasting else None, make_plan([make_job("train", "train/a")])
    death = Death("train/a")
    with pytest.raises(LeaseError):
        toy.run(plan, LONG, observe=death.observe, fence=death)
    (job,) = plan.jobs.values()
    folder = toy.store.prepare("train", job.fingerprint, "a000-zombie")
    (folder / "weights.bin").write_bytes(b"z")
    assert toy.store.commit(commit_of(job, "a000-zombie"), folder)
    assert toy.run(plan).counts == {"done": 1}
    if toy.cluster is not None:
        assert [running.ending for running in toy.cluster.attempts.values()] == ["interrupted"]
    assert toy.endings("train/a") == ["interrupted"]
    toy.run(plan)
    assert toy.backend is None


def test_an_intent_that_the_backend_never_heard_of_is_free_and_done_again(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    die(toy, "train/a")
    for attempt in [one for one, running in toy.cluster.attempts.items() if running.submission.label == "train/a"]:
        del toy.cluster.attempts[attempt], toy.cluster.open[attempt]
    with toy.ledger() as ledger, ledger.transaction():
        for open_attempt in ledger.open_attempts():
            ledger.record_tickets({open_attempt.id: ""})
    assert toy.run(small_plan()).exit_code == 0
    assert toy.endings("train/a") == ["interrupted", "ok"]


class DeafOnce(FakeBackend):
    """What is to start the first attempt dies over it, and nobody knows whether it was heard: it was not."""

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        tickets = dict(super().submit(submissions))
        lost = self.submitted[0].attempt
        if lost in tickets:
            del self._cluster.attempts[lost], self._cluster.open[lost]
            tickets[lost] = ""
        return tickets


def test_an_attempt_without_a_ticket_that_was_never_heard_of_is_free_and_done_again(toy: Toy) -> None:
    toy.backend_type = DeafOnce
    assert toy.run(make_plan([make_job("train", "train/a")])).exit_code == 0
    assert toy.endings("train/a") == ["interrupted", "ok"]
