"""Known frames go through the code of every other row, all of a branch in one job (study.md section 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_pool
import numpy as np
import pytest
from vlm_server import in_turn, says, serving

from workloads.contract.request import Request
from workloads.contract.rows import RowError, resolved
from workloads.data import encode, generate
from workloads.evaluation import bounds, evaluate, gating, judging
from workloads.evaluation.cases import read_settings
from workloads.evaluation.finished import save_frames
from workloads.runtime.errors import BadInput
from workloads.study.memory.families import row_from

Lines = Mapping[str, Mapping[str, list[float]]]
"""What is shown -> metric -> values."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pool; there is no training."""
    folder = tmp_path_factory.mktemp("inputs") / "data"
    made_pool.run(generate, made_pool.request(folder, "data", {"data": made_pool.CONTROLS["data"]}, {}))
    return {"data": folder / "out"}


def asked(folder: Path, inputs: Mapping[str, Path], branch: str, shows: Sequence[str], **changed: Any) -> Request:
    config = {
        "judge": made_pool.CONTROLS["judge"],
        "branch": made_pool.BRANCHES[branch],
        "references": {name: resolved(row_from({"family": "bound", "shows": name})) for name in shows},
    }
    return made_pool.request(folder, "bound", config, inputs, branch=branch, seed=None, **changed)


def values_of(out: Path) -> Lines:
    found: dict[str, dict[str, list[float]]] = {}
    for part in out.iterdir():
        for line in made_pool.values(part):
            found.setdefault(part.name, {}).setdefault(line["metric"], []).append(line["value"])
    return found


@pytest.fixture(scope="module")
def measured(inputs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Lines]:
    """By branch."""
    folder, found = tmp_path_factory.mktemp("measured"), {}
    for branch in ("replay", "loop", "return"):
        made_pool.run(bounds, asked(folder / branch, inputs, branch, ["truth", "anchor", "half", "pan"]))
        found[branch] = values_of(folder / branch / "out")
    return found


def test_the_truth_is_perfect_where_truth_is_compared(measured: Mapping[str, Lines]) -> None:
    assert set(measured["replay"]["truth"]["psnr"]) == {100.0}
    assert set(measured["loop"]["truth"]["psnr_truth"]) == {100.0}
    assert set(measured["return"]["truth"]["psnr_truth_last"]) == {100.0}


def test_a_camera_that_stands_still_equals_its_first_frame_and_is_flagged(measured: Mapping[str, Lines]) -> None:
    assert set(measured["return"]["anchor"]["psnr_first"]) == {100.0}
    assert set(measured["loop"]["anchor"]["psnr"]) == {100.0}
    assert set(measured["loop"]["anchor"]["stands_still"]) == {1.0}
    assert max(measured["replay"]["anchor"]["psnr"]) < 40


def test_the_judge_scores_them_where_a_branch_is_judged(measured: Mapping[str, Lines]) -> None:
    assert float(np.mean(measured["return"]["truth"]["judge"])) >= 95
    assert 50 < float(np.mean(measured["return"]["half"]["judge"])) < 95
    assert float(np.mean(measured["loop"]["pan"]["judge"])) > float(np.mean(measured["loop"]["anchor"]["judge"]))
    assert "judge" not in measured["replay"]["truth"]


