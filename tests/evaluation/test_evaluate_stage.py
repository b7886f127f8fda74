import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_pool
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from workloads.data.frames import BrokenFrame
from workloads.data.pool import Pool
from workloads.evaluation import evaluate, judging
from workloads.evaluation.cases import read_settings
from workloads.evaluation.finished import load_frames, save_frames
from workloads.evaluation.values import CaseMetric, write_values
from workloads.runtime.errors import BadInput
from workloads.runtime.outcome_checks import check_cases

F = 9


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return made_pool.make_inputs(tmp_path_factory.mktemp("inputs"))


def published(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def by_metric(out: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for line in made_pool.values(out):
        found.setdefault(line["metric"], []).append(line["value"])
    return found


PER_FRAME = ("psnr", "ssim", "rf_distance")
EXPECTED = {
    "replay": {
        *PER_FRAME,
        *(f"{name}@chunk{c}" for name in PER_FRAME for c in range(3)),
        *(f"{name}_retention" for name in PER_FRAME),
    },
    "loop": {*PER_FRAME, "psnr_truth", "stands_still"},
    "return": {"psnr_first", "psnr_truth_last"},
}


@pytest.mark.parametrize("branch", ["replay", "loop", "return"])
def test_a_branch_publishes_its_metrics_videos_and_pictures(
    inputs: Mapping[str, Path], tmp_path: Path, branch: str
) -> None:
    outcome = made_pool.run(evaluate, made_pool.evaluation(tmp_path, inputs, branch))
    out, cases = tmp_path / "out", made_pool.BRANCHES[branch]["cases"]
    assert outcome.steps == cases
    assert set(outcome.records) == {"commanded"}
    check_cases(out / "cases.jsonl")  # as a job's end does
    settings = read_settings(out / "cases.json")
    metrics = by_metric(out)
    # An untrained model's SSIM can be negative, and then retention is missing; 96 frames are too few for pooling.
    assert set(metrics) | {"ssim_retention"} == EXPECTED[branch] | {"ssim_retention"}
    assert all(len(values) == cases for name, values in metrics.items() if name != "ssim_retention")
    for number, setting in enumerate(settings):
        frames = load_frames(out / "frames", setting)
        assert frames.shape == (len(setting.poses), 8, 16, 3)
        first = Pool.open(inputs["data"]).frames(setting.scene, [setting.start])[0]
        np.testing.assert_array_equal(frames[0], first)
        assert (out / "strips" / f"{setting.slug}.png").stat().st_size > 0
        assert (out / "samples" / f"{setting.slug}.mp4").is_file() == (number < evaluate.SAMPLES)
    assert [line["name"] for line in map(json.loads, (tmp_path / "work/metrics.jsonl").read_text().splitlines())]


def test_two_evaluations_publish_the_same_bytes(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        made_pool.run(evaluate, made_pool.evaluation(tmp_path / name, inputs, "return"))
    assert published(tmp_path / "one/out") == published(tmp_path / "two/out")


def test_an_interrupted_evaluation_goes_on_after_its_last_batch_and_publishes_the_same(
    inputs: Mapping[str, Path], tmp_path: Path
) -> None:
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "whole", inputs, "return"))
    stopped = made_pool.run(evaluate, made_pool.evaluation(tmp_path / "first", inputs, "return"), stop_after=1)
    assert stopped.stopped
    assert stopped.steps == 2
    checkpoint = tmp_path / "first/work/checkpoints/step-2"
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert manifest["step"] == 2
    assert all((checkpoint / line["path"]).stat().st_size == line["size"] for line in manifest["files"])

    resumed = made_pool.evaluation(tmp_path / "second", inputs, "return", resume=str(checkpoint))
    outcome = made_pool.run(evaluate, resumed, stop_after=100)
    assert not outcome.stopped
    assert published(tmp_path / "second/out") == published(tmp_path / "whole/out")


def test_finished_videos_are_not_generated_again(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    asked = made_pool.evaluation(tmp_path, inputs, "return")
    made_pool.run(evaluate, asked)
    without_model = replace(asked, inputs={**asked.inputs, "train": str(tmp_path / "nothing")})
    assert made_pool.run(evaluate, without_model).steps == 3


def test_a_checkpoint_of_another_job_is_refused(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "first", inputs, "return"), stop_after=1)
    checkpoint = str(tmp_path / "first/work/checkpoints/step-2")
    other = made_pool.evaluation(tmp_path / "second", inputs, "return", resume=checkpoint, fingerprint="0" * 64)
    with pytest.raises(BadInput, match="it is of job ffffffffffff"):
        made_pool.run(evaluate, other)


def test_two_ranks_share_the_batches_and_publish_what_one_would(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "alone", inputs, "return"))
    for rank in (1, 0):
        asked = made_pool.evaluation(
            tmp_path / "shared", inputs, "return", rendezvous=made_pool.rendezvous(rank, world_size=2)
        )
        made_pool.run(evaluate, asked)
    assert published(tmp_path / "shared/out") == published(tmp_path / "alone/out")


