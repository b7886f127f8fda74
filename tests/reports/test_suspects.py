"""A guarded metric that gives a floor more than the baseline is suspect, and floors and reference lines are shown."""

import dataclasses

import pytest
from made_input import made_input, without_figures

from orchestrator.ui.scores import scores_text
from reports import references
from reports.analysis import analyse
from reports.build import build
from reports.input import LeftOut, Missing, RowInfo
from reports.references import reference_lines
from reports.report_json import report_json
from reports.scoreboard import scoreboard
from reports.suspects import beaten
from workloads.study.report import REPORT

SHIFT = {"bound-waits": 50.0, "bound-late": -2.0, "bound-pan": 60.0}
"""Of the judge over that of context-k1."""


def with_floors(given, **changed):
    own = [v for v in given.values if v.row == "context-k1" and v.metric == "judge" and v.branch == "return"]
    values = [dataclasses.replace(v, row=row, value=v.value + by) for row, by in SHIFT.items() for v in own]
    rows = [RowInfo(name=row, family="bound", alias_of=None, reference=True) for row in SHIFT]
    return dataclasses.replace(given, rows=[*given.rows, *rows], values=[*given.values, *values], **changed)


@pytest.fixture(scope="module")
def given():
    return with_floors(made_input(seeds=(0, 1), cases=8))


def test_a_floor_beats_the_baseline_and_a_reference_line_may(given):
    (one,) = beaten(analyse(given), "return/judge")
    assert (one.row, one.baseline) == ("bound-waits", "context-k1")
    assert one.mean - one.baseline_mean == pytest.approx(50.0)
    assert one.low == pytest.approx(50.0)


def test_less_than_the_interval_of_the_difference_is_no_win(given):
    import numpy as np

    random = np.random.default_rng(0)
    noisy = [
        dataclasses.replace(v, value=v.value - 50.0 + 1.0 + 20.0 * random.normal()) if v.row == "bound-waits" else v
        for v in given.values
    ]
    assert beaten(analyse(dataclasses.replace(given, values=noisy)), "return/judge") == []


def test_where_less_is_better_less_is_a_win(given):
    low = [
        dataclasses.replace(v, better="low") if (v.branch, v.metric) == ("return", "judge") else v for v in given.values
    ]
    branches = [
        dataclasses.replace(branch, otherwise=[dataclasses.replace(part, better="low") for part in branch.otherwise])
        if branch.name == "return"
        else branch
        for branch in given.spec.branches
    ]
    turned = dataclasses.replace(given, values=low, spec=dataclasses.replace(given.spec, branches=branches))
    assert [one.row for one in beaten(analyse(turned), "return/judge")] == ["bound-late"]


def test_only_guarded_metrics_are_looked_at_and_only_where_there_is_a_baseline(given):
    spec = dataclasses.replace(REPORT, references=dataclasses.replace(REPORT.references, guarded=("loop/psnr",)))
    assert beaten(analyse(dataclasses.replace(given, spec=spec)), "return/judge") == []
    assert beaten(analyse(dataclasses.replace(given, spec=dataclasses.replace(REPORT, references=None))), "x/y") == []
    spec = dataclasses.replace(REPORT, references=dataclasses.replace(REPORT.references, baseline="nothing"))
    assert scoreboard(dataclasses.replace(given, spec=spec)).suspects == {}


def test_the_terminal_names_them_and_calls_nothing_missing_that_has_no_meaning(given):
    text = scores_text(given, 200)
    baseline = scoreboard(given).scores["context-k1", "return"].mean
    assert f"suspect: return Judge rates bound-waits ({baseline + 50:.1f}) above context-k1 ({baseline:.1f})" in text
    line = next(line for line in text.splitlines() if line.startswith("bound-waits"))
    assert line.split()[1:3] == ["–", "–"]
    lost = Missing(row="bound-waits", seed=0, axes="", branch="loop", state="failed", reason="x")
    text = scores_text(dataclasses.replace(given, missing=[*given.missing, lost]), 200)
    line = next(line for line in text.splitlines() if line.startswith("bound-waits"))
    assert line.split()[1:3] == ["–", "missing"]


def test_the_page_and_report_json_have_all_of_them(given, tmp_path):
    left = [LeftOut(row="bound-stops", seed=s, axes="", branch="return", reason="it is the truth") for s in (0, 1)]
    given = dataclasses.replace(given, left_out=left, strips=[], curves=[], spec=without_figures(given).spec)
    metrics, lines = reference_lines(analyse(given))
    at = metrics.index("return/judge")
    assert [(line.row, line.kind, line.values[at][1]) for line in lines] == [
        ("bound-waits", "floor", True),
        ("bound-late", "floor", False),
        ("bound-pan", "line", False),
    ]
    told = report_json(given, analyse(given))
    assert [one["row"] for one in told["suspects"]["return/judge"]] == ["bound-waits"]
    assert told["left_out"][0]["reason"] == "it is the truth"
    build(tmp_path / "out", given)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.count("bound-stops is left out of return: it is the truth.") == 1
    assert page.count('<span class="chip violated">') >= 1
    assert "must not give a floor more than context-k1" in page


def test_nothing_is_said_of_a_baseline_that_is_not_there(given):
    spec = dataclasses.replace(REPORT, references=dataclasses.replace(REPORT.references, baseline="nothing"))
    assert references.guards(analyse(given))
    assert not references.guards(analyse(dataclasses.replace(given, spec=spec)))
