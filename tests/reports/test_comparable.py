"""Violated controls: every number that rests on one is crossed out, and nothing else changes."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from made_input import made_input, without_figures
from pyarrow import parquet

from orchestrator.ui.scores import scores_text
from reports.analysis import Analysis, analyse
from reports.columns import columns
from reports.comparable import violations
from reports.forms.forms import forms
from reports.forms.markdown import report_md
from reports.input import ReportInput
from reports.page.page import page
from reports.page.seeds import seed_table
from reports.report_json import report_json
from reports.results_csv import results_csv, written_table

ROW = "compress-hybrid-r2"


def violated(
    given: ReportInput, cells: Sequence[str], branch: str = "", check: str = "evidence", verdict: str = "violated"
) -> ReportInput:
    line = {"check": check, "verdict": verdict, "detail": "seed 1: aa, bb", "cells": list(cells), "branch": branch}
    return replace(given, controls=replace(given.controls, verdicts=[*given.controls.verdicts, line]))


@pytest.fixture(scope="module")
def held() -> ReportInput:
    return without_figures(made_input(seeds=(0, 1), cases=4))


@pytest.fixture(scope="module")
def of_held(held: ReportInput) -> tuple[Analysis, dict[str, Any]]:
    found = analyse(held)
    return found, report_json(held, found)


@pytest.fixture(scope="module")
def of_row(held: ReportInput) -> tuple[ReportInput, Analysis, dict[str, Any]]:
    given = violated(held, [f"{ROW}/s1"])
    found = analyse(given)
    return given, found, report_json(given, found)


def test_a_row_keeps_its_numbers_and_is_compared_with_nothing(of_held: Any, of_row: Any) -> None:
    (_, before), (_, _, after) = of_held, of_row
    assert before["not_comparable"] == []
    assert after["not_comparable"] == [{"row": ROW, "branches": ["loop", "replay", "return"], "checks": ["evidence"]}]
    for row, metrics in after["rows"].items():
        for metric, entry in metrics.items():
            assert entry.pop("comparable", True) is (row != ROW)
            assert entry == before["rows"][row][metric]
    table, was = after["tables"]["compression"], before["tables"]["compression"]
    assert table["scores"]["return"][ROW] is None
    assert table["ranks"]["return"][ROW] is None
    assert ROW not in table["rank_shift"]
    assert [line for line in table["comparisons"] if ROW in (line["a"], line["b"])] == []
    kept = [line for line in was["comparisons"] if ROW not in (line["a"], line["b"])]
    assert [line["effect"] for line in table["comparisons"]] == [line["effect"] for line in kept]
    assert table["agreement"] != was["agreement"]
    assert after["tables"]["families"] == before["tables"]["families"]
    assert ROW not in [row for column in after["columns"] for row in (*column["best"], *column["marks"])]


def test_a_finding_that_rests_on_the_row_is_not_comparable_and_keeps_its_numbers(of_held: Any, of_row: Any) -> None:
    before, after = ({one["id"]: one for one in found["findings"]} for found in (of_held[1], of_row[2]))
    assert {name for name, one in after.items() if one["verdict"] == "not comparable"} == {"3"}
    assert (after["3"]["effect"], after["3"]["low"]) == (before["3"]["effect"], before["3"]["low"])
    assert after["3"]["p_adjusted"] is None
    assert after["3"]["detail"].startswith(f"a control of {ROW} is violated")
    assert after["5"]["effect"] == before["5"]["effect"]


def test_a_finding_about_all_rows_of_a_table_rests_on_each_of_them(held: ReportInput) -> None:
    found = analyse(violated(held, ["ssm-hybrid/s0"]))
    crossed = {one["id"] for one in found.findings if one["verdict"] == "not comparable"}
    assert {"1", "5"} <= crossed
    assert not crossed & {"3", "4"}


def test_a_check_of_one_branch_takes_only_that_branch_away(held: ReportInput) -> None:
    given = violated(held, ["ssm-hybrid/s0"], branch="loop", check="cases of evaluate/loop")
    found = analyse(given)
    assert report_json(given, found)["not_comparable"] == [
        {"row": "ssm-hybrid", "branches": ["loop"], "checks": ["cases of evaluate/loop"]}
    ]
    assert found.mean("loop/psnr", "ssm-hybrid") is None
    assert found.mean("return/judge", "ssm-hybrid") is not None


def test_a_check_without_cells_concerns_every_row(held: ReportInput) -> None:
    found = analyse(violated(held, []))
    assert all(not found.is_comparable("replay/psnr", row.label) for row in found.rows)
    assert {one["verdict"] for one in found.findings if one["effect"] is not None} == {"not comparable"}


def test_an_alias_shares_the_fate_of_its_row(held: ReportInput) -> None:
    found = analyse(violated(held, ["spatial-text/s0"]))
    assert not found.is_comparable("replay/psnr", "spatial")


@pytest.mark.parametrize("verdict", ["mixed", "open", "held"])
def test_other_verdicts_take_nothing_away(held: ReportInput, of_held: Any, verdict: str) -> None:
    given = violated(held, [f"{ROW}/s1"], verdict=verdict)
    assert violations(given.controls) == ()
    assert analyse(given).crossed_out is None


def test_the_table_of_seeds_crosses_out_the_seed_alone(of_row: Any, of_held: Any) -> None:
    [(_, _, cells)] = [line for line in seed_table(of_row[1], (0, 1)).lines if line[0] == ROW]
    assert [crossed for _, crossed in cells] == [False, True] * 3
    [(_, _, before)] = [line for line in seed_table(of_held[0], (0, 1)).lines if line[0] == ROW]
    assert [text for text, _ in cells] == [text for text, _ in before]


def test_results_csv_marks_the_lines_of_the_cell_and_is_the_same_without(held: ReportInput, of_row: Any) -> None:
    values = columns(held.values)
    plain, marked = results_csv(values), results_csv(values, violations(of_row[0].controls))
    assert results_csv(values, violations(held.controls)) == plain
    lines = list(csv.DictReader(io.StringIO(marked)))
    assert list(lines[0])[-1] == "controls"
    assert {(v["row"], v["seed"]) for v in lines if v["controls"] == "violated"} == {(ROW, "1")}
    assert {v["controls"] for v in lines} == {"", "violated"}
    assert re.sub(r",(controls|violated|)\n", "\n", marked) == plain
    assert list(written_table(marked, "it").values) == list(written_table(plain, "it").values)
    with pytest.raises(ValueError, match=r"it:2: controls is 'perhaps'; allowed: violated, or nothing"):
        written_table(marked.replace(",\n", ",perhaps\n", 1), "it")


@pytest.mark.slow  # draws the page
def test_the_page_strikes_the_numbers_and_says_why_at_the_top(of_row: Any) -> None:
    given, found, _ = of_row
    text = page(given, found)
    top = text[text.index('id="not-comparable"') : text.index('class="tiles"')]
    said = " ".join(re.sub(r"</?[a-z][^>]*>", "", top).split())  # without the marks of the glossary
    assert f"evidence: {ROW}. seed 1: aa, bb" in said
    tables = text[text.index('id="tables"') :]
    [line, *_] = re.findall(rf"<tr[^>]*><th[^>]*><span[^>]*></span>{ROW}</th>.*?</tr>", tables, re.S)
    cells = [cell for cell in re.findall(r"<td[^>]*>(.*?)</td>", line) if cell != "–"]
    assert cells
    assert all(cell.startswith("<del") and "</del>" in cell for cell in cells)
    assert 'class="chip not-comparable">not comparable</span>' in text
    families = tables[: tables.index("<h3>spatial</h3>")]
    assert "<del" not in families, "a table without the row is as it was"


def test_the_table_in_the_terminal_marks_the_numbers(of_row: Any) -> None:
    text = scores_text(of_row[0], 100)
    line = next(line for line in text.splitlines() if line.startswith(ROW))
    assert line.count("\N{MULTIPLICATION SIGN}") == 3
    assert "*" not in line
    assert (
        f"\N{MULTIPLICATION SIGN} not comparable: evidence is violated in {ROW}; see `echo-matrix report`"
        in text.splitlines()
    )


@pytest.mark.slow  # imports pyarrow
def test_the_other_forms_cross_out_too(of_row: Any) -> None:
    given, found, _ = of_row
    text = report_md(given, found)
    lines = [line for line in text.splitlines() if line.startswith(f"| {ROW} | ~~")]
    assert lines
    assert f"Not comparable, as the control evidence did not hold: {ROW}." in text
    [finding] = [line for line in text.splitlines() if line.startswith("| 3 |")]
    assert re.search(r"\| not comparable \| ~~−?\d+\.\d points", finding)
    table = parquet.read_table(io.BytesIO(forms(given, found, [], ["parquet"])["results.parquet"])).to_pylist()
    assert {(v["row"], v["seed"]) for v in table if v["controls"] == "violated"} == {(ROW, 1)}
