"""Expectations: what backends are told of durations, so that schedulers are asked for no more time than is needed."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from orchestrator.backends.protocol import ExpectedTime, ExpectedWork
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.forecast import Forecaster
from orchestrator.plan.job import Job
from orchestrator.spec.cell import Resources


def expected_time(estimate: JobEstimate, timeouts: int = 0) -> ExpectedTime | None:
    """What a scheduler is told of a job's duration; None where nothing like it was measured.

    Args:
        estimate: of the job.
        timeouts: attempts of it that ran into a time limit.
    """
    if not estimate.observations:
        return None
    return ExpectedTime(seconds=estimate.quantile(0.95), observations=estimate.observations, timeouts=timeouts)


def expected_work(jobs: Iterable[Job], forecaster: Forecaster) -> Mapping[tuple[str, Resources], ExpectedWork]:
    """Stage and size of jobs -> how much work they are."""
    found: dict[tuple[str, Resources], ExpectedWork] = {}
    for job in jobs:
        estimate = forecaster.of(job)
        longest = expected_time(estimate)
        key = job.stage, job.resources
        before = found.get(key) or ExpectedWork(observations=estimate.observations)
        found[key] = replace(
            before,
            jobs=before.jobs + 1,
            seconds=before.seconds + estimate.expected_s,
            longest_s=max(before.longest_s, 0.0 if longest is None else longest.seconds),
            observations=min(before.observations, estimate.observations),
        )
    return found
