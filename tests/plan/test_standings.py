"""Where jobs stand, why they would run, and how a plan is shown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.plan.build import build_plan
from orchestrator.plan.diff import History, document, standings
from orchestrator.plan.job import Plan, State
from orchestrator.plan.show import plan_json, plan_text
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Matrix


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "tests" / "golden" / "matrix.yaml")


@pytest.fixture(scope="module")
def plan(matrix: Matrix) -> Plan:
    return planned(matrix)


def planned(matrix: Matrix, *overrides: str) -> Plan:
    resolved = resolve_profile(matrix, "laptop", overrides)
    return build_plan(resolved, expand(resolved))


def by_label(plan: Plan, found: object) -> dict[str, tuple[str, str]]:
    assert isinstance(found, dict)
    return {plan.jobs[job].label: (standing.state, standing.reason) for job, standing in found.items()}


def all_done(plan: Plan) -> frozenset[str]:
    return frozenset(job.fingerprint for job in plan.jobs.values())


def at(plan: Plan, label: str) -> str:
    return next(job.fingerprint for job in plan.jobs.values() if job.label == label)


def test_what_was_never_seen_is_new(plan: Plan) -> None:
    assert set(by_label(plan, standings(plan, frozenset(), {}, {})).values()) == {("new", "never run")}


def test_a_commit_outranks_every_memory(plan: Plan) -> None:
    states: list[State] = ["failed", "cancelled", "running", "unknown"]
    for state in states:
        history = {fingerprint: History(attempts=3, state=state) for fingerprint in all_done(plan)}
        assert set(by_label(plan, standings(plan, all_done(plan), history, {})).values()) == {("done", "done")}


def test_a_changed_key_is_named_with_both_values_and_downstream_names_its_input(matrix: Matrix, plan: Plan) -> None:
    previous = {job.label: document(job) for job in plan.jobs.values()}
    later = planned(matrix, "controls.training.steps=300", "controls.training.rate=1e-3")
    found = by_label(later, standings(later, all_done(plan), {}, previous))
    assert found["data"] == ("done", "done")
    assert found["index/s0"] == ("new", "training.steps 400 -> 300 since the last plan")
    both = "training.rate 0.002 -> 0.001, training.steps 400 -> 300 since the last plan"
    anew = (
        "begins anew: with training.schedule cosine every rate depends on the number of steps; one of wsd is continued"
    )
    assert found["train/context-k5/s0"] == ("new", f"{both}; {anew}")
    assert found["evaluate/loop/context-k5/s0"] == ("new", "an input changed: train/context-k5/s0")
    assert found["judge/loop/context-k5/s0"] == ("new", "an input changed: evaluate/loop/context-k5/s0")


def test_a_changed_row_and_a_null_are_named(matrix: Matrix, plan: Plan) -> None:
    previous = {job.label: document(job) for job in plan.jobs.values()}
    later = planned(matrix, "memory.context-k5.frames=6", "controls.training.clip=null")
    found = by_label(later, standings(later, all_done(plan), {}, previous))
    assert found["train/context-k5/s0"][1] == "row.frames 5 -> 6, training.clip 1.0 -> null since the last plan"


def test_a_raised_revision_is_named(plan: Plan) -> None:
    job = next(job for job in plan.jobs.values() if job.label == "train/ssm-hybrid/s0")
    previous = {job.label: {**document(job), "revisions.memory/ssm": 0}}
    found = by_label(plan, standings(plan, frozenset(), {}, previous))
    assert found[job.label] == ("new", "revisions.memory/ssm 0 -> 1 since the last plan")


def test_an_attempted_job_is_run_again_and_says_after_what(plan: Plan) -> None:
    history = {at(plan, "data"): History(attempts=2, state=None, reason="preempted")}
    found = by_label(plan, standings(plan, frozenset(), history, {}))
    assert found["data"] == ("retry", "retry after 2 attempts: preempted")


def test_a_job_remembered_as_done_without_a_commit_is_new(plan: Plan) -> None:
    history = {at(plan, "data"): History(attempts=1, state="done")}
    assert by_label(plan, standings(plan, frozenset(), history, {}))["data"] == ("new", "its artifact is gone")


def test_what_needs_a_failed_or_cancelled_job_is_blocked_and_names_the_root(plan: Plan) -> None:
    history = {
        at(plan, "train/spatial/s0"): History(attempts=2, state="failed", reason="RuntimeError: x"),
        at(plan, "train/ssm-hybrid/s0"): History(attempts=1, state="cancelled"),
    }
    found = by_label(plan, standings(plan, frozenset(), history, {}))
    assert found["train/spatial/s0"] == ("failed", "RuntimeError: x")
    assert found["judge/loop/spatial/s0"] == ("blocked", "needs train/spatial/s0 which failed")
    assert found["evaluate/loop/spatial-masked/s0"] == ("blocked", "needs train/spatial/s0 which failed")
    assert found["judge/return/ssm-hybrid/s0"] == ("blocked", "needs train/ssm-hybrid/s0 which was cancelled")
    assert found["train/ssm-hybrid/s0"] == ("cancelled", "cancelled; `echo-matrix retry` lets it run again")
    assert found["train/context-k5/s0"] == ("new", "never run")


def test_a_paused_stage_blocks_its_jobs_and_theirs(plan: Plan) -> None:
    found = by_label(plan, standings(plan, frozenset(), {}, {}, paused={"train": "3 cells failed alike"}))
    assert found["train/spatial/s0"] == ("blocked", "stage train is paused: 3 cells failed alike")
    assert found["judge/loop/spatial/s0"] == ("blocked", "stage train is paused: 3 cells failed alike")
    assert found["index/s0"][0] == "new"


def test_a_document_is_flat_json(plan: Plan) -> None:
    for job in plan.jobs.values():
        kept = document(job)
        assert json.loads(json.dumps(kept)) == kept
        assert not any(isinstance(value, dict) for value in kept.values())


def test_the_json_of_a_plan_has_the_promised_shape(plan: Plan) -> None:
    shown = plan_json(plan, standings(plan, frozenset(), {}, {}))
    assert json.loads(json.dumps(shown)) == shown
    names = ["version", "study", "profile", "controls", "cells", "excluded", "added", "outside", "warnings", "jobs"]
    assert list(shown) == [*names, "counts"]
    assert shown["version"] == 1
    assert shown["controls"]["fingerprint"] == plan.controls_fingerprint
    assert shown["controls"]["deviations"][0]["rows"] == ["spatial-masked"]
    assert shown["counts"] == {"new": len(plan.jobs)}
    assert set(shown["cells"][0]) == {"id", "row", "seed", "axes", "jobs"}
    assert set(shown["cells"][0]["jobs"]) == {
        "data", "latents", "index", "train", "evaluate/replay", "evaluate/loop", "evaluate/return", "judge/loop",
        "judge/return", "camera/loop", "camera/return",
    }  # fmt: skip
    ids = {job["id"] for job in shown["jobs"]}
    for job in shown["jobs"]:
        assert set(job) == {"id", "stage", "label", "fingerprint", "state", "needs", "reason", "items"}
        assert ids.issuperset(job["needs"])


def test_the_text_of_a_plan_says_what_runs_why_and_what_is_shared(plan: Plan) -> None:
    text = plan_text(plan, standings(plan, frozenset(), {}, {}))
    assert "study echo-memory, profile laptop: 16 cells, 14 distinct, 114 jobs" in text
    assert "\nnew (114)\n" in text
    assert "... and 30 more of evaluate: never run" in text
    assert "  spatial-text/s0 = spatial/s0\n" in text
    assert "  memory.masked of spatial-masked: asks whether" in text
    assert text.endswith("114 new\n")


def test_the_text_of_a_finished_plan_says_nothing_to_do(plan: Plan) -> None:
    text = plan_text(plan, standings(plan, all_done(plan), {}, {}))
    assert text.endswith("114 done\nnothing to do\n")
    assert "\ndone (" not in text


def test_of_a_deviation_only_rows_that_are_selected_are_shown(plan: Plan) -> None:
    (deviation,) = plan.deviations
    both = replace(plan, deviations=(replace(deviation, rows=("spatial-masked", "context-k1")),))
    now = standings(both, frozenset(), {}, {})
    for row in ("spatial-masked", "context-k1", "context-k5"):
        text = plan_text(replace(both, cells=tuple(cell for cell in plan.cells if cell.row == row)), now)
        assert (f"\ndeviations\n  memory.masked of {row}: asks whether" in text) is (row != "context-k5")


def test_an_empty_deviation_list_is_not_shown(plan: Plan) -> None:
    bare = replace(plan, deviations=())
    assert "deviations" not in plan_text(bare, standings(bare, frozenset(), {}, {}))
