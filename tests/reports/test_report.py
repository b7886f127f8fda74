"""The report of hand-made inputs: its files, its numbers, and what a missing row does."""

import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from made_input import QUALITY, ROWS, TABLES, made_input, without_figures

from reports.analysis import analyse
from reports.build import build
from reports.columns import columns
from reports.formats import commits
from reports.input import Missing
from reports.page.page import page
from reports.page.tiles import tiles
from reports.report_json import report_json
from reports.results_csv import results_csv


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "strips").mkdir()
    given = made_input(folder / "strips", missing_row="compress-length-r8")
    build(folder / "out", given)
    return given, folder / "out"


@pytest.fixture(scope="module")
def three_seeds():
    given = made_input(seeds=(0, 1, 2))
    analysis = analyse(given)
    return given, analysis, report_json(given, analysis)


def refuse(name):
    raise AssertionError(name)


def test_report_json_holds_nulls_and_never_a_nan(written):
    text = (written[1] / "report.json").read_text()
    report = json.loads(text, parse_constant=refuse)
    assert report["rows"]["compress-length-r8"]["return/judge"] == {
        "mean": None, "low": None, "high": None, "n": 0, "missing": 16,
    }  # fmt: skip
    assert report["tables"]["compression"]["bundle"]["compress-length-r8"] is None


def test_report_json_has_the_keys_that_other_programs_rely_on(written):
    report = json.loads((written[1] / "report.json").read_text())
    assert {"rows", "tables", "retained_gain", "findings", "controls", "cost"} <= set(report)
    for name, table in report["tables"].items():
        assert table["rows"] == TABLES[name]
        assert set(table["agreement"]["replay~return"]) == {"pearson", "spearman", "kendall"}
        assert {"rank_shift", "bundle", "inversions"} <= set(table)
    assert [f["id"] for f in report["findings"]] == list("123456")
    for finding in report["findings"]:
        assert {"id", "axes", "statement", "effect", "low", "high", "verdict"} <= set(finding)
        assert (finding["verdict"], finding["p_adjusted"], finding["axes"]) == ("one seed", None, "")
    for metrics in report["rows"].values():
        assert all(set(value) == {"mean", "low", "high", "n", "missing"} for value in metrics.values())


