"""Which metrics stand on the common scale, and what the report says of them."""

from dataclasses import replace
from typing import Any

import pytest
from made_input import made_input, without_figures
from test_report_bounds import with_bounds

from reports import scale
from reports.analysis import Analysis, analyse
from reports.figures.style import looks_of
from reports.input import ReportInput
from reports.page.figures import looks_of_rows
from reports.page.scale import scale_part
from reports.report_json import report_json


@pytest.fixture(scope="module")
def given() -> ReportInput:
    return with_bounds(without_figures(made_input(seeds=(0, 1), cases=8)))


@pytest.fixture(scope="module")
def analysis(given: ReportInput) -> Analysis:
    return analyse(given)


@pytest.fixture(scope="module")
def told(given: ReportInput, analysis: Analysis) -> dict[str, Any]:
    return report_json(given, analysis)


def test_metrics_whose_floor_lies_below_the_ceiling_are_on_the_scale(told: dict[str, Any]) -> None:
    found = told["common_scale"]
    on_scale = [metric for metric, one in found.items() if not one["reason"]]
    assert on_scale == ["replay/psnr", "replay/ssim", "replay/rf_distance", "loop/psnr_truth", "return/judge"]
    for metric in on_scale:
        scores = found[metric]["scores"]
        assert scores["bound-anchor"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert scores["bound-truth"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0})
        assert all(one["low"] <= one["value"] <= one["high"] for one in scores.values())
    judge = told["rows"]["context-k5"]["return/judge"]["mean"]
    assert found["return/judge"]["scores"]["context-k5"]["value"] == pytest.approx((judge - 12) / (97 - 12))
    distance = told["rows"]["context-k5"]["replay/rf_distance"]["mean"]
    assert found["replay/rf_distance"]["scores"]["context-k5"]["value"] == pytest.approx((1.9 - distance) / 1.9)


def test_what_keeps_its_unit_says_why(told: dict[str, Any]) -> None:
    found = told["common_scale"]
    assert found["return/psnr_truth_last"]["reason"] == "the floor (stands still) is at the cap of 100 dB"
    assert found["return/psnr_truth_last"]["scores"] == {}
    assert found["replay/psnr"]["note"] == "the ceiling (truth) is at the cap of 100 dB: 1 is where the cap is set"
    assert found["return/judge"]["note"] == ""
    assert "return/psnr_first" not in found, "it has neither floor nor ceiling"


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        (90.0, "the floor (stands still) does as well as the best row, context-k20"),
        (98.0, "the floor lies below the ceiling by no more than the interval of the difference"),
    ],
)
def test_a_floor_that_scores_well_is_no_zero(given: ReportInput, floor: float, said: str) -> None:
    values = [
        replace(v, value=floor) if (v.row, v.branch, v.metric) == ("bound-anchor", "return", "judge") else v
        for v in given.values
    ]
    [one] = [
        one for one in scale.scaled_metrics(analyse(replace(given, values=values))) if one.metric == "return/judge"
    ]
    assert one.reason == said


def test_profiles_are_of_the_branches_of_the_contrast_and_leave_out_capped_parts(told: dict[str, Any]) -> None:
    replay, back = told["profiles"]
    assert (replay["branch"], replay["metrics"]) == ("replay", ["replay/ssim", "replay/rf_distance"])
    assert (back["branch"], back["metrics"]) == ("return", ["return/judge"])
    assert set(back["shares"]) == set(told["tables"]["families"]["rows"])
    assert set(replay["runs"].values()) == {8 * 2}
    assert all(shares[0] >= shares[-1] == 0.0 for shares in replay["shares"].values())


def test_improvement_is_over_seeds_and_there_is_none_of_one(told: dict[str, Any]) -> None:
    replay, back = told["improvement"]
    assert (replay["metric"], back["metric"], back["seeds"], back["reason"]) == ("replay/psnr", "return/judge", 2, "")
    assert back["probabilities"]["context-k20"]["context-k1"] == 1.0
    assert back["probabilities"]["context-k1"]["context-k20"] == 0.0
    assert told["signal_to_noise"]["return/judge"]["ratio"] > 1
    assert told["signal_to_noise"]["return/judge"]["seeds"] == 2
    one_seed = scale.scale_json(analyse(without_figures(made_input(cases=8))))
    assert one_seed["signal_to_noise"] == {}
    assert one_seed["common_scale"] == {}, "without references"
    assert {one["reason"] for one in one_seed["improvement"]} == {
        "one seed: a second training of either row might turn any of them"
    }
    assert all(not one["probabilities"] for one in one_seed["improvement"])


def test_the_section_has_a_line_a_row_and_a_figure_a_branch(analysis: Analysis) -> None:
    looks = looks_of(row.family for row in analysis.rows if not row.reference)
    part = scale_part(analysis, looks_of_rows(analysis, looks))
    assert part is not None
    assert [(column.branch, column.name, column.capped) for column in part.columns][:2] == [
        ("replay", "PSNR", True),
        ("replay", "SSIM", False),
    ]
    lines = dict(part.lines)
    assert "context-k5" in lines
    assert "bound-anchor" not in lines
    assert "spatial-withheld" not in lines, "another name of a row"
    assert [one.branch for one in part.profiles] == ["replay", "return"]
    assert all("<svg" in one.figure for one in part.profiles)
    assert part.profiles[1].behind.csv.startswith("row,runs,above 0,above 0.05,")
    assert [len(shares) for _, _, shares in part.profiles[0].lines] == [11] * 7
    assert ("return/psnr_truth_last", "the floor (stands still) is at the cap of 100 dB") in part.own_unit
    assert part.improvements[1].columns[0] == "context-k1"