def test_a_smoke_evaluation_is_one_case(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    assert made_pool.run(evaluate, made_pool.evaluation(tmp_path, inputs, "return", smoke=True)).steps == 1


@pytest.mark.parametrize("branch", ["loop", "return"])
def test_judged_truth_scores_95_and_more(inputs: Mapping[str, Path], tmp_path: Path, branch: str) -> None:
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "evaluate", inputs, branch))
    perfect, pool = tmp_path / "perfect", Pool.open(inputs["data"])
    (perfect / "frames").mkdir(parents=True)
    (perfect / "cases.json").write_bytes((tmp_path / "evaluate/out/cases.json").read_bytes())
    for setting in read_settings(perfect / "cases.json"):
        world = pool.world(setting.scene)
        assert world is not None
        save_frames(perfect / "frames", setting, world.frames(setting.poses))
    made_pool.run(judging, made_pool.judgement(tmp_path / "judge", inputs, branch, perfect))
    lines = made_pool.values(tmp_path / "judge/out")
    assert {line["unit"] for line in lines} == {"points:mask"}
    scores = by_metric(tmp_path / "judge/out")
    assert set(scores) == {"judge", "judge_appearance", "judge_presence", "judge_view", "judge_scene"}
    assert min(scores["judge"]) >= 95
    assert len(scores["judge"]) == 3


def test_an_untrained_model_is_judged_below_the_truth(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "evaluate", inputs, "return"))
    made_pool.run(judging, made_pool.judgement(tmp_path / "judge", inputs, "return", tmp_path / "evaluate/out"))
    assert np.mean(by_metric(tmp_path / "judge/out")["judge"]) < 50


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"branch": "there-and-back"}, "allowed: replay, loop, return"),
        ({"config": {"branch": {"cases": 5, "turns_deg": [-45.0, 45.0], "batch": 2}}}, r"allowed: 1\.\.4, 0 for all"),
        ({"config": {"branch": {"cases": 1, "turns_deg": [-45.0, 30.0], "batch": 2}}}, "turns that add up to 0"),
    ],
)
def test_a_branch_that_cannot_be_is_refused_with_what_is_allowed(
    inputs: Mapping[str, Path], tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        made_pool.run(
            evaluate,
            made_pool.evaluation(tmp_path, inputs, "return")
            if not changed
            else replace(made_pool.evaluation(tmp_path, inputs, "return"), **changed),
        )


def test_an_unknown_judge_is_refused(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    asked = made_pool.judgement(tmp_path, inputs, "return", tmp_path)
    config = {**asked.config, "judge": {**made_pool.CONTROLS["judge"], "name": "oracle"}}
    with pytest.raises(BadInput, match=r"controls\.judge\.name is 'oracle'; allowed: mask, vlm"):
        made_pool.run(judging, replace(asked, config=config))


def test_a_model_that_has_diverged_fails_its_evaluation_with_job_case_and_step(
    inputs: Mapping[str, Path], tmp_path: Path
) -> None:
    """Its frames were cast to black, and two black frames had 94 dB."""
    trained = tmp_path / "trained"
    shutil.copytree(inputs["train"], trained)
    weights = load_file(trained / "weights.safetensors")
    save_file({name: value * 1e9 + 1e9 for name, value in weights.items()}, trained / "weights.safetensors")
    wanted = made_pool.evaluation(tmp_path, {**inputs, "train": trained}, "loop", label="evaluate/loop/x/s0")
    words = r"^evaluate/loop/x/s0: case worlds/held-\d+/0, chunk 1 of 4(, after|:) .*; its training has diverged: look"
    with pytest.raises(BrokenFrame, match=words):
        made_pool.run(evaluate, wanted)
    assert not (tmp_path / "out/cases.jsonl").exists()


def test_blank_frames_are_counted_for_every_case_of_an_evaluation_that_has_any(
    inputs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def black(self: Any, batch: Any, *given: Any) -> list[Any]:
        return [
            np.concatenate([np.full((1, 8, 16, 3), 9, np.uint8), np.zeros((len(s.poses) - 1, 8, 16, 3), np.uint8)])
            for s in batch
        ]

    monkeypatch.setattr(evaluate.Generator, "__call__", black)
    made_pool.run(evaluate, made_pool.evaluation(tmp_path, inputs, "loop"))
    found = by_metric(tmp_path / "out")
    assert found["blank_frames"] == [1.0] * made_pool.BRANCHES["loop"]["cases"]
    assert "psnr" not in found and "stands_still" not in found and max(found["psnr_truth"]) < 20


def test_a_value_that_is_not_finite_is_refused_and_what_is_not_defined_has_no_line(tmp_path: Path) -> None:
    good = [CaseMetric("a", "psnr", "dB", "high", 1.5), CaseMetric("a", "ssim", "1", "high", None)]
    write_values(tmp_path / "cases.jsonl", good)
    assert [json.loads(line)["metric"] for line in (tmp_path / "cases.jsonl").read_text().splitlines()] == ["psnr"]
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"^case b: psnr is {value!r}; allowed: a finite number, or None"):
            write_values(tmp_path / "cases.jsonl", [*good, CaseMetric("b", "psnr", "dB", "high", value)])
