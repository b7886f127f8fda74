"""The paper's tables through our code: what the paper says of them must come out."""

import json

import pytest

from reports.report_json import published_json
from workloads.study.published import published_tables
from workloads.study.report import REPORT


@pytest.fixture(scope="module")
def report():
    return published_json(REPORT, published_tables())


def test_it_is_json_without_intervals(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    cells = [cell for metrics in report["rows"].values() for cell in metrics.values()]
    assert all(cell["low"] is None and cell["high"] is None for cell in cells)
    assert len(report["rows"]) == 14


def test_replay_says_nothing_about_return_over_the_families(report):
    assert abs(report["tables"]["families"]["agreement"]["replay~return"]["pearson"]) < 0.1


def test_the_block_wise_state_space_is_sixth_on_replay_and_first_on_return(report):
    table = report["tables"]["families"]
    assert table["ranks"]["replay"]["ssm-blockwise"] == 6
    assert table["ranks"]["return"]["ssm-blockwise"] == 1
    assert table["rank_shift"]["ssm-blockwise"] == -5
    assert table["rank_shift"]["spatial"] == 5


def test_context_rows_agree_in_both_branches(report):
    assert report["tables"]["context"]["agreement"]["replay~return"]["kendall"] == 1
    assert report["tables"]["context"]["inversions"] == []


def test_bundles_are_named_as_published(report):
    assert {table["bundle_name"] for table in report["tables"].values()} == {"replay_bundle"}


def test_every_finding_is_a_point_estimate_or_has_no_effect(report):
    for finding in report["findings"]:
        assert finding["verdict"] == ("undecided" if finding["effect"] is None else "point estimate")
    effects = {finding["id"]: finding["effect"] for finding in report["findings"]}
    assert effects["3"] == pytest.approx((8.75 - 24.00 + 9.00 - 43.25) / 2)
    assert effects["5"] == pytest.approx(69.00 - 34.75)


def test_retained_gain_of_the_block_wise_state_space_is_more_than_all(report):
    assert report["retained_gain"]["ssm-blockwise"] == pytest.approx((69.00 - 12.25) / (58.63 - 12.25))


def test_an_unknown_table_number_is_refused(tmp_path):
    path = tmp_path / "tables.csv"
    path.write_text("row,table,replay_psnr\ncontext-k1,9,1.0\n")
    with pytest.raises(ValueError, match="allowed: 4, 5, 6, 7, 8"):
        published_tables(path)
