"""Longest first, before anything has run: the rows' trainings in the order of their lengths."""

from pathlib import Path

import pytest

from orchestrator.plan.build import build_plan
from orchestrator.plan.job import Job
from orchestrator.schedule.placement import priorities
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile


@pytest.fixture(scope="module")
def jobs() -> dict[str, Job]:
    resolved = resolve_profile(load_matrix(Path(__file__).parents[1] / "golden" / "matrix.yaml"), "laptop", ())
    return {job.label: job for job in build_plan(resolved, expand(resolved)).jobs.values()}


def test_rows_that_pass_over_more_frames_weigh_more(jobs: dict[str, Job]) -> None:
    order = ["ssm-blockwise", "context-k20", "compress-length-r2", "compress-length-r4", "context-k5", "context-k1"]
    weights = [jobs[f"train/{row}/s0"].weight for row in order]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 1.0


def test_only_training_is_weighed(jobs: dict[str, Job]) -> None:
    assert jobs["evaluate/loop/context-k20/s0"].weight == 1.0
    assert jobs["data"].weight == 1.0


def test_the_longest_training_goes_first(jobs: dict[str, Job]) -> None:
    ranks = priorities(list(jobs.values()), {})
    trainings = sorted((job for job in jobs.values() if job.stage == "train"), key=lambda job: -ranks[job.id])
    assert [job.label for job in trainings[:2]] == ["train/ssm-hybrid/s0", "train/ssm-blockwise/s0"]
    assert trainings[-1].label in ("train/context-k1/s0", "train/spatial/s0", "train/spatial-readout/s0")
