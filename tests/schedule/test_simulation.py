"""Simulated schedules: laws of placement over random jobs and hosts, and how near the bound the hard mixes come."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.backends.protocol import HostShare
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.makespan import expected_chains
from orchestrator.schedule.mixes import HOSTS, MIXES
from orchestrator.schedule.simulation import Schedule, SimulatedJob, simulate
from orchestrator.spec.cell import Resources


def job(
    name: str, devices: int, seconds: float, estimate: float | None = None, after: Sequence[str] = ()
) -> SimulatedJob:
    return SimulatedJob(
        id=name,
        stage="train",
        resources=Resources(cpus=devices, devices=devices, memory_gib=1.0, minutes=1.0),
        seconds=seconds,
        estimate=JobEstimate(seconds=seconds if estimate is None else estimate, basis="measured"),
        inputs={one: one for one in after},
    )


def hosts(*devices: int) -> list[HostShare]:
    return [HostShare(name=f"h{n}", cpus=64, devices=count, memory_gib=512.0) for n, count in enumerate(devices)]


@st.composite
def many(draw: st.DrawFn) -> list[SimulatedJob]:
    found: list[SimulatedJob] = []
    for n in range(draw(st.integers(1, 24))):
        seconds = draw(st.integers(1, 50))
        needs = draw(st.lists(st.sampled_from([one.id for one in found]), max_size=2)) if found else []
        found.append(job(f"j{n:02}", draw(st.integers(1, 4)), seconds, draw(st.integers(1, 80)), needs))
    return found


def begins(schedule: Schedule) -> dict[str, float]:
    return {one.job: one.begin_s for one in schedule.attempts}


@given(many(), st.lists(st.integers(4, 8), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_every_job_runs_once_after_what_it_waits_for_and_no_device_is_shared(
    jobs: list[SimulatedJob], sizes: list[int]
) -> None:
    schedule = simulate(jobs, hosts(*sizes))
    assert sorted(one.job for one in schedule.attempts) == sorted(one.id for one in jobs)
    ends = {one.job: one.end_s for one in schedule.attempts}
    for one in jobs:
        assert all(ends[need] <= begins(schedule)[one.id] for need in one.inputs.values())
    for one in schedule.attempts:
        for other in schedule.attempts:
            at_once = one.begin_s < other.end_s and other.begin_s < one.end_s
            if one is not other and at_once and one.host == other.host:
                assert not set(one.devices) & set(other.devices)


@given(many(), st.lists(st.integers(4, 8), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_first_job_that_waits_is_not_delayed_by_those_behind_it(jobs: list[SimulatedJob], sizes: list[int]) -> None:
    jobs = [job(one.id, one.resources.devices, one.seconds) for one in jobs]  # known durations, no chains
    ranks = expected_chains(jobs, {one.id: one.estimate for one in jobs})
    queue = sorted(jobs, key=lambda one: (-ranks[one.id], one.id))
    schedule = begins(simulate(queue, hosts(*sizes)))
    waits = next((n for n, one in enumerate(queue) if schedule[one.id] > 0), None)
    if waits is not None:
        alone = begins(simulate(queue[: waits + 1], hosts(*sizes)))
        assert schedule[queue[waits].id] <= alone[queue[waits].id]


def test_a_gang_gets_its_devices_and_short_jobs_use_them_until_then() -> None:
    jobs = [
        job("long", 6, 100.0),
        job("gang", 8, 90.0),
        job("short", 2, 60.0),
        job("late", 2, 80.0, estimate=80.0),
        *(job(f"tiny-{n}", 1, 10.0) for n in range(6)),
    ]
    found = begins(simulate(jobs, hosts(8)))
    assert found["gang"] == 100.0  # as soon as the first job ends
    assert found["late"] == 0.0  # ends at 80, in time
    assert found["short"] >= 190.0  # would have ended too late behind it
    assert all(found[f"tiny-{n}"] < 100.0 for n in range(4))


def test_without_estimates_nothing_is_placed_on_what_a_gang_waits_for() -> None:
    never = float("inf")
    jobs = [job("long", 6, 100.0, never), job("gang", 8, 90.0, never), job("short", 2, 1.0, never)]
    found = begins(simulate(jobs, hosts(8)))
    assert found["gang"] == 100.0 and found["short"] == 190.0


def test_what_fits_on_no_host_is_said() -> None:
    with pytest.raises(ValueError, match="gang never starts: it fits on no host"):
        simulate([job("gang", 9, 1.0)], hosts(8))


@pytest.mark.parametrize("mix", MIXES)
def test_hard_mixes_come_near_the_bound(mix: str) -> None:
    ratios = [simulate(MIXES[mix](seed), HOSTS).over_bound for seed in range(4)]
    assert all(1.0 <= ratio <= 1.09 for ratio in ratios)
    assert sum(ratios) / len(ratios) <= 1.035


@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_is_the_same_for_the_same_seed(mix: str) -> None:
    assert MIXES[mix](3) == MIXES[mix](3) != MIXES[mix](4)
