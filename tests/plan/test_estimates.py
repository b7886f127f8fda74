"""How long jobs take and how sure that is: known answers, and ledgers that are simulated."""

import math
import random
from collections.abc import Iterator

import pytest
from toy_study import make_job

from orchestrator.plan.estimates import (
    BRANCH_SIGMA,
    JOB_SIGMA,
    ROW_SIGMA,
    JobEstimate,
    LogNormal,
    StageDurations,
    quantile_of_sum,
)
from orchestrator.plan.makespan import expected_chains

VAGUE = LogNormal(math.log(60.0), 100.0)
"""Nothing is known without durations."""


def stage_of(*durations: tuple[str, float, float | None]) -> StageDurations:
    """(row, seconds, FLOPs) of each."""
    stage = StageDurations()
    for row, seconds, flops in durations:
        stage.add("", row, seconds, 0, flops)
    return stage


def seconds_of(stage: StageDurations, row: str, flops: float | None = None, *, prior: LogNormal = VAGUE) -> float:
    return math.exp(stage.estimate("", row, 0, flops, prior)[0].mean)


def test_one_duration_of_the_row_outweighs_what_is_known_without_it_by_their_variances() -> None:
    found, shared = stage_of(("a", 100.0, None)).estimate("", "a", 0, None, LogNormal(0.0, 1.0))
    before = 1.0 + BRANCH_SIGMA**2 + ROW_SIGMA**2
    assert found.mean == pytest.approx(math.log(100.0) * before / (before + JOB_SIGMA**2))
    assert found.variance == pytest.approx(1 / (1 / before + 1 / JOB_SIGMA**2) + JOB_SIGMA**2)
    assert 0.0 < shared < found.variance


def test_a_row_without_durations_gets_the_mean_of_its_stage_and_a_wide_spread() -> None:
    stage = stage_of(("a", 50.0, None), ("b", 200.0, None))
    assert seconds_of(stage, "new") == pytest.approx(100.0, rel=0.01)
    spreads = [stage.estimate("", row, 0, None, VAGUE)[0].variance for row in ("a", "new")]
    assert spreads[0] < spreads[1]


def test_many_durations_of_a_row_are_its_mean_and_their_spread_is_found() -> None:
    draws = random.Random(0)
    logs = [math.log(80.0) + 0.5 * draws.gauss(0, 1) for _ in range(500)]
    found, _ = stage_of(*(("a", math.exp(one), None) for one in logs)).estimate("", "a", 0, None, VAGUE)
    assert found.mean == pytest.approx(math.fsum(logs) / len(logs), abs=1e-3)
    assert math.sqrt(found.variance) == pytest.approx(0.5, abs=0.05)


def test_a_stage_takes_a_fixed_time_and_a_time_in_proportion_to_flops() -> None:
    stage = stage_of(*((f"row-{n % 10}", 3.0 + 2.0 * (n % 10), 1e9 * (1 + n % 10)) for n in range(40)))
    assert seconds_of(stage, "row-4", 5e9) == pytest.approx(11.0, rel=0.03)
    assert seconds_of(stage, "new", 100e9) == pytest.approx(201.0, rel=0.05), "and not 3 s, nor 100 times that of 1e9"
    assert seconds_of(stage_of(("a", 10.0, 1e9)), "a", 4e9) == pytest.approx(40.0, rel=0.01), (
        "of one size: in proportion"
    )


def test_devices_share_the_work() -> None:
    stage = StageDurations()
    stage.add("", "a", 100.0, 8, None)
    assert math.exp(stage.estimate("", "a", 4, None, VAGUE)[0].mean) == pytest.approx(200.0, rel=0.01)


def simulated_ledgers(seeds: range) -> Iterator[tuple[dict[str, list[float]], dict[str, float]]]:
    """Row -> durations that were measured, and what one more took; 12 rows of 2 jobs that differ as much as rows do."""
    for seed in seeds:
        draws = random.Random(seed)
        means = {f"row-{n}": math.log(300.0) + 0.3 * draws.gauss(0, 1) for n in range(12)}
        yield (
            {row: [math.exp(mean + 0.3 * draws.gauss(0, 1)) for _ in range(2)] for row, mean in means.items()},
            {row: math.exp(mean + 0.3 * draws.gauss(0, 1)) for row, mean in means.items()},
        )