def test_the_page_fetches_nothing(written):
    page = (written[1] / "index.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#|results\.csv|report\.json)[^"']*""", page)
    assert "<script" not in page
    assert "url(http" not in page
    assert "#0a0b0" not in page  # no placeholder colour is left
    assert "mathdefault" not in page  # matplotlib's mathematics would be shown as its source
    for name, _, _ in ROWS:
        assert name in page


def test_a_missing_cell_is_listed_with_its_reason(written):
    page = (written[1] / "index.html").read_text()
    assert "out of memory at micro-batch 1" in page


def test_a_part_without_any_value_is_not_told_as_a_hundred_per_cent_of_the_values():
    given = without_figures(made_input(cases=4))
    gone = [Missing(row="spatial", seed=0, axes="", branch="return", state="new", reason="")]
    none = dataclasses.replace(given, values=[v for v in given.values if v.branch != "return"], missing=gone)
    few = dataclasses.replace(given, values=given.values[1:], missing=gone)
    for case, value in ((given, "100 %"), (none, "100 %"), (few, r"99\.\d %")):
        shown = next(tile for tile in tiles(case, analyse(case)) if tile.name.startswith("of the values are there"))
        assert ("absent: 1;" in shown.detail) is (case is few)
        assert re.fullmatch(value, shown.value)
        assert ("(metrics without any value are not counted)" in shown.name) is bool(case.missing)


def test_the_same_values_give_the_same_bytes(written, tmp_path):
    given, folder = written
    build(tmp_path, dataclasses.replace(given, values=list(reversed(given.values))))
    for name in ("results.csv", "report.json", "index.html"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_results_csv_is_tidy_and_gives_every_float_back():
    given = made_input(cases=3)
    lines = list(csv.DictReader(io.StringIO(results_csv(columns(given.values)))))
    assert list(lines[0]) == ["row", "seed", "axes", "branch", "case", "metric", "unit", "better", "value"]
    assert sorted(float(line["value"]) for line in lines) == sorted(value.value for value in given.values)
    keys = [(x["row"], x["seed"], x["branch"], x["case"], x["metric"]) for x in lines]
    assert keys == sorted(keys)
    assert {"psnr@chunk0"} <= {line["metric"] for line in lines}


def test_aliases_share_values_and_add_no_rank(three_seeds):
    _, analysis, report = three_seeds
    table = report["tables"]["spatial"]
    assert report["rows"]["spatial-text"] == report["rows"]["spatial"]
    assert report["rows"]["spatial-withheld"] == report["rows"]["context-k1"]
    assert table["same_as"] == {"spatial-text": "spatial"}
    assert analysis.tables["spatial"].rows == ("spatial", "spatial-withheld", "spatial-readout", "spatial-masked")
    assert max(table["ranks"]["replay"].values()) == 4
    assert table["rank_shift"]["spatial-text"] == table["rank_shift"]["spatial"]


def test_means_and_counts_are_those_of_the_lines(three_seeds):
    given, _, report = three_seeds
    values = [v.value for v in given.values if (v.row, v.branch, v.metric) == ("ssm-hybrid", "return", "judge")]
    told = report["rows"]["ssm-hybrid"]["return/judge"]
    assert told["mean"] == pytest.approx(np.mean(values))
    assert (told["n"], told["missing"]) == (48, 0)
    assert told["low"] < told["mean"] < told["high"]


def test_a_missing_score_stays_missing_and_is_counted(three_seeds):
    given, _, _ = three_seeds
    lost = [v for v in given.values if (v.row, v.seed, v.metric) == ("context-k5", 1, "judge") and v.branch == "return"]
    holed = dataclasses.replace(given, values=[v for v in given.values if v not in lost[:5]])
    told = report_json(holed, analyse(holed))["rows"]["context-k5"]["return/judge"]
    assert (told["n"], told["missing"]) == (43, 5)


def test_a_table_is_computed_over_its_rows_alone(three_seeds):
    given, _, report = three_seeds
    only = dataclasses.replace(given, tables={"families": TABLES["families"]})
    assert report_json(only, analyse(only))["tables"]["families"] == report["tables"]["families"]
    wild = [dataclasses.replace(v, value=v.value * 50) if v.row == "compress-length-r8" else v for v in given.values]
    changed = dataclasses.replace(given, values=wild)
    assert report_json(changed, analyse(changed))["tables"]["families"] == report["tables"]["families"]


def test_findings_follow_values_that_leave_no_doubt(three_seeds):
    found = {finding["id"]: finding for finding in three_seeds[2]["findings"]}
    assert found["3"]["verdict"] == "supported"
    assert found["3"]["effect"] < 0
    assert found["5"]["verdict"] == "supported"
    assert found["5"]["effect"] == pytest.approx(QUALITY["ssm-blockwise"][1] - QUALITY["ssm-hybrid"][1], abs=4)


def test_swapped_rows_turn_the_verdict(three_seeds):
    given = three_seeds[0]
    swap = {"ssm-hybrid": "ssm-blockwise", "ssm-blockwise": "ssm-hybrid"}
    swapped = dataclasses.replace(
        given, values=[dataclasses.replace(v, row=swap.get(v.row, v.row)) for v in given.values]
    )
    found = {finding["id"]: finding for finding in report_json(swapped, analyse(swapped))["findings"]}
    assert found["5"]["verdict"] == "contradicted"


def test_retained_gain_is_zero_to_one_between_the_two_contexts(three_seeds):
    gains = three_seeds[2]["retained_gain"]
    assert gains["compress-length-r2"] == pytest.approx((55 - 21) / (64 - 21), abs=0.1)
    assert gains["spatial-text"] == gains["spatial"]
    assert "context-k5" not in gains
    assert "spatial-withheld" not in gains


def test_a_context_row_that_is_another_name_of_an_earlier_row_counts_as_itself(three_seeds):
    given, _, report = three_seeds
    names = {"spatial-withheld": None, "context-k1": "spatial-withheld"}
    rows = sorted(given.rows, key=lambda row: row.name != "spatial-withheld")
    turned = dataclasses.replace(
        given, rows=[dataclasses.replace(row, alias_of=names.get(row.name, row.alias_of)) for row in rows]
    )
    assert report_json(turned, analyse(turned))["retained_gain"] == report["retained_gain"]
    for words in (given, turned):
        assert any("context-k20 over context-k1" in tile.name for tile in tiles(words, analyse(words)))


def test_retained_gain_is_not_given_when_long_context_gains_nothing_certain():
    given = made_input()
    flat = {v.case: v.value for v in given.values if (v.row, v.branch, v.metric) == ("context-k1", "return", "judge")}
    noise = np.random.Generator(np.random.Philox(key=5))
    level = [
        dataclasses.replace(v, value=flat[v.case] + 9 * float(noise.normal()))
        if (v.row, v.branch, v.metric) == ("context-k20", "return", "judge")
        else v
        for v in given.values
    ]
    report = report_json(given, analyse(dataclasses.replace(given, values=level)))
    assert set(report["retained_gain"].values()) == {None}
    assert "not significantly different from 0" in report["retained_gain_limits"]["spatial"]["reason"]


def test_a_value_of_an_axis_is_drawn_as_it_is_written_and_is_no_formula():
    given = made_input(cases=4)
    priced = [dataclasses.replace(v, axes=r"n=$\q$ <b>") for v in given.values]
    given = dataclasses.replace(given, values=priced, costs=[], curves=[])
    assert r"context-k5/n=$\q$ &lt;b&gt;" in page(given, analyse(given))


def test_axes_get_rows_and_tables_of_their_own():
    given = made_input(cases=4)
    twice = [dataclasses.replace(v, axes=f"site={site}") for site in ("a", "b") for v in given.values]
    report = report_json(given, analyse(dataclasses.replace(given, values=twice, costs=[], missing=[])))
    assert "context-k5/site=a" in report["rows"]
    assert set(report["tables"]) == {f"{name}/site={site}" for name in TABLES for site in "ab"}
    assert [(f["id"], f["axes"]) for f in report["findings"]] == [(n, f"site={s}") for s in "ab" for n in "123456"]
    assert {f["id"] for f in report["findings"] if f["effect"] is None} == {"6"}  # there are no costs


def test_nothing_measured_still_makes_a_report(tmp_path):
    given = made_input()
    build(tmp_path, dataclasses.replace(given, values=[], costs=[], curves=[], strips=[]))
    report = json.loads((tmp_path / "report.json").read_text())
    assert {finding["verdict"] for finding in report["findings"]} == {"undecided"}


def test_two_values_of_one_case_are_refused():
    given = made_input(cases=2)
    with pytest.raises(ValueError, match="two values of"):
        analyse(dataclasses.replace(given, values=[*given.values, given.values[0]]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused_and_leaves_no_mean_unseen(value):
    given = made_input(cases=2)
    odd = dataclasses.replace(given.values[0], value=value)
    with pytest.raises(ValueError, match=rf"of row 'context-k1', seed 0, case '.*' is {value!r}; allowed: a finite"):
        analyse(dataclasses.replace(given, values=[odd, *given.values[1:]]))


def test_the_page_shows_every_commit_and_that_files_were_changed():
    ours, theirs = "b52e1e309a7c179cd50225617793d010947059ac", "0393efe2c1a4179cd50225617793d010947059ac"
    assert commits(f"{ours} digits_study:{theirs}-dirty, {ours}") == (
        "b52e1e309a7c digits_study:0393efe2c1a4-dirty, b52e1e309a7c"
    )
    assert commits("0393efe2c1a4") == "0393efe2c1a4"
