"""Failures as people and programs see them: one traceback, N labels."""

from pathlib import Path

import pytest
from toy_study import Toy, small_plan

from orchestrator.backends.fake.backend import Act
from orchestrator.backends.protocol import HostShare
from orchestrator.schedule.failures import FailedJob, failures_json, failures_text
from orchestrator.ui.progress import PlainView
from workloads.contract.result import Failure

ONE_CPU = (HostShare(name="fake-0", cpus=1, devices=0, memory_gib=8.0),)
WORDS = "shape does not fit"


def failing(rows: str) -> dict[str, list[Act]]:
    failure = Failure(type="RuntimeError", message=f"{WORDS}\nsecond line", frames=["workloads/model/block.py:3 run"])
    return {f"train/{row}": [Act(script="error", error=failure)] for row in rows}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def make(label: str, signature: str = "s", reason: str = "ended with an error") -> FailedJob:
    return FailedJob(label=label, reason=reason, trace=(f"KeyError: {label}", "a.py:1 f"), signature=signature)


def test_jobs_that_failed_alike_are_one_paragraph_with_one_traceback() -> None:
    text = failures_text([make("train/a"), make("train/b"), make("train/c", "other")])
    assert text == (
        "2 jobs failed in the same way: train/a, train/b\n"
        "  ended with an error\n"
        "  KeyError: train/a\n"
        "  a.py:1 f\n"
        "  log: echo-matrix logs train/a; again: echo-matrix retry train/a train/b\n"
        "\n"
        "failed: train/c: ended with an error\n"
        "  KeyError: train/c\n"
        "  a.py:1 f\n"
        "  log: echo-matrix logs train/c; again: echo-matrix retry train/c"
    )


def test_a_hundred_that_failed_alike_stay_a_few_lines_and_are_retried_together() -> None:
    text = failures_text(
        [make(f"train/{n}") for n in range(100)], {"train": "100 of its jobs failed in the same way (KeyError)"}
    )
    assert len(text.splitlines()) < 10
    assert "train/5 and 94 more" in text
    assert "again: echo-matrix retry --failed" in text
    assert text.endswith("stage train is paused: 100 of its jobs failed in the same way (KeyError)")


def test_without_a_traceback_the_words_tell_which_failed_alike() -> None:
    jobs = [FailedJob(label=name, reason="vanished") for name in "ab"] + [FailedJob(label="c", reason="other")]
    assert failures_text(jobs).count("2 jobs failed in the same way: a, b") == 1


def test_programs_get_every_job_and_each_traceback_once() -> None:
    first, second = failures_json([make("train/a"), make("train/b")])
    assert (first["label"], first["trace"][0], first["alike"]) == ("train/a", "KeyError: train/a", None)
    assert (second["label"], second["trace"], second["alike"]) == ("train/b", [], "train/a")


def test_a_run_shows_one_traceback_once_and_says_once_that_the_stage_is_paused(toy: Toy) -> None:
    stream = toy.home.with_suffix(".out")
    with stream.open("w") as out:
        outcome = toy.run(small_plan("abcd"), failing("abcd"), hosts=ONE_CPU, view=PlainView(out))
    said = stream.read_text()
    assert said.count("workloads/model/block.py:3 run") == 1
    assert said.count("stage train is paused") == 1
    assert said.count("the same traceback as train/") == 2
    assert list(outcome.paused) == ["train"]
    assert failures_text(outcome.failures, outcome.paused).count(WORDS) <= 2  # in the reason, and in the traceback
    assert all("\n" not in failure.reason for failure in outcome.failures)


def test_rows_that_diverged_are_tried_once_and_pause_no_other_row(toy: Toy) -> None:
    acts = {label: [Act(script="diverged", error=act[0].error)] for label, act in failing("abc").items()}
    outcome = toy.run(small_plan("abcd"), acts, hosts=ONE_CPU)
    assert {label: toy.endings(label) for label in acts} == {label: ["diverged"] for label in acts}
    assert toy.endings("train/d") == ["ok"]
    assert outcome.paused == {}
    text = failures_text(outcome.failures)
    assert "3 jobs failed in the same way: train/a, train/b, train/c" in text
    assert text.count("RuntimeError") == 1 and "block.py" not in text  # where it was raised is of no use
    assert text.endswith("  log: echo-matrix logs train/a")  # and not how to do the same again


def test_a_retry_of_one_of_them_lets_the_stage_go_on(toy: Toy) -> None:
    plan = small_plan("abcd")
    toy.run(plan, failing("abc"), hosts=ONE_CPU)
    assert toy.run(plan).submitted == 0
    toy.note("retry", [job.label for job in plan.jobs.values() if job.label == "train/a"])
    outcome = toy.run(plan)
    assert toy.endings("train/d") == ["ok"]
    assert outcome.counts["failed"] == 2
    assert outcome.paused == {}


def test_failures_of_jobs_that_the_matrix_no_longer_has_pause_nothing(toy: Toy) -> None:
    toy.run(small_plan("abc"), failing("abc"), hosts=ONE_CPU)
    assert toy.run(small_plan("xyz")).exit_code == 0


def test_a_secret_in_a_message_is_shown_to_nobody(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL_TOKEN", "s3cr3t-of-the-environment")
    failure = Failure(type="ValueError", message="cannot read with s3cr3t-of-the-environment", frames=[])
    stream = toy.home.with_suffix(".out")
    with stream.open("w") as out:
        outcome = toy.run(small_plan("a"), {"data": [Act(script="bad_input", error=failure)]}, view=PlainView(out))
    assert failures_text(outcome.failures).count("cannot read with ***") == 2
    shown = [stream.read_text(), failures_text(outcome.failures), (toy.home / "driver.log").read_text()]
    assert not [text for text in shown if "s3cr3t" in text]
    assert b"s3cr3t" not in (toy.home / "ledger.sqlite").read_bytes()
