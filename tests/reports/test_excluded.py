"""Excluded cells in a report: never missing, and in no comparison; and durations, estimated and measured."""

import dataclasses

import pytest
from made_input import TABLES, made_input

from reports.analysis import analyse
from reports.durations import by_stage
from reports.input import Excluded, JobDuration, ReportInput
from reports.page.page import page
from reports.report_json import report_json

GONE = {("ssm-hybrid", "site=b"), ("context-k1", "site=b"), ("spatial", "site=b"), ("ssm-blockwise", "site=a")}


def left_out(row: str, axes: str, seed: int) -> bool:
    return (row, axes) in GONE or (row, axes, seed) == ("context-k5", "site=a", 1)


@pytest.fixture(scope="module")
def given() -> ReportInput:
    whole = made_input(seeds=(0, 1), cases=4)

    def twice(lines):
        return [
            dataclasses.replace(one, axes=axes)
            for axes in ("site=a", "site=b")
            for one in lines
            if not left_out(one.row, axes, one.seed)
        ]

    return dataclasses.replace(
        whole,
        values=twice(whole.values),
        costs=twice(whole.costs),
        curves=twice(whole.curves),
        missing=[],
        excluded=[
            Excluded(row=info.name, seed=seed, axes=axes, entry="exclude[0]: rows: x")
            for info in whole.rows
            for axes in ("site=a", "site=b")
            for seed in (0, 1)
            if left_out(info.name, axes, seed)
        ],
        durations=[
            JobDuration(stage="train", branch="", estimated_s=40.0, basis="flops", measured_s=30.0, p95_s=35.0),
            JobDuration(stage="train", branch="", estimated_s=20.0, basis="measured", measured_s=30.0, p95_s=25.0),
            JobDuration(stage="evaluate", branch="loop", estimated_s=0.0, basis="flops", measured_s=1.0),
            JobDuration(stage="data", branch="", estimated_s=None, basis="", measured_s=9.0),
        ],
    )


def test_an_excluded_row_is_in_no_table_and_nothing_of_it_is_missing(given):
    found = report_json(given, analyse(given))
    assert "ssm-hybrid/site=b" not in found["rows"]
    assert "ssm-hybrid/site=a" in found["rows"]
    assert found["tables"]["state-space/site=b"]["rows"] == ["ssm-blockwise/site=b"]
    assert found["missing"] == []
    assert {metric["missing"] for row in found["rows"].values() for metric in row.values()} == {0}
    assert (
        found["rows"]["context-k5/site=a"]["loop/psnr"]["n"] * 2 == found["rows"]["context-k5/site=b"]["loop/psnr"]["n"]
    )
    assert len(found["excluded"]) == len(given.excluded)


def test_a_row_that_repeats_an_excluded_one_stands_for_itself(given):
    computed_by = analyse(given).computed_by
    assert computed_by["spatial-text/site=a"] == "spatial/site=a"
    assert computed_by["spatial-text/site=b"] == "spatial-text/site=b"


def test_a_gain_over_an_excluded_row_says_so(given):
    gains = analyse(given).gains
    assert "excluded" not in gains["compress-weight/site=a"].reason
    assert gains["compress-weight/site=b"].reason == "context-k1/site=b is excluded"


def test_a_row_without_any_cell_may_stay_in_a_table(given):
    rows = [info for info in given.rows if info.name != "ssm-hybrid"]
    values = [value for value in given.values if value.row != "ssm-hybrid"]
    tables = analyse(dataclasses.replace(given, rows=rows, values=values)).tables
    assert "ssm-hybrid" in TABLES["state-space"]
    assert tables["state-space/site=b"].rows == ("ssm-blockwise/site=b",)
    assert "state-space/site=a" not in tables


@pytest.mark.slow  # draws all figures
def test_the_page_lists_what_is_excluded_and_compares_durations(given):
    text = page(given, analyse(given))
    assert "What is excluded" in text
    assert "exclude[0]: rows: x" in text
    assert "100 %" in text
    assert f"; {len(given.excluded)} cells are excluded" in text
    assert ">missing</td>" not in text
    assert "Estimated and measured durations" in text
    assert "within P95</th>" in text and ">50 %</td>" in text


def test_durations_are_compared_by_stage(given):
    lines = [
        (one.stage, one.jobs, one.estimated_s, one.measured_s, one.ratio, one.basis)
        for one in by_stage(given.durations)
    ]
    assert lines == [
        ("train", 2, 60.0, 60.0, 1.0, "flops 1, measured 1"),
        ("evaluate/loop", 1, 0.0, 1.0, None, "flops 1"),
        ("all", 3, 60.0, 61.0, pytest.approx(61 / 60), "flops 2, measured 1"),
    ]
    within = {one.stage: one.within for one in by_stage(given.durations)}
    assert within == {"train": 0.5, "evaluate/loop": None, "all": 0.5}, "of those whose quantile is known"
    assert by_stage(given.durations[3:]) == []
    assert report_json(given, analyse(given))["durations"][0]["ratio"] == 1.0
