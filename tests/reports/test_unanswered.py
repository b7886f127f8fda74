"""Cases that a judge did not answer: means between the worst and the best that they could have been."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from made_input import made_input, without_figures

from orchestrator.ui.scores import scores_text
from reports.analysis import Analysis, analyse
from reports.forms.markdown import report_md
from reports.input import Missing, ReportInput, ResultLine
from reports.page.tables import every_metric
from reports.report_json import report_json
from reports.scoreboard import scoreboard
from reports.unanswered import scenarios
from workloads.study.report import REPORT

ROW = "ssm-blockwise"
CASES = 4


def lost(given: ReportInput, lacks: Callable[[ResultLine], bool]) -> ReportInput:
    """Without what a judge said of some cases."""
    return replace(given, values=[v for v in given.values if not (v.metric.partition("_")[0] == "judge" and lacks(v))])


def first_of_row(value: ResultLine) -> bool:
    return value.row == ROW and value.branch == "return" and value.case == "worlds/open-00-0/0"


@pytest.fixture(scope="module")
def whole() -> ReportInput:
    return without_figures(made_input(seeds=(0, 1), cases=CASES))


@pytest.fixture(scope="module")
def found(whole: ReportInput) -> Analysis:
    return analyse(lost(whole, first_of_row))


def test_a_mean_lies_between_failures_at_worst_and_at_best(whole: ReportInput, found: Analysis) -> None:
    answered = [
        v.value for v in whole.values if (v.row, v.branch, v.metric) == (ROW, "return", "judge") and not first_of_row(v)
    ]
    assert len(answered) == 2 * CASES - 2
    bounds = found.bounds("return/judge", ROW)
    assert bounds is not None
    assert bounds.unanswered == 2, "the case in both seeds"
    assert bounds.at_worst == pytest.approx(sum(answered) / (2 * CASES))
    assert bounds.at_best == pytest.approx((sum(answered) + 2 * 100) / (2 * CASES))
    of_parts = found.bounds("return/judge_appearance", ROW)
    assert of_parts is not None
    assert of_parts.at_best - of_parts.at_worst == pytest.approx(2 * 5 / (2 * CASES)), "a part's scale ends at 5"
    assert found.bounds("return/judge", "context-k5") is None
    assert found.bounds("return/psnr_first", ROW) is None


def test_report_page_and_terminal_show_the_bounds(whole: ReportInput, found: Analysis) -> None:
    given = lost(whole, first_of_row)
    told = report_json(given, found)
    entry, bounds = told["rows"][ROW]["return/judge"], found.bounds("return/judge", ROW)
    assert bounds is not None
    assert (entry["unanswered"], entry["at_worst"], entry["at_best"]) == (2, bounds.at_worst, bounds.at_best)
    assert "at_worst" not in told["rows"]["context-k5"]["return/judge"]
    [line] = [line for line in every_metric(found, "return").lines if line.row == ROW]
    texts = [cell.unanswered for cell in line.cells]
    between = f"{bounds.at_worst:.1f} to {bounds.at_best:.1f} with 2 unanswered"
    assert between in texts
    assert f"6/8; {between}]" in report_md(given, found)
    text = scores_text(given, 200)
    row = next(line for line in text.splitlines() if line.startswith(ROW))
    assert f"(6/8) [{bounds.at_worst:.1f} to {bounds.at_best:.1f}]" in row
    assert "[a to b] the mean if every case without an answer were at the worst or at the best of its scale" in text
    score = scoreboard(given).scores[ROW, "return"]
    assert (score.unanswered, score.at_worst, score.at_best) == (2, bounds.at_worst, bounds.at_best)


def test_nothing_is_said_where_every_case_was_answered(whole: ReportInput) -> None:
    told = report_json(whole, analyse(whole))
    assert all("at_worst" not in entry for row in told["rows"].values() for entry in row.values())
    assert all("verdicts_with_failures" not in finding for finding in told["findings"])
    assert "[" not in scores_text(whole, 200)


def test_a_job_that_is_not_done_is_no_failure(whole: ReportInput) -> None:
    judged = Missing(row=ROW, seed=1, axes="", branch="return", state="running", reason="")
    given = replace(lost(whole, lambda v: first_of_row(v) and v.seed == 1), missing=[judged])
    assert analyse(given).unanswered == {}


def test_a_case_that_was_not_evaluated_is_no_failure(whole: ReportInput) -> None:
    assert analyse(replace(whole, values=[v for v in whole.values if not first_of_row(v)])).unanswered == {}


def test_where_the_camera_did_not_leave_an_answer_would_not_have_mattered(whole: ReportInput) -> None:
    def gate(v: ResultLine) -> list[ResultLine]:
        left = 0.0 if v.seed == 0 else 1.0
        return [
            replace(v, metric="camera_left", unit="1", value=left),
            replace(v, metric="judge_gated", value=left * v.value),
        ]

    gated = [new for v in whole.values if v.branch == "return" and v.metric == "judge" for new in gate(v)]
    given = replace(whole, values=[*whole.values, *gated])
    bounds = analyse(lost(given, first_of_row)).bounds("return/judge_gated", ROW)
    assert bounds is not None
    assert bounds.at_best - bounds.at_worst == pytest.approx(100 / (2 * CASES)), "of two failures one is 0 either way"


@pytest.mark.slow  # five analyses of a larger study
def test_a_verdict_that_failures_could_change_says_which() -> None:
    larger = without_figures(made_input(seeds=(0, 1, 2), cases=16))
    given = lost(larger, lambda v: v.row in (ROW, "ssm-hybrid") and v.branch == "return" and "-0/" not in v.case)
    findings = {one["id"]: one for one in analyse(given).findings}
    assert {"supported", "contradicted"} <= set(findings["5"]["verdicts_with_failures"])
    assert findings["4"]["verdicts_with_failures"] == [findings["4"]["verdict"]], "it asks no judge"


def test_scenarios_are_every_combination_of_few_rows_and_halves_of_many() -> None:
    assert set(scenarios(["a", "b"], {})) == {frozenset(), frozenset("a"), frozenset("b"), frozenset("ab")}
    means = {name: float(i) for i, name in enumerate("abcde")}
    assert list(scenarios(list("abcde"), means)) == [frozenset(), frozenset("abcde"), frozenset("cde"), frozenset("ab")]


def test_the_scales_are_those_of_the_scores() -> None:
    assert REPORT.instruments is not None
    scales = REPORT.instruments.scales
    assert {name: (one.worst, one.best) for name, one in scales.items() if "_" not in name} == {"judge": (0, 100)}
    assert np.isfinite([one.best for one in scales.values()]).all()
