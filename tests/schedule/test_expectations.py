"""What backends are told of durations, and that a time limit made from them costs no job its result."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_study import Toy, make_duration, make_job, make_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.backends.protocol import Report
from orchestrator.plan.forecast import Forecaster
from orchestrator.schedule.expectations import expected_time, expected_work
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.retry_policy import Charges
from orchestrator.spec.cluster import RetrySettings

JOBS = [make_job("data", f"data/{n}") for n in range(3)]
PLAN = make_plan(JOBS)
MEASURED = [
    make_duration(fingerprint=f"{number:064x}", profile=PLAN.profile, backend="fake", kind="a cpu", seconds=10.0)
    for number in range(6)
]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def test_only_what_was_measured_with_the_same_backend_is_told() -> None:
    here, elsewhere = (Forecaster(PLAN, MEASURED, backend) for backend in ("fake", "other"))
    told = expected_time(here.of(JOBS[0]), 2)
    assert told is not None and (told.observations, told.timeouts) == (6, 2)
    assert 10.0 < told.seconds < 60.0
    assert expected_time(elsewhere.of(JOBS[0])) is None
    assert expected_time(Forecaster(PLAN).of(JOBS[0])) is None


def test_work_is_summed_by_stage_and_size() -> None:
    large = replace(JOBS[2], resources=replace(JOBS[2].resources, cpus=4))
    work = expected_work([*JOBS[:2], large], Forecaster(PLAN, MEASURED, "fake"))
    assert {(stage, size.cpus): one.jobs for (stage, size), one in work.items()} == {("data", 1): 2, ("data", 4): 1}
    two = work["data", JOBS[0].resources]
    assert two.observations == 6 and two.longest_s < two.seconds * 5 and 15.0 < two.seconds < 25.0
    assert all(one.observations == 0 for one in expected_work(JOBS, Forecaster(PLAN)).values())


class ShortLimits(FakeBackend):
    """Its time limits are estimated."""

    def poll(self) -> dict[str, Report]:
        return {
            attempt: replace(report, short_limit=report.ending == "timed_out")
            for attempt, report in super().poll().items()
        }


def test_a_job_that_runs_into_estimated_limits_is_told_of_them_and_ends_well(toy: Toy) -> None:
    toy.backend_type = ShortLimits
    toy.settings = replace(
        toy.settings, retries=RetrySettings(error=0, out_of_memory=0, vanished=0, free_in_a_row=1), avoid_s=3600.0
    )
    with toy.ledger() as ledger:
        for one in MEASURED:
            ledger.record_duration(one)
    short = Act(script="timed_out", seconds=30.0)
    result = toy.run(PLAN, {"data/0": [short, short, short, Act(seconds=50.0)]})
    assert result.exit_code == 0
    assert toy.endings("data/0") == ["timed_out"] * 3 + ["ok"]
    assert toy.backend is not None
    told = [one.expected for one in toy.backend.submitted if one.label == "data/0"]
    assert [one.timeouts for one in told if one is not None] == [0, 1, 2, 3]
    with Ledger.read(toy.home / "ledger.sqlite") as ledger:
        assert ledger.charges(JOBS[0].fingerprint) == Charges()


def test_a_limit_that_the_user_has_set_is_charged(toy: Toy) -> None:
    toy.settings = replace(toy.settings, retries=replace(toy.settings.retries, error=0))
    result = toy.run(make_plan(JOBS[:1]), {"data/0": [Act(script="timed_out", seconds=30.0)]})
    assert result.exit_code == 1 and toy.endings("data/0") == ["timed_out"]