def test_what_a_row_gets_is_what_the_stages_say_of_the_same_videos(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    one = tmp_path / "bounds"
    made_pool.run(bounds, asked(one, inputs, "return", ["half"], smoke=True))
    evaluated, judged = tmp_path / "evaluate", made_pool.judgement(tmp_path / "judge", inputs, "return", tmp_path)
    sections = {"data": made_pool.CONTROLS["data"], "codec": made_pool.CONTROLS["codec"]}
    made_pool.run(encode, made_pool.request(tmp_path / "latents", "latents", sections, inputs))
    read = {**inputs, "latents": tmp_path / "latents" / "out"}
    plain = made_pool.evaluation(evaluated, read, "return", smoke=True)
    videos = evaluated / "out" / "frames"
    videos.mkdir()
    settings = read_settings(one / "out" / "half" / "cases.json")
    branch, pool = evaluate.branch_of(plain), bounds.Pool.open(inputs["data"])
    for setting in settings:
        known = bounds.known_of_case(pool, lambda case: branch.truth(case, pool), setting)
        save_frames(videos, setting, bounds.VIDEOS["half"](known))
    assert made_pool.run(evaluate, plain).steps == len(settings)  # all its videos are there: no model is loaded
    made_pool.run(judging, replace(judged, inputs={**judged.inputs, "evaluate": str(evaluated / "out")}))
    camera = made_pool.judgement(tmp_path / "camera", inputs, "return", evaluated / "out")
    made_pool.run(gating, camera)
    each = [
        line for made in (evaluated, tmp_path / "judge", tmp_path / "camera") for line in made_pool.values(made / "out")
    ]
    assert made_pool.values(one / "out" / "half") == sorted(each, key=lambda line: (line["case"], line["metric"]))
    for name in ("cases.json", "strips", "samples"):
        theirs, ours = evaluated / "out" / name, one / "out" / "half" / name
        files = [path.relative_to(theirs) for path in theirs.rglob("*")] or [Path()]
        assert all((ours / path).read_bytes() == (theirs / path).read_bytes() for path in files)
    assert not (one / "out" / "half" / "frames").exists()


def test_a_row_without_a_meaning_on_a_branch_is_left_out_with_the_reason(
    inputs: Mapping[str, Path], tmp_path: Path
) -> None:
    outcome = made_pool.run(bounds, asked(tmp_path, inputs, "return", ["stops", "truth"], smoke=True))
    assert outcome.records["left_out"] == {"stops": "the camera is commanded to do just this, so it is the truth"}
    assert [part.name for part in (tmp_path / "out").iterdir()] == ["truth"]


def test_other_ranks_leave_the_work_to_the_first(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    second = asked(tmp_path, inputs, "return", ["truth"], rendezvous=made_pool.rendezvous(1, 2))
    assert made_pool.run(bounds, second).steps == 0
    assert not list((tmp_path / "out").iterdir())


def test_it_stops_when_it_is_asked_and_begins_anew(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    request = asked(tmp_path, inputs, "return", ["anchor", "truth"], smoke=True)
    stopped = made_pool.run(bounds, request, stop_after=1)
    assert stopped.stopped and not list((tmp_path / "out").iterdir())
    assert made_pool.run(bounds, replace(request, out=str(made_out(tmp_path)))).steps == 2


def made_out(folder: Path) -> Path:
    (folder / "again").mkdir()
    return folder / "again"


def test_a_smoke_run_takes_one_case(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    made_pool.run(bounds, asked(tmp_path, inputs, "return", ["anchor"], smoke=True))
    assert len({line["case"] for line in made_pool.values(tmp_path / "out" / "anchor")}) == 1


def test_a_reference_row_that_shows_nothing_known_is_refused(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    request = asked(tmp_path, inputs, "return", [])
    rows = {"k1": {"family": "context", "frames": 1}}
    with pytest.raises(BadInput, match=r"a reference row shows '' instead of generating; allowed: truth, anchor, "):
        made_pool.run(bounds, replace(request, config={**request.config, "references": rows}))


def test_what_is_shown_has_a_name() -> None:
    with pytest.raises(RowError, match=r"shows is 'noise'; allowed: truth, anchor, fades, .*, stops"):
        row_from({"family": "bound", "shows": "noise"})


def test_what_a_judge_did_not_answer_is_recorded_by_row(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = asked(tmp_path, inputs, "return", ["truth", "anchor"], smoke=True)
    judge = {**made_pool.CONTROLS["judge"], "name": "vlm", "models": ["m"]}
    with serving(in_turn(says("I would rather not."))) as running:
        monkeypatch.setenv("ECHO_MATRIX_JUDGE_URL", running.url)
        outcome = made_pool.run(bounds, replace(wanted, config={**wanted.config, "judge": judge}))
    cases = [setting.id for setting in read_settings(tmp_path / "out" / "truth" / "cases.json")]
    assert set(outcome.records["judge_missing"]) == {"truth", "anchor"}
    assert outcome.records["judge_missing"]["truth"] == {"m": sorted(cases)}
    assert set(outcome.records["judge_rubric"]) == {"truth", "anchor"}
    assert "judge" not in {line["metric"] for line in made_pool.values(tmp_path / "out" / "truth")}
    assert outcome.records["left_out"] == {}
