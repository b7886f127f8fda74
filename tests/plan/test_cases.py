"""More cases than a rendered pool holds are refused before anything is trained, in the branches that are asked for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError
from orchestrator.opening import open_study
from orchestrator.plan.select import select
from workloads.data.trajectories import trajectory
from workloads.study.cases import START_CHUNKS, missing_cases


def planned(root: Path, *overrides: str, profile: str = "laptop"):  # type: ignore[no-untyped-def]
    return open_study(root / "matrix.yaml", profile=profile, overrides=overrides).plan


@pytest.mark.parametrize("profile", ["laptop", "evening", "study", "paper"])
def test_what_is_shipped_asks_for_no_more_than_there_is(root: Path, profile: str) -> None:
    assert missing_cases(planned(root, profile=profile)) == ""


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("branches.loop.cases=9999", r"branches\.loop\.cases is 9999, but the pool will hold 16 such cases"),
        ("branches.return.cases=17", r"branches\.return\.cases is 17, but the pool will hold 16 such cases"),
        ("branches.replay.cases=17", r"branches\.replay\.cases is 17, but the pool will hold 16 such cases"),
        ("branches.replay.chunks=5", r"branches\.replay\.chunks is 5, but a rendered scene has 4"),
    ],
)
def test_more_than_the_pool_holds_is_refused(root: Path, override: str, said: str) -> None:
    plan = planned(root, override)
    assert re.search(said, missing_cases(plan))
    branch = override.split(".")[1]
    assert (
        missing_cases(plan, select(plan, branches=[name for name in ("replay", "loop", "return") if name != branch]))
        == ""
    )


@pytest.mark.parametrize("chunks", [1, 2, 3, 4])
def test_as_many_replays_are_allowed_as_scenes_have_starts(root: Path, chunks: int) -> None:
    data = {"seed": 0, "chunk_frames": 9, "translation_m": 0.0}
    starts = len(range(0, len(trajectory(data, "held_out", 0)) - chunks * 8, START_CHUNKS * 8))
    assert (
        missing_cases(planned(root, f"branches.replay.chunks={chunks}", f"branches.replay.cases={16 * starts}")) == ""
    )
    assert "such cases" in missing_cases(
        planned(root, f"branches.replay.chunks={chunks}", f"branches.replay.cases={16 * starts + 1}")
    )


def test_a_real_pool_is_not_known_before_it_is_looked_at(root: Path) -> None:
    assert missing_cases(planned(root, "branches.loop.cases=9999", profile="paper")) == ""


def test_a_branch_that_this_check_does_not_know_is_left_to_its_evaluation(root: Path) -> None:
    plan = planned(root)
    job = next(job for job in plan.jobs.values() if job.branch == "loop" and job.stage == "evaluate")
    other = replace(job, branch="other", config={"branch": {"things": 9999}})
    assert missing_cases(replace(plan, jobs={**plan.jobs, job.id: other})) == ""


def test_frames_smaller_than_a_window_of_ssim_are_refused(root: Path) -> None:
    with pytest.raises(MatrixError, match=r"controls\.data\.height.* is 4 pixels; SSIM looks at windows of 7"):
        planned(root, "controls.data.height=4", "controls.backbone.grid=1", "controls.backbone.grid_tokens=1")
