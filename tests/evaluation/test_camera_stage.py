"""The stage camera: a finished evaluation in, five values a case out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import made_pool
import numpy as np
import pytest

from workloads.contract.request import Request
from workloads.data import generate
from workloads.data.pool import Pool
from workloads.data.poses import Poses
from workloads.evaluation import gating
from workloads.evaluation.branches import return_
from workloads.evaluation.cases import Setting, write_settings
from workloads.evaluation.finished import Frames, save_frames
from workloads.evaluation.values import CaseMetric
from workloads.runtime.errors import BadInput

NAMES = {"camera_f", "camera_left", "camera_measurable", "camera_q", "camera_refused"}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    made_pool.run(generate, made_pool.request(folder, "data", {"data": made_pool.CONTROLS["data"]}, {}))
    return folder / "out"


def evaluated(
    folder: Path, pool: Path, video: Callable[[Setting], Frames], poses: Callable[[Poses], Poses] = lambda poses: poses
) -> list[Setting]:
    """An evaluation of `return` whose videos are these."""
    (folder / "frames").mkdir(parents=True)
    opened = Pool.open(pool)
    found = return_.settings(opened, made_pool.BRANCHES["return"], int(opened.data["chunk_frames"]))
    for setting in found:
        save_frames(folder / "frames", setting, video(setting))
    write_settings(folder / "cases.json", [replace(setting, poses=poses(setting.poses)) for setting in found])
    return found


def asked(folder: Path, pool: Path, evaluation: Path, branch: str = "return") -> Request:
    inputs = {"data": pool, "evaluate": evaluation}
    return made_pool.request(folder, "camera", {"branch": made_pool.BRANCHES[branch]}, inputs, branch=branch)


def measured(folder: Path) -> Mapping[str, list[float]]:
    found: dict[str, list[float]] = {}
    for line in made_pool.values(folder / "out"):
        found.setdefault(line["metric"], []).append(line["value"])
    return found


def test_the_truth_leaves_and_a_camera_that_stands_still_does_not(pool: Path, tmp_path: Path) -> None:
    opened = Pool.open(pool)

    def truth(setting: Setting) -> Frames:
        found = return_.truth(setting, opened)
        assert found is not None
        return found

    def still(setting: Setting) -> Frames:
        return opened.frames(setting.scene, [setting.start]).repeat(len(setting.poses), axis=0)

    for name, video in (("truth", truth), ("still", still)):
        cases = evaluated(tmp_path / name, pool, video)
        outcome = made_pool.run(gating, asked(tmp_path / f"camera-{name}", pool, tmp_path / name))
        assert (outcome.steps, outcome.records) == (len(cases), {})
    left, stayed = measured(tmp_path / "camera-truth"), measured(tmp_path / "camera-still")
    assert set(left) == set(stayed) == NAMES
    assert set(left["camera_left"]) == {1.0} and set(left["camera_f"]) == {1.0}
    assert set(stayed["camera_left"]) == set(stayed["camera_f"]) == {0.0}
    assert set(stayed["camera_measurable"]) == set(stayed["camera_refused"]) == {1.0}


def test_cases_along_which_the_camera_moves_have_no_values_and_the_report_is_told(pool: Path, tmp_path: Path) -> None:
    def moving(poses: Poses) -> Poses:
        return Poses(poses.positions_m + np.arange(len(poses))[:, None] * [0.1, 0.0, 0.0], poses.yaw_deg)

    def grey(setting: Setting) -> Frames:
        return np.full((len(setting.poses), 8, 16, 3), 128, dtype=np.uint8)

    cases = evaluated(tmp_path / "evaluate", pool, grey, moving)
    outcome = made_pool.run(gating, asked(tmp_path / "camera", pool, tmp_path / "evaluate"))
    assert made_pool.values(tmp_path / "camera" / "out") == []
    ((said, number),) = outcome.records["no_gate"].items()
    assert number == len(cases)
    assert said.startswith("return has no gate: the camera moves by up to ")


def test_what_does_not_belong_together_is_refused(pool: Path, tmp_path: Path) -> None:
    short = evaluated(tmp_path / "short", pool, lambda setting: np.zeros((3, 8, 16, 3), dtype=np.uint8))
    with pytest.raises(BadInput, match=f"case {short[0].id} has 3 frames, but cases.json commands"):
        made_pool.run(gating, asked(tmp_path / "a", pool, tmp_path / "short"))
    with pytest.raises(BadInput, match="branch is 'replay'; measured are loop, return"):
        made_pool.run(gating, asked(tmp_path / "b", pool, tmp_path / "short", "replay"))
    with pytest.raises(BadInput, match="not the cases of an evaluation"):
        made_pool.run(gating, asked(tmp_path / "c", pool, tmp_path))


def test_a_job_that_is_asked_to_stop_does(pool: Path, tmp_path: Path) -> None:
    evaluated(tmp_path / "e", pool, lambda setting: np.zeros((len(setting.poses), 8, 16, 3), dtype=np.uint8))
    outcome = made_pool.run(gating, asked(tmp_path / "camera", pool, tmp_path / "e"), stop_after=1)
    assert outcome.stopped and outcome.steps == 1


def test_values_are_no_scores_of_a_judge() -> None:
    lines = gating.lines_of("pool/a/0", gating.Camera(q=0.5, f=1.0, refused=False))
    assert {line.metric for line in lines} == NAMES
    assert lines[0] == CaseMetric("pool/a/0", "camera_q", "1", "high", 0.5)
