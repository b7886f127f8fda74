"""Ceiling and floor go through the code of every other row (study.md section 7)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import made_pool
import numpy as np
import pytest

from workloads.contract.rows import RowError, resolved
from workloads.evaluation import evaluate, judging
from workloads.study.memory.families import row_from


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return made_pool.make_inputs(tmp_path_factory.mktemp("inputs"))


def shown(folder: Path, inputs: Mapping[str, Path], branch: str, shows: str) -> dict[str, list[float]]:
    row = resolved(row_from({"family": "bound", "shows": shows}))
    made_pool.run(evaluate, replace(made_pool.evaluation(folder, inputs, branch), row=row))
    found: dict[str, list[float]] = {}
    for line in made_pool.values(folder / "out"):
        found.setdefault(line["metric"], []).append(line["value"])
    return found


def test_the_truth_is_perfect_where_truth_is_compared(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    assert set(shown(tmp_path / "replay", inputs, "replay", "truth")["psnr"]) == {100.0}
    assert set(shown(tmp_path / "loop", inputs, "loop", "truth")["psnr_truth"]) == {100.0}
    assert set(shown(tmp_path / "return", inputs, "return", "truth")["psnr_truth_last"]) == {100.0}


def test_a_camera_that_stands_still_equals_its_first_frame_and_is_flagged(
    inputs: Mapping[str, Path], tmp_path: Path
) -> None:
    assert set(shown(tmp_path / "return", inputs, "return", "anchor")["psnr_first"]) == {100.0}
    loop = shown(tmp_path / "loop", inputs, "loop", "anchor")
    assert set(loop["psnr"]) == {100.0}
    assert set(loop["stands_still"]) == {1.0}
    assert max(shown(tmp_path / "replay", inputs, "replay", "anchor")["psnr"]) < 40


def test_the_judge_scores_both_by_the_same_code(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    totals = {}
    for shows in ("truth", "anchor"):
        shown(tmp_path / shows, inputs, "return", shows)
        judged = made_pool.judgement(tmp_path / f"judge-{shows}", inputs, "return", tmp_path / shows / "out")
        made_pool.run(judging, judged)
        lines = made_pool.values(tmp_path / f"judge-{shows}" / "out")
        totals[shows] = float(np.mean([line["value"] for line in lines if line["metric"] == "judge"]))
    assert totals["truth"] >= 95


def test_what_is_shown_is_one_of_two() -> None:
    with pytest.raises(RowError, match=r"shows is 'noise'; allowed: truth, anchor"):
        row_from({"family": "bound", "shows": "noise"})
