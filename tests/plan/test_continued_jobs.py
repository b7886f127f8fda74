"""A longer training continues a shorter one of its base: which one, what that saves, and in which order they run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan.build import build_plan
from orchestrator.plan.continued import SHORTER, as_chained, shorter_jobs, work_left
from orchestrator.plan.diff import document, standings
from orchestrator.plan.growth import NONE, FinishedItems
from orchestrator.plan.job import Job, Plan
from orchestrator.schedule.job_states import JobStates, Transition
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Matrix

WSD = "controls.training.schedule=wsd"
AXIS = "axes: {budget: {key: controls.training.steps, values: [200, 100, 400]}}"
ROW = "context-k5"


@dataclass(frozen=True)
class Record:
    """A commit record, as growth reads it."""

    fingerprint: str
    items: dict[str, str]
    measured: str = ""
    manifest: str = ""
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "tests" / "golden" / "matrix.yaml")


@pytest.fixture(scope="module")
def budgets(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    text = (root / "tests" / "golden" / "matrix.yaml").read_text(encoding="utf-8")
    path = tmp_path_factory.mktemp("budgets") / "matrix.yaml"
    shorter_than_any_budget = re.sub(r"warmup_steps: \d+", "warmup_steps: 10", text)
    path.write_text(shorter_than_any_budget.replace("axes: {}", AXIS, 1), encoding="utf-8")
    return load_matrix(path)


def planned(matrix: Matrix, *overrides: str) -> Plan:
    resolved = resolve_profile(matrix, "laptop", overrides)
    return build_plan(resolved, expand(resolved))


def train(plan: Plan, row: str = ROW, **axes: Any) -> Job:
    wanted = {"row": row, **axes}
    cell = next(
        cell
        for cell in plan.cells
        if cell.seed == 0 and {"row": cell.row, **dict(cell.axes)} == wanted and cell.alias_of is None
    )
    return plan.jobs[plan.jobs_of[cell.id]["train"]]


def finished(*jobs: Job) -> FinishedItems:
    records = {job.fingerprint: Record(job.fingerprint, dict(job.items or {}), job.measured) for job in jobs}
    return FinishedItems(records, records.get)


@pytest.mark.parametrize(
    ("changed", "step"),
    [
        (("controls.training.steps=800",), "00000360"),
        (("controls.training.steps=800", "controls.training.decay=0.5"), "00000360"),
        (("controls.training.floor=0",), "00000360"),
        (("controls.training.steps=300",), ""),
        (("controls.training.steps=800", "controls.training.rate=1e-3"), ""),
        (("controls.training.steps=800", "controls.data.train_scenes=4"), ""),
        (
            ("controls.training.steps=800", "controls.data.open_variants=5", "controls.data.held_out_scenes=30"),
            "00000360",
        ),
        (("controls.training.steps=800", "controls.evidence.drop=0.2"), ""),
    ],
)
def test_a_training_continues_what_differs_in_its_budget_alone(
    matrix: Matrix, changed: tuple[str, ...], step: str
) -> None:
    before, after = train(planned(matrix, WSD)), train(planned(matrix, WSD, *changed))
    found = finished(before).growth(after)
    assert not found.within
    assert [(one.fingerprint, one.items) for one in found.taken] == ([(before.fingerprint, (step,))] if step else [])


@pytest.mark.parametrize("schedule", ["wsd", "constant"])
def test_the_longest_that_is_not_longer_is_continued(budgets: Matrix, schedule: str) -> None:
    plan = planned(budgets, f"controls.training.schedule={schedule}")
    short, middle, long = (train(plan, budget=budget) for budget in ("100", "200", "400"))
    assert [one.fingerprint for one in finished(short, middle).growth(long).taken] == [middle.fingerprint]
    assert [one.fingerprint for one in finished(short, long).growth(middle).taken] == [short.fingerprint]
    assert finished(middle, long).growth(short).taken == ()


def test_a_constant_training_that_is_as_long_gives_no_last_step_and_is_not_taken(matrix: Matrix) -> None:
    one, other = (
        train(planned(matrix, "controls.training.schedule=constant", *more))
        for more in ((), ("controls.training.floor=0",))
    )
    assert one.base == other.base and finished(one).growth(other).taken == ()


def test_cosine_continues_nothing_and_says_why_where_the_steps_changed(matrix: Matrix) -> None:
    before, plan = planned(matrix), planned(matrix, "controls.training.steps=800")
    after = train(plan)
    assert finished(train(before)).growth(after) == NONE
    found = standings(plan, frozenset(), {}, {job.label: document(job) for job in before.jobs.values()})
    assert found[after.id].reason == (
        "training.steps 400 -> 800 since the last plan; begins anew: with training.schedule cosine every rate depends "
        "on the number of steps; one of wsd is continued"
    )


def test_a_plan_says_what_is_continued_whether_it_is_done_or_not(budgets: Matrix) -> None:
    plan = planned(budgets, WSD)
    short, middle, long = (train(plan, budget=budget) for budget in ("100", "200", "400"))
    growth = {middle.id: finished(short).growth(middle)}
    found = standings(plan, frozenset({short.fingerprint}), {}, {}, growth=growth)
    assert found[middle.id].reason == f"never run; continues a shorter job: from step 90 of {short.id}"
    assert found[long.id].reason == (
        f"never run; continues a shorter job: from step 180 of {middle.label}, once that is done"
    )


def test_only_what_is_left_is_estimated_and_a_study_costs_its_longest_budget_and_each_decay(budgets: Matrix) -> None:
    plan = planned(budgets, WSD)
    jobs = [job for job in plan.jobs.values() if job.stage == "train"]
    left = work_left(finished().growth, shorter_jobs(jobs))
    steps = {budget: left(train(plan, budget=budget)) * int(budget) for budget in ("100", "200", "400")}
    assert steps == pytest.approx({"100": 100, "200": 110, "400": 220})


def test_a_longer_job_comes_after_the_shorter_one_in_schedules(budgets: Matrix) -> None:
    plan = planned(budgets, WSD)
    jobs = list(plan.jobs.values())
    chained = as_chained(jobs, shorter_jobs(jobs))
    place = {job.id: n for n, job in enumerate(chained)}
    assert sorted(place) == sorted(plan.jobs)
    assert all(place[need] < place[job.id] for job in chained for need in job.inputs.values())
    short, middle, long = (train(plan, budget=budget).id for budget in ("100", "200", "400"))
    waits = {job.id: job.inputs.get(SHORTER) for job in chained}
    assert (waits[short], waits[middle], waits[long]) == (None, short, middle)


def begun(plan: Plan, *recorded: str) -> JobStates:
    """States in which everything before the trainings is done."""
    done = {job.fingerprint for job in plan.jobs.values() if job.stage in ("data", "latents", "index")}
    wanted = [job.id for job in plan.jobs.values() if job.stage in ("data", "latents", "index", "train")]
    return JobStates(plan, wanted, done | set(recorded), {})


def trainings_of(plan: Plan) -> tuple[str, str, str]:
    short, middle, long = (train(plan, budget=budget).id for budget in ("100", "200", "400"))
    return short, middle, long


def test_a_longer_training_waits_until_the_shorter_one_is_done(budgets: Matrix) -> None:
    plan = planned(budgets, WSD)
    states, (short, middle, long) = begun(plan), trainings_of(plan)
    assert [states.is_ready(job) for job in (short, middle, long)] == [True, False, False]
    assert states.standing(middle).reason == f"begins at step 90, once {plan.jobs[short].label} is done"
    for kind in ("submitted", "started"):
        assert states.apply(Transition(job=short, kind=kind)) == ()
    assert not states.is_ready(middle)
    assert states.apply(Transition(job=short, kind="done")) == (middle,)
    assert [states.is_ready(job) for job in (middle, long)] == [True, False]


@pytest.mark.parametrize("kind", ["failed", "cancelled"])
def test_a_shorter_training_that_failed_or_was_cancelled_holds_nobody(budgets: Matrix, kind: Any) -> None:
    plan = planned(budgets, WSD)
    states, (short, middle, long) = begun(plan), trainings_of(plan)
    assert states.apply(Transition(job=short, kind=kind)) == (middle,)
    states.apply(Transition(job=middle, kind="submitted"))
    assert states.apply(Transition(job=middle, kind=kind)) == (long,)


def test_one_whose_index_failed_is_blocked_and_holds_nobody(budgets: Matrix) -> None:
    plan = planned(budgets, WSD)
    short, middle, _ = trainings_of(plan)
    index = plan.jobs[short].inputs["index"]
    done = {job.fingerprint for job in plan.jobs.values() if job.stage in ("data", "latents", "index")}
    wanted = [job.id for job in plan.jobs.values() if job.stage in ("data", "latents", "index", "train")]
    states = JobStates(plan, wanted, done - {plan.jobs[index].fingerprint}, {})
    assert not states.is_ready(middle)
    freed = states.apply(Transition(job=index, kind="failed"))
    assert middle in freed and states.standing(short).state == "blocked"


def test_whatever_happens_some_job_is_ready_until_all_are_done_or_stuck(budgets: Matrix) -> None:
    """The order among budgets never deadlocks: with any one of them failing, all others are done in the end."""
    plan = planned(budgets, WSD)
    trainings = [job.id for job in plan.jobs.values() if job.stage == "train"]
    for unlucky in (None, *trainings_of(plan)):
        states = begun(plan)
        left = set(trainings)
        while left:
            ready = [job for job in left if states.is_ready(job)]
            assert ready, f"nothing is ready of {sorted(left)}"
            states.apply(Transition(job=ready[0], kind="submitted"))
            states.apply(Transition(job=ready[0], kind="failed" if ready[0] == unlucky else "done"))
            left.remove(ready[0])
