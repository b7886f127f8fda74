"""Budgets of a run: it starts what fits, stops what does not end in time; the next run goes on. What comes first."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from own_study import own_matrix
from toy_study import Toy, make_job, make_plan, small_plan

from orchestrator.backends.fake.backend import Act
from orchestrator.backends.protocol import HostShare
from orchestrator.commands.run.budget import BudgetOptions, budget_arguments, idle_limit, parsed_time
from orchestrator.errors import PlanError
from orchestrator.plan.build import build_plan
from orchestrator.plan.estimates import JobEstimate
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.job_states import JobStates, closure
from orchestrator.schedule.order import First, turns
from orchestrator.schedule.placement import Placer
from orchestrator.spec.cell import Resources
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile

NOW = datetime(2026, 11, 30, 22, 15)
DEVICE = Resources(cpus=1, devices=1, memory_gib=1.0, minutes=1.0)
ONE = [HostShare(name="one", cpus=8, devices=1, memory_gib=64.0)]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def test_a_limit_starts_so_many_jobs_and_the_next_run_goes_on(toy: Toy) -> None:
    outcome = toy.run(small_plan(), budget=Budget(jobs=4))
    assert outcome.counts["done"] == len(toy.submitted()) == 4
    assert not outcome.interrupted and outcome.exit_code == 1
    assert outcome.note.endswith("did not start because of --limit 4; `run` continues")
    assert toy.run(small_plan()).counts == {"done": 9}


def test_a_retry_is_no_further_job(toy: Toy) -> None:
    data = make_plan([make_job("data", "data")])
    outcome = toy.run(data, {"data": [Act(script="error"), Act()]}, budget=Budget(jobs=1))
    assert outcome.counts == {"done": 1} and len(toy.submitted()) == 2


def test_what_would_end_too_late_does_not_start(toy: Toy) -> None:
    plan = make_plan([make_job("train", f"train/{n}") for n in range(2)])
    outcome = toy.run(plan, budget=Budget(until=toy.clock.time() + 1.0))
    assert outcome.counts.get("done", 0) == 0 and toy.submitted() == []
    assert "2 jobs did not start because of --until '" in outcome.note


def test_what_takes_longer_than_was_thought_stops_at_a_checkpoint_when_the_time_has_come(toy: Toy) -> None:
    plan = make_plan([make_job("judge", "judge/loop/a")])
    seconds = next(iter(plan.jobs.values())).spec.seconds_guess
    outcome = toy.run(plan, {"judge/loop/a": [Act(seconds=1e6)]}, budget=Budget(until=toy.clock.time() + 2 * seconds))
    assert outcome.interrupted and outcome.exit_code == 130
    assert "has come: attempts stop at a checkpoint" in outcome.note
    assert toy.endings("judge/loop/a") == ["interrupted"]
    assert toy.run(plan).counts == {"done": 1}


def test_hours_of_devices_are_kept_to(toy: Toy) -> None:
    jobs = [make_job("train", f"train/{n}", resources=DEVICE) for n in range(6)]
    plan = make_plan([*jobs, make_job("judge", "judge/loop/a")])
    seconds = jobs[0].spec.seconds_guess
    script = {job.label: [Act(seconds=seconds)] for job in jobs}
    outcome = toy.run(plan, script, hosts=ONE, budget=Budget(device_hours=3.5 * seconds / 3600))
    assert sum(label.startswith("train/") for label in toy.submitted()) == 3
    assert "judge/loop/a" in toy.submitted(), "no device, no device-hours"
    assert outcome.note.startswith("3 jobs did not start because of --max-device-hours ")


def test_what_did_not_fit_starts_when_another_job_ended_sooner_than_was_estimated(toy: Toy) -> None:
    jobs = [make_job("train", f"train/{n}", resources=DEVICE) for n in range(2)]
    seconds = jobs[0].spec.seconds_guess
    hosts = [HostShare(name="one", cpus=8, devices=2, memory_gib=64.0)]
    script = {job.label: [Act(seconds=seconds / 2)] for job in jobs}
    outcome = toy.run(make_plan(jobs), script, hosts=hosts, budget=Budget(device_hours=1.7 * seconds / 3600))
    assert outcome.counts == {"done": 2} and outcome.note == ""


@pytest.mark.parametrize(
    ("first", "order"),
    [
        ("row", ["context-k1/s0", "context-k1/s1", "context-k5/s0", "context-k5/s1", "spatial/s0", "spatial/s1"]),
        ("seed", ["context-k1/s0", "context-k5/s0", "spatial/s0", "context-k1/s1", "context-k5/s1", "spatial/s1"]),
        (
            "comparison",
            ["context-k1/s0", "spatial/s0", "context-k1/s1", "spatial/s1", "context-k5/s0", "context-k5/s1"],
        ),
    ],
)
def test_parts_of_a_study_are_finished_first(first: First, order: list[str]) -> None:
    matrix = resolve_profile(load_matrix(own_matrix()), "laptop", ("seeds=[0,1]",))
    plan = build_plan(matrix, [cell for cell in expand(matrix) if cell.row in ("context-k1", "context-k5", "spatial")])
    plan = replace(plan, tables={"one": ("context-k1", "spatial"), "two": ("context-k5",)})
    turn = turns(plan, first)
    assert {turn[job.id] for job in plan.jobs.values() if job.stage in ("data", "latents")} == {0}
    trainings = [(turn[job.id], job.label) for job in plan.jobs.values() if job.stage == "train"]
    assert [label.removeprefix("train/") for _, label in sorted(trainings)] == order


def test_an_earlier_turn_comes_before_a_longer_chain() -> None:
    long, short = make_job("train", "train/long"), make_job("judge", "judge/loop/short")
    after = make_job("evaluate", "evaluate/loop/long", {"train": long.id})
    plan = make_plan([long, short, after])
    states = JobStates(plan, closure(plan, plan.jobs, ()), frozenset(), {})
    for turn, order in (({}, [long.id, short.id]), ({long.id: 1, after.id: 1}, [short.id, long.id])):
        placer = Placer(states, lambda job: JobEstimate(seconds=100.0, basis="guess"), turn)
        placer.rebuild_queue()
        hosts = [HostShare(name="one", cpus=8, devices=0, memory_gib=64.0)]
        assert [job for job, _ in placer.place(hosts, 0.0, excluded={}, tried=None)] == order


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("+90m", datetime(2026, 11, 30, 23, 45)),
        ("+8h", datetime(2026, 12, 1, 6, 15)),
        ("23:00", datetime(2026, 11, 30, 23, 0)),
        ("8:00", datetime(2026, 12, 1, 8, 0)),
        ("2026-12-02 07:30", datetime(2026, 12, 2, 7, 30)),
    ],
)
def test_times_of_until(text: str, at: datetime) -> None:
    assert parsed_time(text, NOW) == at.timestamp()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", r"--until 'soon' is no time; allowed: \+90m, \+8h, HH:MM or 'YYYY-MM-DD HH:MM'"),
        ("25:00", "--until '25:00' is no time"),
        ("2026-11-30 22:00", "--until '2026-11-30 22:00' has passed; it is 2026-11-30 22:15"),
    ],
)
def test_a_time_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        parsed_time(text, NOW)


def test_a_background_run_gets_the_same_budget() -> None:
    given = BudgetOptions(limit=3, until="+8h", max_device_hours=2.5).budget
    again = dict(budget_arguments(given))
    assert again["limit"] == "3" and again["max-device-hours"] == "2.5" and "max-core-hours" not in again
    assert parsed_time(again["until"], datetime.now()) == pytest.approx(given.until, abs=1.0)


@pytest.mark.parametrize("text", ["+99999999d", "+999999999999999d", "0001-01-01"])
def test_a_time_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="--until"):
        parsed_time(text, NOW)


def test_hours_that_are_no_number_are_refused() -> None:
    nan = float("nan")
    for options in (BudgetOptions(max_device_hours=nan), BudgetOptions(max_core_hours=nan)):
        with pytest.raises(PlanError, match="-hours nan; allowed: a number of hours above 0"):
            options.budget  # noqa: B018


def test_a_limit_on_hours_that_no_job_has_is_told() -> None:
    without, on_device = (make_job("train", f"train/{n}", resources=replace(DEVICE, devices=n)) for n in range(2))
    hours = Budget(device_hours=1.0)
    assert idle_limit(hours, [without]) == (
        "--max-device-hours limits nothing: no job of this plan needs a device; --max-core-hours limits these"
    )
    assert idle_limit(hours, [without, on_device]) == idle_limit(Budget(), [without]) == ""
    assert idle_limit(Budget(core_hours=1.0), [on_device]).startswith("--max-core-hours limits nothing: all jobs of")


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone whose clock goes back from 3:00 to 2:00 on 25 October 2026."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_hours_are_hours_where_the_clock_is_set_back() -> None:
    now = datetime(2026, 10, 24, 22, 0)
    assert parsed_time("+8h", now) == now.timestamp() + 8 * 3600


@pytest.mark.usefixtures("berlin")
def test_a_background_run_gets_the_second_of_two_equal_hours() -> None:
    until = datetime(2026, 10, 25, 2, 30, fold=1).timestamp()
    again = dict(budget_arguments(Budget(until=until)))["until"]
    assert parsed_time(again, datetime(2026, 10, 24, 22, 0)) == until
