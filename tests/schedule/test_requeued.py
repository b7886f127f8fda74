"""A backend that puts a job back into its queue by itself: the attempt ends, its successor is followed."""

from pathlib import Path

import pytest
from toy_study import Toy, small_plan

from orchestrator.backends.fake.backend import Act, FakeCluster
from orchestrator.schedule.control import channel
from orchestrator.schedule.events import Event


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy(tmp_path / "toy")
    toy.cluster = FakeCluster()
    return toy


PREEMPTED = Act(script="preempted", requeued=True, reaches=3)


def test_a_requeued_job_is_followed_and_not_submitted_again(toy: Toy) -> None:
    outcome = toy.run(small_plan(), {"train/a": [PREEMPTED, PREEMPTED, Act()]})
    assert outcome.exit_code == 0
    assert toy.submitted().count("train/a") == 1
    assert toy.endings("train/a") == ["preempted", "preempted", "ok"]
    with toy.ledger() as ledger:
        names = [attempt.id for attempt in ledger.attempts() if attempt.label == "train/a"]
    assert names == [names[0], f"{names[0]}.r1", f"{names[0]}.r2"]


def test_the_successor_of_a_job_that_is_not_to_go_on_is_ended(toy: Toy) -> None:
    toy.settings.retries.__dict__["free_in_a_row"] = 1
    outcome = toy.run(small_plan(), {"train/a": [Act(script="preempted", requeued=True), Act(seconds=1e6)]})
    assert outcome.counts["failed"] == 1
    assert toy.cluster is not None
    assert all(running.ending is not None for running in toy.cluster.attempts.values())


def test_a_stop_ends_the_successor_too(toy: Toy) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "started" and event.label == "train/a":
            channel.send(toy.home, "interrupt")

    script = {"train/a": [Act(script="preempted", requeued=True, seconds=0.0), Act(seconds=1e6)]}
    outcome = toy.run(small_plan(), script, observe=interrupt)
    assert outcome.interrupted
    assert toy.cluster is not None
    assert all(running.ending is not None for running in toy.cluster.attempts.values())


def test_a_checkpoint_that_the_successor_is_writing_is_left_alone(toy: Toy) -> None:
    """Its job may have begun again long before a driver comes and books the end of the attempt before it."""
    seen: list[bool] = []

    def look(event: Event) -> None:
        if event.kind != "started" or event.label != "train/a":
            return
        folder = event.paths["attempt"]
        if event.attempt.endswith(".r1"):
            seen.append((folder / "checkpoints" / ".step-9").exists())
        elif ".r" not in event.attempt:
            (folder.with_name(f"{event.attempt}.r1") / "checkpoints" / ".step-9").mkdir(parents=True)

    assert toy.run(small_plan(), {"train/a": [PREEMPTED, Act()]}, observe=look).exit_code == 0
    assert seen == [True]
