"""Evaluation resumes by batch and judging by answer; what is damaged on disk is made again, and the log says so."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import judged_pool
import made_pool
import numpy as np
import pytest
from test_evaluate_stage import published
from test_judge_vlm_stage import CASES, GOOD, judged
from vlm_server import in_turn, serving

from workloads.evaluation import evaluate
from workloads.evaluation.lossless import decoded
from workloads.runtime import step_folders
from workloads.runtime.errors import BadInput


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return made_pool.make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def whole(inputs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    made_pool.run(evaluate, made_pool.evaluation(folder, inputs, "replay"))
    return published(folder / "out")


def flip(file: Path) -> None:
    """Change one bit of a file that may have other names, which keep what they had."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(bytes(content))


def ended(folder: Path, inputs: Mapping[str, Path]) -> Path:
    """The newest checkpoint of an evaluation of two batches of two."""
    made_pool.run(evaluate, made_pool.evaluation(folder, inputs, "replay"))
    found = folder / "work" / "checkpoints"
    assert sorted(path.name for path in found.iterdir()) == ["step-2", "step-4"]
    return found / "step-4"


def without_model(folder: Path, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Inputs with which nothing can be generated."""
    return {**inputs, "train": folder / "nothing"}


def test_killed_while_it_measures_it_generates_nothing_again(
    inputs: Mapping[str, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    newest = ended(tmp_path / "first", inputs)
    again = made_pool.evaluation(tmp_path / "again", without_model(tmp_path, inputs), "replay", resume=str(newest))
    made_pool.run(evaluate, again)
    assert published(tmp_path / "again/out") == whole


def test_a_damaged_video_is_generated_again_and_the_others_are_kept(
    inputs: Mapping[str, Path], whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = ended(tmp_path / "first", inputs)
    video = sorted(newest.glob("*.mkv"))[-1]
    flip(video)
    again = made_pool.evaluation(tmp_path / "again", inputs, "replay", resume=str(newest))
    made_pool.run(evaluate, again)
    said = capsys.readouterr().out
    assert f"{newest}: {video.name} is not what manifest.json lists; case " in said and "is generated again" in said
    assert published(tmp_path / "again/out") == whole
    # The first batch was taken over: it is there without a model that could make it.
    half = made_pool.evaluation(tmp_path / "half", without_model(tmp_path, inputs), "replay", resume=str(newest))
    with pytest.raises(BadInput, match="nothing"):
        made_pool.run(evaluate, half)
    assert len(list((tmp_path / "half/out/frames").glob("*.mkv"))) == 3


def test_a_checkpoint_with_a_torn_manifest_is_passed_over_for_the_one_before_it(
    inputs: Mapping[str, Path], whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = ended(tmp_path / "first", inputs)
    (newest / "manifest.json").write_text('{"step": 4, "fi', encoding="utf-8")
    again = made_pool.evaluation(tmp_path / "again", inputs, "replay", resume=str(newest))
    made_pool.run(evaluate, again)
    assert f"checkpoint passed over: {newest}: manifest.json cannot be read" in capsys.readouterr().out
    assert published(tmp_path / "again/out") == whole


def test_where_there_is_no_other_checkpoint_it_begins_anew(
    inputs: Mapping[str, Path], whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = ended(tmp_path / "first", inputs)
    for checkpoint in newest.parent.iterdir():
        (checkpoint / "manifest.json").unlink()
    again = made_pool.evaluation(tmp_path / "again", inputs, "replay", resume=str(newest))
    made_pool.run(evaluate, again)
    assert "no checkpoint of this job is intact; it begins anew" in capsys.readouterr().out
    assert published(tmp_path / "again/out") == whole


def test_each_of_two_ranks_takes_its_own_batches_over(
    inputs: Mapping[str, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    newest = ended(tmp_path / "first", inputs)
    asked = made_pool.evaluation(tmp_path / "again", without_model(tmp_path, inputs), "replay", resume=str(newest))
    for rank in (1, 0):
        made_pool.run(evaluate, replace(asked, rendezvous=made_pool.rendezvous(rank, world_size=2)))
    assert published(tmp_path / "again/out") == whole


def test_answers_with_a_flipped_bit_are_passed_over_and_one_question_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = judged_pool.make(tmp_path / "inputs")
    with serving(in_turn(GOOD)) as running:
        judged(judged_pool.judgement(tmp_path / "first", inputs, ["m"]), running.url)
    newest = tmp_path / f"first/work/checkpoints/step-{CASES}"
    flip(newest / "answers.jsonl")
    with serving(in_turn(GOOD)) as running:
        judged(judged_pool.judgement(tmp_path / "again", inputs, ["m"], resume=str(newest)), running.url)
    assert len(running.received) == 1
    assert f"{newest}: answers.jsonl is not what manifest.json lists" in capsys.readouterr().out
    first, again = (tmp_path / name / "out" / "cases.jsonl" for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()


def test_a_checkpoint_of_an_earlier_version_is_taken_over_in_this_one_s_format(
    inputs: Mapping[str, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    newest = ended(tmp_path / "first", inputs)
    files = []
    for video in sorted(newest.glob("*.mkv")):
        np.save(video.with_suffix(".npy"), decoded(video), allow_pickle=False)
        video.unlink()
        files.append(step_folders.entry(video.with_suffix(".npy")))
    manifest = json.loads((newest / "manifest.json").read_text(encoding="utf-8"))
    (newest / "manifest.json").write_text(json.dumps({**manifest, "files": files}), encoding="utf-8")
    again = made_pool.evaluation(tmp_path / "again", without_model(tmp_path, inputs), "replay", resume=str(newest))
    made_pool.run(evaluate, again)
    assert published(tmp_path / "again/out") == whole