def test_shrunk_estimates_are_nearer_than_the_mean_of_the_stage_and_that_of_the_row() -> None:
    errors = {"shrunk": 0.0, "stage": 0.0, "row": 0.0}
    for measured, truth in simulated_ledgers(range(60)):
        stage = stage_of(*((row, one, None) for row, found in measured.items() for one in found))
        every = [math.log(one) for found in measured.values() for one in found]
        for row, took in truth.items():
            own = [math.log(one) for one in measured[row]]
            guesses = {
                "shrunk": math.log(seconds_of(stage, row)),
                "stage": sum(every) / len(every),
                "row": sum(own) / len(own),
            }
            for name, guess in guesses.items():
                errors[name] += (guess - math.log(took)) ** 2
    assert errors["shrunk"] < 0.93 * min(errors["stage"], errors["row"])


def test_95_of_100_jobs_take_no_longer_than_their_95_percent_quantile() -> None:
    inside = number = 0
    for measured, truth in simulated_ledgers(range(60)):
        stage = stage_of(*((row, one, None) for row, found in measured.items() for one in found))
        for row, took in truth.items():
            found, _ = stage.estimate("", row, 0, None, VAGUE)
            estimate = JobEstimate(seconds=math.exp(found.mean), basis="measured", sigma=math.sqrt(found.variance))
            inside, number = inside + (took <= estimate.quantile(0.95)), number + 1
    assert 0.93 <= inside / number <= 0.97, "720 jobs"


def test_what_is_left_of_a_job_beyond_its_estimate_grows() -> None:
    estimate = JobEstimate(seconds=100.0, basis="measured", sigma=0.3)
    left = [estimate.left_s(elapsed) for elapsed in (0.0, 1.0, 100.0, 200.0, 1e4, 1e6)]
    assert left[0] == 100.0 and left[1] == pytest.approx(99.0)
    assert left[2] == pytest.approx(100.0 * math.exp(0.3 * 0.6744898) - 100.0), "the upper quartile"
    assert left[2] > left[3] > 0.0 and left[3] < left[4] < left[5]
    certain = JobEstimate(seconds=100.0, basis="measured")
    assert (certain.left_s(40.0), certain.left_s(140.0)) == (60.0, 0.0)


def test_errors_of_many_jobs_even_out_unless_they_share_them() -> None:
    alone = JobEstimate(seconds=10.0, basis="measured", sigma=0.5)
    shared = JobEstimate(seconds=10.0, basis="measured", sigma=0.5, shared_sigma=0.5)
    assert quantile_of_sum([(8.0, alone)] * 400, 0.5) == pytest.approx(400 * 80.0 * math.exp(0.125))
    assert quantile_of_sum([(8.0, alone)] * 400, 0.95) < 1.06 * quantile_of_sum([(8.0, alone)] * 400, 0.5)
    assert quantile_of_sum([(8.0, shared)] * 400, 0.95) == pytest.approx(400 * 8.0 * shared.quantile(0.95))
    assert quantile_of_sum([], 0.95) == 0.0


def test_a_job_that_many_wait_for_counts_for_the_longest_of_them() -> None:
    jobs = [make_job("train", "train/a"), make_job("train", "train/b")]
    after = [make_job("evaluate", f"evaluate/loop/{n}", {"train": jobs[0].id}) for n in range(3)]
    after.append(make_job("evaluate", "evaluate/loop/b", {"train": jobs[1].id}))
    certain = {job.id: JobEstimate(seconds=10.0, basis="measured") for job in jobs + after}
    assert {
        one: found for one, found in expected_chains(jobs + after, certain).items() if one in (jobs[0].id, jobs[1].id)
    } == {
        jobs[0].id: 20.0,
        jobs[1].id: 20.0,
    }
    spread = {job.id: JobEstimate(seconds=10.0, basis="measured", sigma=0.3) for job in jobs + after}
    found = expected_chains(jobs + after, spread)
    draws, trials = random.Random(0), 20_000
    longest = [max(10.0 * math.exp(0.3 * draws.gauss(0, 1)) for _ in range(3)) for _ in range(trials)]
    one = 10.0 * math.exp(0.045)
    assert found[jobs[1].id] == pytest.approx(2 * one)
    assert found[jobs[0].id] == pytest.approx(one + math.fsum(longest) / trials, rel=0.01)
