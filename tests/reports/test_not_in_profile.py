"""Rows that are not in the profile: named in tables and findings, and never missing."""

import dataclasses
import re

import pytest
from made_input import TABLES, made_input

from orchestrator.ui.scores import scores_text
from reports.analysis import analyse
from reports.input import ReportInput
from reports.page.page import page
from reports.page.tables import printed
from reports.page.tiles import tiles
from reports.report_json import report_json

OUTSIDE = ("context-k20", "spatial-masked", "ssm-hybrid", "ssm-blockwise")


@pytest.fixture(scope="module")
def given() -> ReportInput:
    whole = made_input(seeds=(0, 1), cases=4)

    def of_profile(lines):
        return [one for one in lines if one.row not in OUTSIDE]

    return dataclasses.replace(
        whole,
        rows=[info for info in whole.rows if info.name not in OUTSIDE],
        values=of_profile(whole.values),
        costs=of_profile(whole.costs),
        curves=of_profile(whole.curves),
        strips=of_profile(whole.strips),
        missing=[],
        outside=OUTSIDE,
    )


def test_they_are_named_and_nothing_of_them_is_missing(given: ReportInput) -> None:
    analysis = analyse(given)
    found = report_json(given, analysis)
    assert found["outside"] == list(OUTSIDE)
    assert found["missing"] == [] and not found["rows"].keys() & set(OUTSIDE)
    assert found["tables"]["context"]["rows"] == ["context-k1", "context-k5"]
    assert {metric["missing"] for row in found["rows"].values() for metric in row.values()} == {0}
    coverage = tiles(given, analysis)[-1]
    assert (coverage.value, coverage.detail) == ("100 %", "every cell is complete; 4 rows are not in this profile")
    text = scores_text(given, 100)
    assert "missing" not in text
    assert text.splitlines()[-1] == "not in profile laptop: 4 rows, context-k20, spatial-masked, ssm-hybrid and 1 more"


def test_a_table_names_its_rows_that_are_not_in_the_profile(given: ReportInput) -> None:
    analysis = analyse(given)
    assert {name: rows for name, rows in analysis.lacking.items()} == {
        name: tuple(row for row in rows if row in OUTSIDE) for name, rows in TABLES.items() if set(rows) & set(OUTSIDE)
    }
    table = printed(analysis, "context")
    assert [line.row for line in table.lines] == ["context-k1", "context-k5"]
    assert table.outside == ("context-k20",)
    assert "state-space" not in analysis.tables, "none of its rows is in the profile"


def test_a_finding_and_a_gain_that_need_such_a_row_say_so(given: ReportInput) -> None:
    analysis = analyse(given)
    details = {one["id"]: one["detail"] for one in analysis.findings}
    assert details["2"] == "context-k20 is not in this profile"
    assert "not in this profile" not in details["4"], "spatial-masked is beside, and decides nothing"
    assert details["5"] == "ssm-blockwise and ssm-hybrid are not in this profile"
    assert "not in this profile" not in details["3"]
    assert analysis.gains["compress-weight"].reason == "context-k20 is not in this profile"


def test_a_table_of_a_row_that_is_nowhere_is_refused(given: ReportInput) -> None:
    with pytest.raises(ValueError, match=r"table 'families' names \['context-k20', 'ssm-blockwise', 'ssm-hybrid'\]"):
        analyse(dataclasses.replace(given, outside=()))


@pytest.mark.slow  # draws all figures
def test_the_page_shows_them_as_not_in_this_profile(given: ReportInput) -> None:
    text = page(given, analyse(given))
    plain = re.sub(r"</?a\b[^>]*>", "", text)  # without the links of the glossary
    assert plain.count(">not in this profile</td>") == sum(
        row in OUTSIDE for name in ("families", "spatial", "context") for row in TABLES[name]
    )
    assert "<h3>state-space</h3>\n<p>Not in this profile: ssm-hybrid, ssm-blockwise.</p>" in text
    assert "What is not in this profile" in text
    assert ">missing</td>" not in text
