"""Several judges in one report: never one column, and their agreement by known answers."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_input import made_input, without_figures

from reports import instruments
from reports.analysis import analyse
from reports.build import build
from reports.columns import columns
from reports.input import ReportInput, ResultLine
from reports.report_json import report_json
from workloads.study.report import REPORT

A, B = "points:vlm:qwen/a-30b", "points:vlm:b"


def is_judges(value: ResultLine) -> bool:
    """Whether a judge gave this value."""
    assert REPORT.instruments is not None
    return instruments.is_scored(REPORT.instruments, value.metric, value.unit)


def judged_by(given: ReportInput, models: Sequence[str], scores: Sequence[ResultLine]) -> ReportInput:
    """The input without the mask's scores, with those of `models`."""
    others = [value for value in given.values if not is_judges(value)]
    sections = {**given.sections, "judge": {"name": "vlm", "models": list(models)}}
    return replace(given, values=[*others, *scores], sections=sections)


@pytest.fixture(scope="module")
def two() -> ReportInput:
    """Judge A gives the made-up scores, judge B half of each and ten."""
    given = made_input(cases=8)
    made = [value for value in given.values if is_judges(value)]
    first = [replace(value, unit=A) for value in made]
    return judged_by(given, ["qwen/a-30b", "b"], [*(replace(v, unit=B, value=v.value / 2 + 10) for v in first), *first])


def test_two_judges_are_two_columns_and_the_first_one_named_gives_the_return_score(two: ReportInput) -> None:
    panels = analyse(two).panels
    assert (panels["return/judge"].unit, panels["return/judge:b"].unit) == (A, B)
    assert panels["return/judge_appearance:b"].unit == B
    one, other = panels["return/judge"], panels["return/judge:b"]
    np.testing.assert_allclose(other.total, one.total / 2 + 10 * one.count)
    swapped = judged_by(two, ["b", "qwen/a-30b"], [value for value in two.values if is_judges(value)])
    panels = analyse(swapped).panels
    assert (panels["return/judge"].unit, panels["return/judge:qwen/a-30b"].unit) == (B, A)


def test_a_second_judge_changes_nothing_of_what_the_first_one_says(two: ReportInput) -> None:
    alone = judged_by(two, ["qwen/a-30b"], [value for value in two.values if value.unit == A])
    reports = [report_json(given, analyse(given)) for given in (two, alone)]
    assert reports[0]["findings"] == reports[1]["findings"]
    assert reports[0]["tables"] == reports[1]["tables"]
    assert reports[1]["judges"] == []
    for row, metrics in reports[1]["rows"].items():
        assert {name: reports[0]["rows"][row][name] for name in metrics} == metrics


def test_no_panel_holds_two_units(two: ReportInput) -> None:
    units: dict[tuple[str, str], set[str]] = {}
    found = instruments.separated(two, columns(two.values))
    for value in map(found.line, range(len(found))):
        units.setdefault((value.branch, value.metric), set()).add(value.unit)
    assert all(len(each) == 1 for each in units.values())


def test_one_judge_keeps_every_name() -> None:
    given = made_input(cases=4)
    values = columns(given.values)
    assert instruments.separated(given, values) is values
    assert instruments.agreement(given, values) == []


def pair(
    scores: Sequence[tuple[float | None, float | None]], **changed: object
) -> list[instruments.InstrumentAgreement]:
    """The agreement over cases of context-k5 that A and B scored so."""
    line = ResultLine(
        row="context-k5", seed=0, axes="", branch="return", case="", metric="judge", unit="", better="high", value=0.0
    )
    values = [
        replace(line, case=f"worlds/open-{i:02d}-0/0", unit=unit, value=value)
        for i, both in enumerate(scores)
        for unit, value in zip((A, B), both, strict=True)
        if value is not None
    ]
    given = judged_by(made_input(cases=4), ["qwen/a-30b", "b"], values)
    return instruments.agreement(given, columns(given.values))


def test_agreement_has_its_known_values() -> None:
    (found,) = pair([(0, 0), (1, 1), (2, 4), (3, 9), (None, 5), (7, None), (8, None)])
    assert (found.branch, found.a, found.b, found.n) == ("return", "qwen/a-30b", "b", 4)
    assert (found.only_a, found.only_b) == (2, 1)
    assert found.spearman == pytest.approx(1)
    assert found.pearson == pytest.approx(np.corrcoef([0, 1, 2, 3], [0, 1, 4, 9])[0, 1])
    assert (found.a_mean, found.b_mean) == (1.5, 3.5)


def test_ties_share_their_mean_rank() -> None:
    (found,) = pair([(0, 3), (1, 2), (1, 1), (2, 0)])
    assert found.spearman == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [4, 3, 2, 1])[0, 1])


@pytest.mark.parametrize("scores", [[(1, 2), (2, 4)], [(1, 2), (1, 3), (1, 4)], [(1, None), (None, 3)]])
def test_too_few_or_equal_scores_agree_with_nothing(scores: Sequence[tuple[float | None, float | None]]) -> None:
    (found,) = pair(scores)
    assert np.isnan(found.pearson)
    assert np.isnan(found.spearman)


def test_other_names_of_a_computation_and_bounds_are_not_counted_twice(two: ReportInput) -> None:
    distinct = [info for info in two.rows if info.alias_of is None]
    counted = instruments.agreement(two, columns(two.values))
    assert {found.branch: found.n for found in counted} == {"return": 8 * len(distinct), "loop": 8 * len(distinct)}
    assert all(found.pearson == pytest.approx(1) for found in counted)
    bound = [replace(info, family="bound", reference=True) if info.name == "context-k1" else info for info in two.rows]
    assert instruments.agreement(replace(two, rows=bound), columns(two.values))[0].n == 8 * (len(distinct) - 1)


def test_the_report_shows_the_agreement_and_keeps_units_in_results_csv(two: ReportInput, tmp_path) -> None:
    build(tmp_path, without_figures(two))
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(p["branch"], p["a"], p["b"]) for p in report["judges"]] == [
        ("return", "qwen/a-30b", "b"),
        ("loop", "qwen/a-30b", "b"),
    ]
    page = (tmp_path / "index.html").read_text()
    assert "Agreement of the judges" in page
    assert "judge:b" in page
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert {line["unit"] for line in lines if line["metric"] == "judge"} == {A, B}
    assert not [line for line in lines if ":" in line["metric"]]
