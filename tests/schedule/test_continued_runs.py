"""A run of several budgets: the longer training waits for the shorter one, takes its state, and is held by nobody."""

import re
from pathlib import Path

import pytest
from toy_study import Toy

from orchestrator.backends.fake.backend import Act
from orchestrator.backends.protocol import HostShare
from orchestrator.plan.build import build_plan
from orchestrator.plan.job import Job, Plan
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile

AXIS = "axes: {budget: {key: controls.training.steps, values: [200, 100, 400]}}"
MANY = (HostShare(name="host", cpus=8, devices=0, memory_gib=64.0, group="cluster"),)


@pytest.fixture(scope="module")
def plan(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    text = (root / "tests" / "golden" / "matrix.yaml").read_text(encoding="utf-8")
    path = tmp_path_factory.mktemp("budgets") / "matrix.yaml"
    text = re.sub(r"warmup_steps: \d+", "warmup_steps: 10", text).replace("axes: {}", AXIS, 1)
    path.write_text(text, encoding="utf-8")
    resolved = resolve_profile(load_matrix(path), "laptop", ["controls.training.schedule=wsd"])
    return build_plan(resolved, expand(resolved))


def trainings(plan: Plan) -> list[Job]:
    """Of one row and seed, the shortest first."""
    found = [job for job in plan.jobs.values() if job.stage == "train" and job.label.startswith("train/context-k5/")]
    return sorted((job for job in found if job.label.endswith("/s0")), key=lambda job: job.budget)


def test_each_begins_with_the_state_of_the_one_before_and_the_next_run_has_nothing_to_do(
    plan: Plan, tmp_path: Path
) -> None:
    jobs, toy = trainings(plan), Toy(tmp_path)
    assert toy.run(plan, selected=[job.id for job in reversed(jobs)], hosts=MANY).exit_code == 0
    assert [label for label in toy.submitted() if label.startswith("train/")] == [job.label for job in jobs]
    taken = [list(toy.store.read(job.fingerprint).taken) for job in jobs]
    assert taken == [[], [jobs[0].fingerprint], [jobs[1].fingerprint]]
    assert [toy.store.read(job.fingerprint).items for job in jobs] == [job.items for job in jobs]
    assert toy.run(plan, selected=[job.id for job in jobs]).submitted == 0


def test_a_budget_that_is_asked_for_later_continues_what_is_done(plan: Plan, tmp_path: Path) -> None:
    (short, middle, long), toy = trainings(plan), Toy(tmp_path)
    toy.run(plan, selected=[short.id], hosts=MANY)
    toy.run(plan, selected=[long.id], hosts=MANY)
    assert list(toy.store.read(long.fingerprint).taken) == [short.fingerprint]
    toy.run(plan, selected=[middle.id], hosts=MANY)
    assert list(toy.store.read(middle.fingerprint).taken) == [short.fingerprint]


def test_where_states_are_not_kept_nobody_waits_and_each_begins_anew(plan: Plan, tmp_path: Path) -> None:
    jobs, toy = trainings(plan), Toy(tmp_path)
    toy.settings.keep_stable = False
    assert toy.run(plan, selected=[job.id for job in jobs], hosts=MANY).exit_code == 0
    commits = [toy.store.read(job.fingerprint) for job in jobs]
    assert [(commit.taken, commit.items) for commit in commits] == [({}, {})] * 3
    assert len({commit.started for commit in commits}) == 1


def test_a_shorter_one_that_fails_keeps_no_longer_one_from_running(plan: Plan, tmp_path: Path) -> None:
    (short, middle, long), toy = trainings(plan), Toy(tmp_path)
    script = {short.label: [Act(script="bad_input")]}
    result = toy.run(plan, script, selected=[short.id, middle.id, long.id], hosts=MANY)
    assert [failed.label for failed in result.failures] == [short.label]
    assert list(toy.store.read(long.fingerprint).taken) == [middle.fingerprint]
    assert toy.store.read(middle.fingerprint).taken == {}
