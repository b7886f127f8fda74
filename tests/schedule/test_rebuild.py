"""A ledger that is gone is made again from COMMITs and folders; what still runs is taken up and not started twice."""

import json
from pathlib import Path

import pytest
from test_adoption import LONG, die
from toy_study import Toy, fingerprint, make_job, make_plan, small_plan

from orchestrator.backends.fake.backend import Act, FakeCluster
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.schedule.control.commands import request
from orchestrator.schedule.launcher import INTENT, read_intent, write_intent
from orchestrator.schedule.ledger.database import Attempt
from workloads.contract.result import Failure, Result


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def lose_ledger(toy: Toy) -> None:
    (toy.home / "ledger.sqlite").unlink()


def test_attempts_that_outlive_driver_and_ledger_are_adopted_at_their_place(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    die(toy, "train/a")
    with toy.ledger() as ledger:
        before = {one.id: one.placement for one in ledger.open_attempts()}
    lose_ledger(toy)
    with toy.ledger() as ledger:
        assert {one.id: one.placement for one in ledger.open_attempts()} == before
    began = toy.clock.time()
    assert toy.run(small_plan(), LONG).counts == {"done": 9}
    assert toy.endings("train/a") == ["ok"]
    labels = [running.submission.label for running in toy.cluster.attempts.values()]
    assert len(labels) == len(set(labels)) == 9, "nothing was started twice"
    assert toy.backend is not None
    at_once = [one for one in toy.backend.submitted if toy.cluster.attempts[one.attempt].started <= began]
    assert len(at_once) <= 1, "two cpus, and the adopted attempt holds one"


def test_a_result_that_says_ok_may_still_come_to_its_commit(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    die(toy, "train/a")
    with toy.ledger() as ledger:
        (train,) = [one for one in ledger.open_attempts() if one.label == "train/a"]
    folder = attempt_folder(toy.home, train.fingerprint, train.id)
    Result(ending="ok", error=None, steps=10).write(folder / "result.json")
    lose_ledger(toy)
    assert toy.run(small_plan(), LONG).counts == {"done": 9}
    assert toy.endings("train/a") == ["ok"]
    assert "train/a" not in toy.submitted()


def test_attempts_come_back_in_the_order_of_their_numbers_whatever_their_times_say(toy: Toy) -> None:
    job = make_job("train", "train/a")
    for number, attempt in enumerate(("a1000-0", "a999-0", "a002-0")):
        folder = attempt_folder(toy.home, job.fingerprint, attempt)
        folder.mkdir(parents=True)
        decided = {"id": attempt, "fingerprint": job.fingerprint, "job": job.id, "label": job.label, "stage": "train"}
        (folder / INTENT).write_text(
            json.dumps({**decided, "backend": "h", "intended": number, "begun": -1, "cpus": 1, "devices": []})
        )
        Result(ending="error", error=Failure(type="E", message="m", frames=[]), steps=1).write(folder / "result.json")
    with toy.ledger() as ledger:
        assert [one.id for one in ledger.attempts()] == ["a002-0", "a999-0", "a1000-0"]
        assert {one.ending for one in ledger.attempts()} == {"error"}
        assert {one.host for one in ledger.attempts()} == {"h"}, "older code wrote `backend` for `host`"


def leave(toy: Toy, label: str, *attempts: str) -> None:
    """Folders of attempts that were killed without a word."""
    job = make_job("train", label)
    for number, attempt in enumerate(attempts):
        folder = attempt_folder(toy.home, job.fingerprint, attempt)
        folder.mkdir(parents=True)
        write_intent(
            folder,
            Attempt(
                id=attempt,
                fingerprint=job.fingerprint,
                job=job.id,
                label=label,
                stage="train",
                host="fake-0",
                intended=float(number),
                cpus=1,
            ),
        )


def test_attempts_that_were_killed_without_a_word_are_not_charged_again(toy: Toy) -> None:
    killed = [f"a{number:03d}-x" for number in range(1, 13)]
    leave(toy, "train/a", *killed)
    with toy.ledger() as ledger:
        assert [one.id for one in ledger.open_attempts()] == killed[-1:]
    assert toy.run(make_plan([make_job("train", "train/a")])).counts == {"done": 1}
    assert toy.endings("train/a") == ["interrupted"] * 12 + ["ok"]


def test_an_attempt_that_another_followed_starts_no_second_one_beside_it(toy: Toy) -> None:
    toy.cluster = FakeCluster()
    die(toy, "train/a", {"train/a": [Act(seconds=600.0)]})
    leave(toy, "train/a", "a000-x")
    lose_ledger(toy)
    assert toy.run(small_plan()).counts == {"done": 9}
    labels = [running.submission.label for running in toy.cluster.attempts.values()]
    assert labels.count("train/a") == 1


def test_of_a_job_that_slurm_put_back_into_its_queue_the_last_may_run(toy: Toy) -> None:
    names = ["a001-x", *(f"a001-x.r{restart}" for restart in range(1, 12))]
    leave(toy, "train/a", *names)
    with toy.ledger() as ledger:
        assert [one.id for one in ledger.attempts()] == names
        assert [one.id for one in ledger.open_attempts()] == names[-1:]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"id": "a001-x', b"[]", b"\0" * 300, b'{"id": 3}', b'{"devices": "x"}', b"[" * 100_000, b"\xff\xfe"],
)
def test_folders_whose_files_are_broken_are_passed_over(toy: Toy, content: bytes) -> None:
    folder = attempt_folder(toy.home, fingerprint("train/a"), "a001-x")
    folder.mkdir(parents=True)
    for name in (INTENT, "request.json", "result.json"):
        (folder / name).write_bytes(content)
    (toy.home / "attempts" / "a file").write_text("")
    with toy.ledger() as ledger:
        assert ledger.attempts() == []
    assert toy.run(small_plan()).counts == {"done": 9}


def test_an_intent_that_names_another_attempt_is_passed_over(toy: Toy) -> None:
    toy.run(small_plan("a"))
    (source,) = (toy.home / "attempts" / fingerprint("train/a")[:16]).iterdir()
    intent = read_intent(source)
    assert isinstance(intent, Attempt) and intent.placement.host == "fake-0"
    elsewhere = toy.home / "attempts" / ("0" * 16) / source.name
    elsewhere.mkdir(parents=True)
    (elsewhere / INTENT).write_bytes((source / INTENT).read_bytes())
    lose_ledger(toy)
    with toy.ledger() as ledger:
        assert len(ledger.attempts()) == len(small_plan("a").jobs)


def test_a_ledger_that_a_cancel_made_anew_is_filled_by_the_next_run_and_the_cancel_stays(toy: Toy) -> None:
    plan = small_plan("a")
    toy.run(plan, selected=[job.id for job in plan.jobs.values() if job.label == "latents"])
    lose_ledger(toy)
    (index,) = [job for job in plan.jobs.values() if job.label == "index"]
    assert request("cancel", [index], home=toy.home, clock=toy.clock) == "done"
    assert toy.endings("latents") == []
    assert toy.run(plan).counts == {"done": 2, "cancelled": 1, "blocked": 2}
    assert toy.endings("latents") == ["ok"]
