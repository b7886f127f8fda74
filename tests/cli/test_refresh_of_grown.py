"""`--refresh`, `gc`, `show` and `explain` in a study that has grown."""

from pathlib import Path

import pytest
from grown_study import LARGE, SMALL, finish
from recorded_run import record, write_matrix

from orchestrator.commands.explain.command import explain_text
from orchestrator.commands.explain.explanation import explanation_of
from orchestrator.commands.gc.garbage import find_garbage, remove_garbage
from orchestrator.commands.refresh import find_withdrawals, withdraw
from orchestrator.commands.show import show_json, show_text
from orchestrator.opening import HOME_VARIABLE, open_study
from orchestrator.plan.growth import FinishedItems
from orchestrator.plan.select import find_job
from orchestrator.study import Study

ROW = "context-k1"
RETURN = f"evaluate/return/{ROW}/s0"
OLD = " (not of this plan)"


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, Study]:
    """A finished small study, and a large one of which nothing is done yet."""
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    matrix = write_matrix(tmp_path / "project" / "matrix.yaml")
    small = open_study(matrix, overrides=SMALL)
    record(small, 1.0)
    finish(small.plan, small.store, ROW)
    return small, open_study(matrix, overrides=LARGE)


def test_what_would_be_taken_over_is_withdrawn_with_it(studies: tuple[Study, Study]) -> None:
    small, large = studies
    finish(large.plan, large.store, ROW)
    job, before = find_job(large.plan, RETURN), find_job(small.plan, RETURN)
    withdrawals = find_withdrawals(large, [RETURN])
    assert {one.fingerprint for one in withdrawals} >= {job.fingerprint, before.fingerprint}
    judged = f"judge/return/{ROW}/s0"
    assert {one.label for one in withdrawals} >= {RETURN, f"{RETURN}{OLD}", judged, f"{judged}{OLD}"}
    assert not [one.label for one in withdrawals if one.label.startswith(("data", "train", "latents"))]
    withdraw(large.home, large.store, withdrawals)
    growth = FinishedItems(large.store.commits(), large.store.read).growth(job)
    assert (growth.within, growth.taken, len(growth.missing)) == ("", (), 20)


def test_a_withdrawn_pool_takes_all_with_it_that_was_made_of_its_scenes(studies: tuple[Study, Study]) -> None:
    _, large = studies
    finish(large.plan, large.store, ROW)
    withdraw(large.home, large.store, find_withdrawals(large, ["data"]))
    assert large.store.commits() == frozenset()


def test_show_and_explain_say_what_is_taken_over(studies: tuple[Study, Study]) -> None:
    small, large = studies
    finish(large.plan, large.store, ROW, stages=("data", "index", "latents", "train"))
    job, before = find_job(large.plan, RETURN), find_job(small.plan, RETURN)
    text = explain_text(explanation_of(large, job))
    assert f"takes over 12 of 20 cases from {RETURN} ({before.fingerprint[:12]}): worlds/open-" in text
    finish(large.plan, large.store, ROW)
    found = show_json(large, job)["commit"]["taken"]
    assert [(one["fingerprint"], len(one["items"]), one["label"]) for one in found] == [(before.fingerprint, 12, "")]
    shown = show_text(large, job)
    assert "items     20 items, 12 of them taken over" in shown
    assert f"taken     from a job that is not in this plan  {before.fingerprint[:12]}: worlds/open-" in shown
    large.store.withdraw(before.fingerprint)
    assert show_json(large, job)["commit"]["taken"] == [{**found[0]}], "its own record says which"


def test_gc_removes_what_was_taken_over_and_keeps_what_was_read(studies: tuple[Study, Study]) -> None:
    small, large = studies
    record(large, 2.0)
    finish(large.plan, large.store, ROW)
    remove_garbage(large, find_garbage(large, keep_days=0), lambda _text: None)
    kept = large.store.commits()
    mine = {job.fingerprint for job in large.plan.jobs.values()}
    train = large.store.read(find_job(large.plan, f"train/{ROW}/s0").fingerprint)
    assert find_job(small.plan, RETURN).fingerprint not in kept
    assert train.inputs["latents"]["fingerprint"] in kept - mine, "a training that is kept has read it"
    assert find_job(large.plan, RETURN).fingerprint in kept
    assert all(large.store.verify(one) for one in kept)
