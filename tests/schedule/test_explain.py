"""`explain` and `status`: the whole story of a job, and each failure once."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from toy_study import Toy, make_job, make_plan, small_plan

from orchestrator.backends.fake.backend import Act
from orchestrator.backends.protocol import HostShare
from orchestrator.commands.explain.command import explain_json, explain_text
from orchestrator.commands.explain.explanation import explanation_of
from orchestrator.commands.status.command import BLOCKED_SHOWN, status_json, status_text
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.plan.job import Plan
from orchestrator.schedule.attempt_monitor import WAITING_FILE
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.ledger.database import Attempt, Ledger
from orchestrator.schedule.retry_policy import Charges
from orchestrator.spec.cluster import BUILT_IN
from orchestrator.study import Study
from workloads.contract.result import Failure

FAILURE = Failure(
    type="ValueError",
    message="no such frame 17",
    frames=["/usr/lib/x.py:1 call", "workloads/training/train.py:12 run"],
)
ONE_CPU = (HostShare(name="fake-0", cpus=1, devices=0, memory_gib=8.0),)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy(tmp_path / "toy")
    toy.clock = SimulatedClock(time.time())  # what is shown to people is told by their clock
    return toy


def study_of(toy: Toy, plan: Plan) -> Study:
    return Study(matrix=toy.home / "matrix.yaml", plan=plan, cluster=BUILT_IN, home=toy.home)


def explained(toy: Toy, plan: Plan, label: str) -> str:
    job = next(job for job in plan.jobs.values() if job.label == label)
    return explain_text(explanation_of(study_of(toy, plan), job))


def run(toy: Toy, plan: Plan, script: Mapping[str, Sequence[Act]] | None = None) -> None:
    toy.run(plan, script, hosts=ONE_CPU)


def test_a_failed_job_is_told_with_attempts_budgets_checkpoint_log_and_traceback(toy: Toy) -> None:
    plan = small_plan("a")
    run(toy, plan, {"train/a": [Act(script="error", reaches=7, error=FAILURE), Act(script="error", error=FAILURE)]})
    with toy.ledger() as ledger:
        first, second = [one for one in ledger.attempts() if one.label == "train/a"]
    (folder,) = toy.home.glob(f"attempts/*/{first.id}")
    (folder.parent / second.id / "log.txt").write_text("no such frame\n", encoding="utf-8")
    text = explained(toy, plan, "train/a")
    lines = [line for line in text.splitlines() if " fake-0, " not in line]
    assert lines == [
        f"train/a ({first.job})",
        "  failed: ended with an error; 1 of 1 retry used: ValueError: no such frame 17",
        "  needs index: done",
        "  needs latents: done",
        "  needed by evaluate/return/a",
        "  retries used: error 1 of 1, out of memory 0 of 1, vanished 0 of 3, interruptions in a row 0 of 10",
        f"  checkpoint: step 7 in {folder}/checkpoints/step-7",
        f"  log: {folder.parent}/{second.id}/log.txt",
        "  next: nothing until `echo-matrix retry train/a`; then it starts from step 7",
        f"  error of {second.id}:",
        "    ValueError: no such frame 17",
        "    workloads/training/train.py:12 run",
        "    /usr/lib/x.py:1 call",
    ]
    one, two = [line for line in text.splitlines() if " fake-0, " in line]
    assert one.endswith("from step 0, last checkpoint: step 7, error: ValueError: no such frame 17")
    assert two.endswith("from step 7, nothing saved, error: ValueError: no such frame 17")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("data", "next: nothing, it is done"),
        ("train/b", "next: `echo-matrix run` starts it from the beginning"),
        ("evaluate/return/a", "next: nothing until train/a can run; see `echo-matrix explain train/a`"),
        ("evaluate/return/b", "next: `echo-matrix run` starts it from the beginning once train/b is done"),
    ],
)
def test_what_comes_next_is_said_for_every_state(toy: Toy, label: str, words: str) -> None:
    plan = small_plan("ab")
    chosen = [job.id for job in plan.jobs.values() if job.label == "train/a"]
    toy.run(plan, {"train/a": [Act(script="bad_input")]}, selected=chosen)
    assert words in explained(toy, plan, label)


def test_a_job_that_diverged_is_not_tried_again_and_says_what_would_help(toy: Toy) -> None:
    plan = small_plan("a")
    run(toy, plan, {"train/a": [Act(script="diverged", error=replace(FAILURE, message="2 of 16 steps; try: less"))]})
    text = explained(toy, plan, "train/a")
    assert toy.endings("train/a") == ["diverged"]
    assert "diverged; a retry would end the same way: ValueError: 2 of 16 steps; try: less" in text
    assert "next: nothing: the same job would diverge again; change what its error names" in text
    assert "error 0 of 1" in text


def test_a_done_job_names_its_artifact_and_no_budgets(toy: Toy) -> None:
    plan = small_plan("a")
    run(toy, plan)
    text = explained(toy, plan, "train/a")
    assert f"  artifact: {toy.home / 'store'}" in text
    assert "charged" not in text


def test_a_smaller_micro_batch_is_told(toy: Toy) -> None:
    plan = make_plan([make_job("train", "train/a")])
    run(toy, plan, {"train/a": [Act(script="out_of_memory", reaches=1), Act(script="bad_input")]})
    assert "micro-batch: 4, 2 per step, reduced after running out of memory" in explained(toy, plan, "train/a")


def test_which_ending_would_be_the_last_is_told_of_a_job_that_runs(toy: Toy) -> None:
    plan = make_plan([make_job("train", "train/a")])
    story = explanation_of(study_of(toy, plan), next(iter(plan.jobs.values())))
    running = replace(story, standing=replace(story.standing, state="running"))
    assert "next: it continues; however this attempt ends, it is retried from its newest checkpoint" in explain_text(
        running
    )
    worn = replace(running, charges=Charges(error=1, free=9))
    assert "without further progress, one more error or interruption makes it fail" in explain_text(worn)
    memory = "without further progress, one more attempt out of memory makes it fail"
    assert memory in explain_text(replace(running, charges=Charges(out_of_memory=1, accumulate=2)))
    assert memory in explain_text(replace(running, charges=Charges(accumulate=8))), "its micro-batch is 1"


def test_programs_get_the_same_story(toy: Toy) -> None:
    plan = small_plan("a")
    run(toy, plan, {"train/a": [Act(script="error", reaches=7, error=FAILURE), Act(script="error", error=FAILURE)]})
    job = next(job for job in plan.jobs.values() if job.label == "train/a")
    told = json.loads(json.dumps(explain_json(explanation_of(study_of(toy, plan), job))))
    assert (told["state"], told["checkpoint"]["step"], told["micro_batch"]) == ("failed", 7, 8)
    assert told["charges"]["error"] == {"used": 2, "allowed": 1}
    assert [(one["begun"], one["step"], one["ending"]) for one in told["attempts"]] == [
        (-1, 7, "error"),
        (7, -1, "error"),
    ]
    assert told["failure"]["message"] == "no such frame 17"
    assert told["needed_by"] == ["evaluate/return/a"]


def test_status_shows_one_traceback_for_all_that_failed_alike_and_the_paused_stage(toy: Toy) -> None:
    plan = small_plan("abcd")
    run(toy, plan, {f"train/{row}": [Act(script="error", error=FAILURE)] for row in "abcd"})
    text = status_text(study_of(toy, plan))
    assert text.count("workloads/training/train.py:12 run") == 1
    assert "3 jobs failed in the same way: train/" in text
    assert "stage train is paused: 3 of its jobs failed in the same way (ValueError)" in text
    told = status_json(study_of(toy, plan))
    assert [bool(one["trace"]) for one in told["failures"]] == [True, False, False]
    assert list(told["paused"]) == ["train"]
    assert {job["state"] for job in told["jobs"] if job["stage"] == "train"} == {"failed", "blocked"}


def test_status_counts_what_many_jobs_are_blocked_by(toy: Toy) -> None:
    plan = make_plan([make_job("train", f"train/{n:02d}") for n in range(20)])
    run(toy, plan, {f"train/{n:02d}": [Act(script="error", error=FAILURE)] for n in range(20)})
    blocked = [line for line in status_text(study_of(toy, plan)).splitlines() if "blocked" in line][1:]
    told = [job for job in status_json(study_of(toy, plan))["jobs"] if job["state"] == "blocked"]
    assert len(blocked) == BLOCKED_SHOWN + 1
    assert blocked[-1].startswith(f"  ... and {len(told) - BLOCKED_SHOWN} more blocked: stage train is paused: ")


def test_status_and_explain_name_the_host_of_each_attempt_alike(toy: Toy) -> None:
    plan = small_plan("a")
    run(toy, plan)
    told = status_json(study_of(toy, plan))
    assert told["version"] == 2, "version 1 called the host `backend`"
    (attempt,) = next(job["attempts"] for job in told["jobs"] if job["label"] == "train/a")
    assert (attempt["host"], attempt["ending"]) == ("fake-0", "ok")
    assert "backend" not in attempt
    job = next(job for job in plan.jobs.values() if job.label == "train/a")
    (explained_attempt,) = explain_json(explanation_of(study_of(toy, plan), job))["attempts"]
    assert attempt.items() <= explained_attempt.items()


def test_programs_are_told_why_an_attempt_waits(toy: Toy) -> None:
    plan = small_plan("a")
    job = next(iter(plan.jobs.values()))
    intent = Attempt(
        id="a001-1", fingerprint=job.fingerprint, job=job.id, label=job.label, stage=job.stage, host="q", intended=1.0
    )
    with Ledger.open(toy.home / "ledger.sqlite") as ledger:
        ledger.record_intent(intent)
    folder = attempt_folder(toy.home, job.fingerprint, intent.id)
    folder.mkdir(parents=True)
    (folder / WAITING_FILE).write_text("Priority (may start at 14:20)\n", encoding="utf-8")
    (told,) = explain_json(explanation_of(study_of(toy, plan), job))["attempts"]
    assert told["waits"] == "Priority (may start at 14:20)"
    (listed,) = status_json(study_of(toy, plan))["jobs"][0]["attempts"]
    assert listed["waits"] == told["waits"]


def test_avoided_hosts_are_in_status_and_explain(toy: Toy) -> None:
    plan = make_plan([make_job("train", f"train/{n}") for n in range(2)])
    run(toy, plan, {f"train/{n}": [Act(script="vanished")] for n in range(2)})
    sentence = "host fake-0 is excluded for 60 min while there are others: attempts of 2 jobs failed there"
    assert sentence in status_text(study_of(toy, plan))
    assert sentence in explained(toy, plan, "train/0")
    (told,) = status_json(study_of(toy, plan))["avoided"]
    assert (told["host"], told["why"]) == ("fake-0", "vanished: as scripted: vanished")


def test_without_failures_status_is_as_short_as_ever(toy: Toy) -> None:
    plan = small_plan("a")
    run(toy, plan)
    assert status_text(study_of(toy, plan)) == "toy · laptop · 5 done"
