"""Endings through the whole loop: what moves forward is never exhausted, what stands still fails and says so."""

from pathlib import Path

import pytest
from toy_study import Toy, fingerprint, make_job, make_plan

from orchestrator.backends.fake.backend import Act
from orchestrator.backends.protocol import HostShare
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.schedule.events import Event

KILLS = 200
ROOMY = (HostShare(name="fake-0", cpus=16, devices=0, memory_gib=64.0),)
ENDINGS = ("vanished", "node_lost", "preempted", "interrupted", "out_of_memory", "error", "timed_out")
# The first attempt gets to step 3, which is progress; those after it get no further.
STANDS = {
    "vanished": (4, "vanished; 3 of 3 retries used: as scripted: vanished"),
    "node_lost": (11, "ended 10 times in a row without progress, last as node_lost: as scripted: node_lost"),
    "preempted": (11, "ended 10 times in a row without progress, last as preempted: as scripted: preempted"),
    "interrupted": (11, "ended 10 times in a row without progress, last as interrupted: as scripted: interrupted"),
    "out_of_memory": (2, "out of memory; 1 of 1 retry used, last at micro-batch 4: as scripted: out_of_memory; use"),
    "error": (2, "ended with an error; 1 of 1 retry used: as scripted: error"),
    "timed_out": (3, "ran into its time limit without progress; 1 of 1 retry used: as scripted: timed_out"),
}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


@pytest.mark.slow
def test_two_hundred_kills_of_a_job_that_moves_forward_never_exhaust_it(toy: Toy) -> None:
    label = "train/mixed"
    acts = [Act(script=ENDINGS[n % len(ENDINGS)], reaches=n + 1, seconds=0.01) for n in range(KILLS)]  # type: ignore[arg-type]
    outcome = toy.run(make_plan([make_job("train", label)]), {label: [*acts, Act(seconds=0.01)]}, hosts=ROOMY)
    assert outcome.exit_code == 0
    assert toy.endings(label) == [act.script for act in acts] + ["ok"]
    resumed = [request["resume"] for request in toy.requests(label)]
    assert [path.rsplit("step-")[-1] for path in resumed[1:]] == [str(n + 1) for n in range(KILLS)]
    batches = {r["execution"]["micro_batch"] * r["execution"]["accumulate"] for r in toy.requests(label)}
    assert batches == {8}, "the global batch stays what it is"


def test_a_job_that_does_not_move_fails_with_words_that_say_so(toy: Toy) -> None:
    script = {f"train/{ending}": [Act(script=ending, reaches=3)] for ending in ENDINGS}  # type: ignore[arg-type]
    outcome = toy.run(make_plan([make_job("train", label) for label in script]), script, hosts=ROOMY)
    assert outcome.counts == {"failed": len(ENDINGS)}
    reasons = {failed.label: failed.reason for failed in outcome.failures}
    for ending, (attempts, words) in STANDS.items():
        assert toy.endings(f"train/{ending}") == [ending] * attempts
        assert reasons[f"train/{ending}"].startswith(words)


def test_a_checkpoint_that_is_damaged_every_time_is_no_progress(toy: Toy) -> None:
    """It begins at step 10 for ever, because the one of step 20 is torn as soon as its attempt has ended."""

    def tear(event: Event) -> None:
        if event.kind == "ended":
            for state in attempt_folder(toy.home, fingerprint("train/a"), event.attempt).glob(
                "checkpoints/step-20/*.bin"
            ):
                state.write_bytes(b"")

    acts = [Act(script="preempted", reaches=10), Act(script="preempted", reaches=20)]
    outcome = toy.run(make_plan([make_job("train", "train/a")]), {"train/a": acts}, observe=tear)
    assert outcome.counts == {"failed": 1}
    assert "10 times in a row without progress" in outcome.failures[0].reason
    assert len(toy.endings("train/a")) == 12, "two that got further, and ten that did not"


@pytest.mark.parametrize("stage", ["data", "index"])
def test_a_stage_without_checkpoints_never_progresses_and_fails_after_free_in_a_row(toy: Toy, stage: str) -> None:
    outcome = toy.run(make_plan([make_job(stage, stage)]), {stage: [Act(script="preempted", seconds=30.0)]})
    assert toy.endings(stage) == ["preempted"] * 10
    assert "ended 10 times in a row without progress, last as preempted" in outcome.failures[0].reason


def test_an_evaluation_runs_out_of_memory_once_and_is_then_told_what_to_raise(toy: Toy) -> None:
    label = "evaluate/return/a"
    outcome = toy.run(make_plan([make_job("evaluate", label)]), {label: [Act(script="out_of_memory")]})
    assert toy.endings(label) == ["out_of_memory"] * 2
    assert outcome.failures[0].reason.endswith("raise resources.memory_gib")
    assert {request["execution"]["micro_batch"] for request in toy.requests(label)} == {None}


def test_the_smaller_micro_batch_is_kept_until_the_job_is_done(toy: Toy) -> None:
    acts = [Act(script="out_of_memory", reaches=1), Act(script="error", reaches=2), Act(script="preempted"), Act()]
    toy.run(make_plan([make_job("train", "train/a")]), {"train/a": acts})
    assert [request["execution"]["micro_batch"] for request in toy.requests("train/a")] == [8, 4, 4, 4]


def test_of_a_training_that_is_killed_often_two_checkpoints_stay(toy: Toy) -> None:
    def look(event: Event) -> None:
        if event.kind == "ended" and event.ending == "preempted":
            found = sorted(path.name for path in toy.home.glob("attempts/*/*/checkpoints/*"))
            assert found == [f"step-{n}" for n in (len(kept), len(kept) + 1) if n]
            kept.append(event.attempt)

    kept: list[str] = []
    acts = [Act(script="preempted", reaches=n + 1) for n in range(6)] + [Act()]
    assert toy.run(make_plan([make_job("train", "train/a")]), {"train/a": acts}, observe=look).exit_code == 0
    assert len(kept) == 6
    assert "observer failed" not in (toy.home / "driver.log").read_text()
