"""The gated judge heads loop and return; values without a gate keep the scores that they had."""

import re
from collections.abc import Iterable
from dataclasses import replace

import pytest
from made_input import made_input, without_figures

from orchestrator.ui.scores import scores_text
from reports.analysis import analyse, analyse_published
from reports.input import ReportInput, ResultLine
from reports.page.page import page
from reports.page.tables import printed
from reports.report_json import report_json
from reports.scoreboard import scoreboard
from workloads.contract.derived import derived_lines
from workloads.study.gate import AT_MOST, DERIVED, GATED
from workloads.study.published import published_tables
from workloads.study.report import BESIDE, REPORT

STAYED, BLURRED = "context-k20", "ssm-blockwise"
"""A row whose camera never leaves, and one whose camera cannot be measured."""


def camera(value: ResultLine) -> Iterable[ResultLine]:
    left, measurable = value.row not in (STAYED, BLURRED), value.row != BLURRED
    for name, found in (("left", left), ("f", left), ("measurable", measurable), ("refused", False)):
        yield replace(value, metric=f"camera_{name}", unit="1", value=float(found))


def gated(given: ReportInput) -> ReportInput:
    """The input with a camera, and what is derived from it."""
    values = [*given.values, *(line for v in given.values if v.metric == "judge" for line in camera(v))]
    cells: dict[tuple[str, int, str, str], list[ResultLine]] = {}
    for value in values:
        cells.setdefault((value.row, value.seed, value.axes, value.branch), []).append(value)
    for (row, seed, axes, branch), lines in cells.items():
        measured = [{"case": v.case, "metric": v.metric, "unit": v.unit, "value": v.value} for v in lines]
        for line in derived_lines(DERIVED, branch, measured):
            values.append(ResultLine(row=row, seed=seed, axes=axes, branch=branch, **line))
    return replace(given, values=values)


@pytest.fixture(scope="module")
def plain() -> ReportInput:
    return made_input(cases=8)


@pytest.fixture(scope="module")
def given(plain: ReportInput) -> ReportInput:
    return gated(plain)


def test_the_gated_judge_heads_loop_and_return(given: ReportInput) -> None:
    told = report_json(given, analyse(given))
    assert {column["branch"]: column["metric"] for column in told["columns"]} == {
        "replay": "psnr",
        "loop": GATED,
        "return": GATED,
    }
    families = told["tables"]["families"]["scores"]["return"]
    assert families[STAYED] == families[BLURRED] == 0.0
    assert families["context-k5"] == told["rows"]["context-k5"]["return/judge"]["mean"] > 0
    assert told["rows"][BLURRED][f"return/{AT_MOST}"]["mean"] == told["rows"][BLURRED]["return/judge"]["mean"] > 0
    assert told["rows"][STAYED][f"return/{AT_MOST}"]["mean"] == 0.0


def test_findings_and_gain_are_about_the_gated_judge(given: ReportInput, plain: ReportInput) -> None:
    found, before = (report_json(one, analyse(one)) for one in (given, plain))
    effect, ungated = (next(one["effect"] for one in told["findings"] if one["id"] == "5") for told in (found, before))
    assert effect < 0 < ungated, "block-wise is measured nowhere, so that it has no score"
    assert before["retained_gain"]["compress-length-r2"] > 0 > found["retained_gain"]["compress-length-r2"], (
        "K=20 loses to K=1: its camera never leaves"
    )


def test_the_page_names_the_gated_judge_with_the_share_that_left_beside_it(given: ReportInput) -> None:
    html = re.sub(r"</?a\b[^>]*>", "", page(without_figures(given), analyse(without_figures(given))))  # no glossary
    assert "of the gated judge on return, context-k20 over context-k1" in html
    assert all(
        re.search(rf"<th[^>]*>{name}&nbsp;", html)
        for name in ("Gated judge", "Left", "Turn", "Judge", "Gated, at most")
    )


def test_no_row_of_a_table_is_best_in_what_the_headline_is_made_of(given: ReportInput) -> None:
    """A camera that turns 1.3 times as far as commanded is not better than one that does as commanded."""
    table = printed(analyse(given), "families")
    best = {i for line in table.lines for i, cell in enumerate(line.cells) if cell.mark}
    marked = {table.columns[i].metric for i in best}
    beside = {f"{branch}/{name}" for branch in ("loop", "return") for name in BESIDE}
    assert beside <= {column.metric for column in table.columns}
    assert {"replay/psnr", f"return/{GATED}"} <= marked and not marked & beside


def test_the_table_of_scores_shows_what_the_headline_is_made_of(given: ReportInput) -> None:
    board = scoreboard(given)
    assert [f"{one.branch}/{one.metric}" for one in board.beside] == [
        f"{branch}/{name}" for branch in ("loop", "return") for name in ("camera_left", "camera_f", "judge", AT_MOST)
    ]
    assert board.others[STAYED, "return/camera_left"].mean == 0.0
    assert not any(score.mark for score in board.others.values())
    text = scores_text(given, 80)
    assert max(map(len, text.splitlines())) <= 100
    blocks = [block.splitlines()[:2] for block in text.split("\n\n")[:3]]
    assert [[line.split() for line in block] for block in blocks] == [
        [["replay", "loop", "return"], ["row", "PSNR", "Gated", "judge", "Gated", "judge"]],
        [["loop"] * 4, ["row", "Left", "Turn", "Judge", "Gated,", "at", "most"]],
        [["return"] * 4, ["row", "Left", "Turn", "Judge", "Gated,", "at", "most"]],
    ]
    assert "gated judge: the judge's total where the camera left as commanded, else 0" in text


def test_values_without_a_gate_keep_the_scores_that_they_had(plain: ReportInput) -> None:
    told = report_json(plain, analyse(plain))
    assert [column["metric"] for column in told["columns"]] == ["psnr", "psnr", "judge"]
    board = scoreboard(plain)
    assert (list(board.beside), dict(board.others)) == ([], {})
    assert "gated" not in scores_text(plain, 80)


def test_published_tables_have_no_gate_and_say_so() -> None:
    published = published_tables()
    found = analyse_published(REPORT, published)
    assert [part.metric for part in found.scoring.of("loop").score] == ["psnr", "ssim", "lpips"]
    assert [part.metric for part in found.scoring.of("return").score] == ["judge"]
    assert "It has no gate: the judge's total counts whether or not the camera left." in published.caption
