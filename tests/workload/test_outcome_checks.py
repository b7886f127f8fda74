"""What a stage may return and write: what no reader takes fails its job, with the reason."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.formats import shaped
from workloads.contract.metrics import metric_of, read_beat
from workloads.runtime.outcome_checks import check_cases, checked
from workloads.runtime.progress import Progress, StageOutcome

CASE = {"case": "c0", "metric": "accuracy", "unit": "share", "better": "high", "value": 0.5}


@pytest.mark.parametrize("records", [{"x": object()}, {"x": float("nan")}, {"x": Path("a")}])
def test_records_that_are_no_json_are_an_error(tmp_path: Path, records: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=r"study.fit.run: StageOutcome.records is .*; allowed: JSON"):
        checked(StageOutcome(steps=1, records=records), "study.fit", tmp_path)


def test_a_stage_that_returns_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"study.fit.run returned None; allowed: a StageOutcome"):
        checked(None, "study.fit", tmp_path)


def test_a_cost_whose_name_the_tracker_refuses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"study.fit.run: StageOutcome.cost has 'odd!'; allowed: letters"):
        checked(StageOutcome(steps=1, cost={"odd!": 1.0}), "study.fit", tmp_path)


def test_a_cost_that_is_not_finite_is_not_known(tmp_path: Path) -> None:
    cost: dict[str, Any] = {"a": float("nan"), "b": float("inf"), "c": np.float32(2.0), "d": None}
    assert checked(StageOutcome(steps=1, cost=cost), "study.fit", tmp_path).cost == {
        "a": None,
        "b": None,
        "c": 2.0,
        "d": None,
    }
    assert shaped(float("nan"), "si") == shaped(float("inf"), "{:.1f}") == ""


def test_two_judges_score_a_case_and_a_metric_may_name_its_chunk(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    lines = [{**CASE, "metric": "psnr@chunk0"}, {**CASE, "unit": "points:a"}, {**CASE, "unit": "points:b"}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    check_cases(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": float("nan")}, "value is 'nan'; allowed: a finite number, and no line for a missing value"),
        ({"value": "high"}, "value is 'high'; allowed: a finite number"),
        ({"better": "up"}, "better is 'up'; allowed: 'high', 'low'"),
        ({"case": 3}, "case is '3', int; allowed: text"),
        ({"metric": "<b>"}, "metric is '<b>'; allowed: letters"),
        ({}, "case 'c0' has a second value of 'accuracy'; allowed: one"),
    ],
)
def test_a_line_of_cases_that_no_report_takes_is_an_error(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{json.dumps(CASE)}\n{json.dumps({**CASE, **change})}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"cases.jsonl:2: .*{said}"):
        check_cases(path)
    # An attempt that was asked to stop has not written all of it.
    checked(StageOutcome(steps=1, stopped=True), "study.fit", tmp_path)


def test_progress_takes_the_numbers_of_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workloads.runtime.progress.HEARTBEAT_S", 0.01)
    progress = Progress(tmp_path)
    one: Any = np.int64(1)
    half: Any = np.float32(0.5)
    progress.at(one, one + one, "fitting")
    progress.metric(one, "loss", half)
    with pytest.raises(ValueError, match="a metric is called 'a b <c>'; allowed: letters"):
        progress.metric(1, "a b <c>", 0.5)
    deadline = time.monotonic() + 10.0
    while (beat := read_beat(tmp_path)) is None or (beat["step"], beat["of"]) != (1, 2):
        assert time.monotonic() < deadline, beat
        time.sleep(0.01)
    progress.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert metric_of(line) == {"step": 1, "name": "loss", "value": 0.5}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "the line: not JSON: "),
        ("[]", "the line: is list; allowed: a JSON object"),
        (json.dumps({key: value for key, value in CASE.items() if key != "unit"}), "unit is missing; required: case, "),
    ],
)
def test_a_line_that_is_no_case_names_what_is_wrong(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"cases.jsonl:1: {said}"):
        check_cases(path)
