"""What jobs of the study read besides their inputs, so that a crate alone cannot make them."""

from pathlib import Path

import pytest

from orchestrator.opening import open_study
from orchestrator.study import Study
from workloads.study.outside import cannot_rerun


@pytest.fixture(scope="module")
def paper(root: Path) -> Study:
    return open_study(root / "matrix.yaml", profile="paper")


def test_the_laptop_profile_needs_nothing_from_outside(root: Path) -> None:
    plan = open_study(root / "matrix.yaml").plan
    assert {cannot_rerun(job, {}, {}) for job in plan.jobs.values()} == {""}


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("data", "paths.pool"),
        ("latents", "paths.umt5 and paths.wan_vae"),
        ("train", "paths.wan"),
        ("evaluate", "paths.i3d and paths.inception and paths.lpips"),
        ("judge", "paths.judge_url"),
    ],
)
def test_the_papers_profile_needs_files_and_services(paper: Study, stage: str, names: str) -> None:
    job = next(job for job in paper.plan.jobs.values() if job.stage == stage)
    assert cannot_rerun(job, {}, {}) == f"it reads {names} of the cluster file, which is not set here"
    known = {name: "/x" for name in ("pool", "umt5", "wan_vae", "wan", "lpips", "inception", "i3d", "judge_url")}
    assert cannot_rerun(job, known, {}) == ""


def test_the_judges_endpoint_may_be_in_the_environment(paper: Study) -> None:
    job = next(job for job in paper.plan.jobs.values() if job.stage == "judge")
    assert cannot_rerun(job, {}, {"ECHO_MATRIX_JUDGE_URL": "http://localhost:8000"}) == ""
