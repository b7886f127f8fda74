"""Mixes of jobs that are hard to schedule, on which the placement is measured (`echo-matrix simulate --mix`). Pure.

64 devices in hosts of 8. The median job takes ten minutes; a training of eight devices an hour, a judgement two.
Estimates are the true durations times a log-normal factor (sigma 0.3), drawn from the seed; as those of a run, they are
shrunk to the mean of their stage, since that large estimates are rather too large is known without the truth.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from orchestrator.backends.protocol import HostShare
from orchestrator.plan.estimates import JobEstimate
from orchestrator.schedule.simulation import SimulatedJob
from orchestrator.spec.cell import Resources

HOSTS = tuple(HostShare(name=f"host-{n}", cpus=64, devices=8, memory_gib=512.0) for n in range(8))
JOBS = 1001
WRONG = 0.3
"""Sigma of the log-normal factor by which an estimate is wrong."""


def gangs(seed: int) -> list[SimulatedJob]:
    """A fifth of the jobs need four devices; durations with sigma 0.5."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    seconds = 600.0 * np.exp(0.5 * draws.standard_normal(JOBS))
    needs = np.where(np.arange(JOBS) < JOBS // 5, 4, 1)[draws.permutation(JOBS)]
    return _shrunk([_job(draws, f"job-{n:04}", "large", int(needs[n]), float(seconds[n])) for n in range(JOBS)])


def heavy_tail(seed: int) -> list[SimulatedJob]:
    """Every job needs one device; durations with sigma 1.2."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    seconds = 600.0 * np.exp(1.2 * draws.standard_normal(JOBS))
    return _shrunk([_job(draws, f"job-{n:04}", "large", 1, float(seconds[n])) for n in range(JOBS)])


def train_and_evaluate(seed: int) -> list[SimulatedJob]:
    """45 trainings of eight devices; after each three evaluations of one device, and two judgements of these."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    jobs: list[SimulatedJob] = []
    for cell in range(45):
        train = _job(draws, f"large-{cell:02}", "large", 8, float(3600.0 * np.exp(0.5 * draws.standard_normal())))
        jobs.append(train)
        for branch in range(3):
            evaluation = _job(
                draws,
                f"middle-{cell:02}-{branch}",
                "middle",
                1,
                float(600.0 * np.exp(0.5 * draws.standard_normal())),
                {"large": train.id},
            )
            jobs.append(evaluation)
            if branch:
                seconds = float(120.0 * np.exp(0.5 * draws.standard_normal()))
                jobs.append(_job(draws, f"small-{cell:02}-{branch}", "small", 1, seconds, {"middle": evaluation.id}))
    return _shrunk(jobs)


MIXES: Mapping[str, Callable[[int], list[SimulatedJob]]] = {
    "gangs": gangs,
    "heavy-tail": heavy_tail,
    "train-and-evaluate": train_and_evaluate,
}


def _job(
    draws: np.random.Generator,
    name: str,
    stage: str,
    devices: int,
    seconds: float,
    inputs: Mapping[str, str] | None = None,
) -> SimulatedJob:
    estimate = JobEstimate(
        seconds=seconds * float(np.exp(WRONG * draws.standard_normal())), basis="measured", sigma=WRONG
    )
    resources = Resources(cpus=devices, devices=devices, memory_gib=1.0, minutes=1.0)
    return SimulatedJob(
        id=name, stage=stage, resources=resources, seconds=seconds, estimate=estimate, inputs=inputs or {}
    )


def _shrunk(jobs: Sequence[SimulatedJob]) -> list[SimulatedJob]:
    """The jobs with estimates shrunk to the mean logarithm of their stage, by how much they differ beyond `WRONG`."""
    logs: dict[str, list[float]] = {}
    for job in jobs:
        logs.setdefault(job.stage, []).append(math.log(job.estimate.seconds))
    means = {stage: statistics.fmean(found) for stage, found in logs.items()}
    between = {stage: max(0.0, statistics.pvariance(found) - WRONG**2) for stage, found in logs.items()}
    weights = {stage: found / (found + WRONG**2) for stage, found in between.items()}

    def told(job: SimulatedJob) -> JobEstimate:
        mean, weight = means[job.stage], weights[job.stage]
        seconds = math.exp(mean + weight * (math.log(job.estimate.seconds) - mean))
        return JobEstimate(seconds=seconds, basis="measured", sigma=math.sqrt(weight) * WRONG)

    return [replace(job, estimate=told(job)) for job in jobs]
