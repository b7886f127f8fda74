"""What rows are made of, in report and page: sizes with their frontier, and effects of the factors."""

import re
from dataclasses import replace

import pytest
from made_input import made_input, without_figures

from reports.analysis import analyse
from reports.input import ReportInput
from reports.page.page import page
from reports.report_json import report_json
from workloads.study.report import REPORT

UNGATED = "return/judge"
"""What stands for return where no camera was measured, as in these values."""
SIZES = {
    "context-k1": (1.0, 1.0),
    "context-k20": (90.0, 20.0),
    "compress-length-r8": (90.0, 4.0),
    "spatial": (5.0, 8.0),
}
MADE_OF = {
    "context-k20": {"write": "latents", "read": "tokens"},
    "compress-length-r8": {"write": "pooled", "read": "tokens"},
    "spatial": {"write": "latents", "read": "text"},
    "compress-weight": {"write": "pooled", "read": "text"},
    "ssm-hybrid": {"write": "convolution", "read": "residual"},
}


def made_of(given: ReportInput) -> ReportInput:
    """The input, with sizes of some rows and factors of some."""
    names = {*SIZES, *MADE_OF}
    rows = [
        replace(
            info,
            factors=MADE_OF.get(info.name, {}),
            sizes={"": dict(zip(("floats_kept", "floats_read"), SIZES[info.name], strict=True))}
            if info.name in SIZES
            else {},
        )
        for info in given.rows
        if info.name in names
    ]
    values = [value for value in given.values if value.row in names]
    return replace(given, rows=rows, values=values, tables={"families": [info.name for info in rows]})


@pytest.fixture(scope="module")
def given() -> ReportInput:
    whole = without_figures(made_input(seeds=(0, 1, 2), cases=8))
    return made_of(replace(whole, spec=replace(whole.spec, frontier=REPORT.frontier)))


def test_the_report_orders_rows_by_size_and_marks_the_frontier(given: ReportInput) -> None:
    found = report_json(given, analyse(given))["frontier"]
    assert found["metric"] == UNGATED
    rows = {one["row"]: one for one in found["rows"]}
    # spatial is smaller than the other two, and better than context-k1, the smallest.
    assert list(rows) == ["context-k1", "spatial", "compress-length-r8", "context-k20"]
    on = {row: (one["on"]["floats_kept"], one["on"]["floats_read"]) for row, one in rows.items()}
    assert on == {
        "context-k1": (True, True),
        "spatial": (True, False),  # compress-length-r8 reads half and scores more
        "compress-length-r8": (False, True),
        "context-k20": (True, True),
    }
    assert {one["sure"]["floats_kept"] for one in rows.values()} <= {True, False, None}
    assert rows["spatial"]["low"] < rows["spatial"]["mean"] < rows["spatial"]["high"]


def test_the_report_has_effects_of_the_factors_and_what_has_none(given: ReportInput) -> None:
    [judged, truth] = report_json(given, analyse(given))["factor_effects"]
    assert (judged["metric"], truth["unit"]) == (UNGATED, "dB") and judged["intervals"] == "scenes and seeds"
    [group] = judged["groups"]
    effects = {(c["a"], c["b"]): c["effect"] for c in group["contrasts"]}
    # Judged 64, 41, 27, 49 for latents and pooled with tokens, then with text.
    assert effects["pooled", "latents"] == pytest.approx((41 + 49 - 64 - 27) / 2, abs=4)
    assert judged["interactions"][0]["effect"] == pytest.approx(64 - 41 - 27 + 49, abs=8)
    assert {one["factor"] for one in judged["inseparable"]} == {"write", "read"}
    assert judged["left_out"]["context-k1"] == "says nothing of what it is made of"


@pytest.mark.slow  # figures
def test_the_page_shows_both(given: ReportInput) -> None:
    text = re.sub(r"<[^>]*>", " ", page(given, analyse(given)))
    for said in (
        "Quality against what is kept and read",
        "no other row is as good with less",
        "Factor effects",
        "The one interaction of two factors that can be estimated, write and read",
        "write: latents, pooled / convolution are not told apart: convolution only with read residual",
    ):
        assert said in re.sub(r"\s+", " ", text), said


def test_a_study_without_sizes_and_factors_has_neither() -> None:
    plain = without_figures(made_input(cases=2))
    found = report_json(plain, analyse(plain))
    assert found["frontier"] is None and found["factor_effects"] == found["made_of"] == []
