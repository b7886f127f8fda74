"""Axes: the contrast between values of a control, row by row, and the study's own value."""

import dataclasses

import numpy as np
import pytest
from made_input import made_input, without_figures

from reports.analysis import analyse
from reports.axes import axes_json, axis_values, value_contrasts
from reports.input import ReportInput
from reports.page.axes import axis_parts
from reports.page.page import page
from reports.report_json import report_json

RAISED = 2.0
ROWS = ("context-k1", "context-k5", "spatial", "spatial-text")
READ = {("replay", "psnr"), ("replay", "ssim"), ("replay", "rf_distance"), ("return", "judge")}


@pytest.fixture(scope="module")
def given() -> ReportInput:
    """Four rows at two values of `site`, of which `pre` is the study's own; `post` raises `spatial` on replay."""
    made = without_figures(made_input(seeds=(0, 1, 2), cases=8))
    noise = np.random.Generator(np.random.Philox(key=1))
    values = [
        dataclasses.replace(
            v,
            axes=f"site={site}",
            value=v.value
            + (0.05 * float(noise.normal()) if site == "post" else 0.0)
            + RAISED * (site == "post" and v.metric == "psnr" and v.row.startswith("spatial")),
        )
        for site in ("post", "pre")
        for v in made.values
        if v.row in ROWS and (v.branch, v.metric) in READ
    ]
    rows = [info for info in made.rows if info.name in ROWS]
    tables = {"families": ["context-k1", "context-k5", "spatial"]}
    return dataclasses.replace(
        made, rows=rows, values=values, tables=tables, defaults={"site": "pre"}, outside=(), missing=[]
    )


def test_each_row_is_compared_with_itself_at_the_studys_own_value(given: ReportInput) -> None:
    analysis = analyse(given)
    assert analysis.main == "families/site=pre"
    assert axis_values(analysis) == {"site": ("pre", "post")}
    found = {(one.row, one.metric): one for one in value_contrasts(analysis, given.defaults)}
    assert set(found) == {(row, m) for row in ROWS[:3] for m in ("replay/psnr", "return/judge")}
    assert {(one.value, one.over, one.seeds, one.held) for one in found.values()} == {("post", "pre", 3, "")}
    raised = found["spatial", "replay/psnr"]
    assert raised.effect == pytest.approx(RAISED, abs=0.1)
    assert raised.low > 1.5 and raised.p <= raised.p_adjusted < 0.05
    assert all(one.p_adjusted > 0.05 for key, one in found.items() if key != ("spatial", "replay/psnr"))


def test_report_json_and_the_page_name_the_studys_own_value(given: ReportInput) -> None:
    analysis = analyse(given)
    told = report_json(given, analysis)["axes"]
    assert (told["values"], told["defaults"]) == ({"site": ["pre", "post"]}, {"site": "pre"})
    assert len(told["contrasts"]) == 6
    text = page(given, analysis)
    assert 'id="axes"' in text
    assert "site: pre, post" in text
    assert "pre is the study's own value: figures are of it." in text.replace("&#39;", "'")
    assert "post − pre" in text


@pytest.mark.parametrize(
    ("defaults", "over", "said"),
    [({}, "post", ""), ({"site": "gated"}, "post", "gated"), ({"site": "pre"}, "pre", "pre")],
)
def test_a_value_that_was_not_run_is_named_and_the_first_one_stands_for_it(
    given: ReportInput, defaults: dict[str, str], over: str, said: str
) -> None:
    analysis = analyse(dataclasses.replace(given, defaults=defaults))
    assert {one.over for one in value_contrasts(analysis, defaults)} == {over}
    [part] = axis_parts(analysis, defaults)
    assert part.default == said


def test_two_axes_are_varied_one_at_a_time(given: ReportInput) -> None:
    twice = [dataclasses.replace(v, axes=f"{v.axes};rule={rule}") for rule in ("a", "b") for v in given.values]
    defaults = {"site": "pre", "rule": "a"}
    both = dataclasses.replace(given, values=twice, defaults=defaults)
    found = value_contrasts(analyse(both), defaults)
    assert {(one.axis, one.value, one.over, one.held) for one in found} == {
        ("site", "post", "pre", "rule=a"),
        ("site", "post", "pre", "rule=b"),
        ("rule", "b", "a", "site=pre"),
        ("rule", "b", "a", "site=post"),
    }
    assert {one.effect for one in found if one.axis == "rule"} == {0.0}


def test_a_study_without_axes_has_none() -> None:
    made = without_figures(made_input(cases=4))
    analysis = analyse(made)
    assert axes_json(analysis, {}) == {"values": {}, "defaults": {}, "contrasts": []}
    assert axis_parts(analysis, {}) == []
