"""Ceiling and floor stand beside the rows and count nowhere."""

import dataclasses
import json
import re

import pytest
from made_input import TABLES, made_input, without_figures

from reports.analysis import analyse
from reports.build import build
from reports.input import Cost, RowInfo, Strip
from reports.page.tables import every_metric, printed
from reports.references import levels, measures
from reports.report_json import report_json

BOUNDS = ("bound-truth", "bound-anchor")
SHOWN = {  # (truth, anchor); a camera that stands still is at the right place at the end of a return
    ("replay", "psnr"): (100.0, 9.0),
    ("replay", "ssim"): (1.0, 0.1),
    ("replay", "rf_distance"): (0.0, 1.9),
    ("loop", "psnr_truth"): (100.0, 8.0),
    ("return", "judge"): (97.0, 12.0),
    ("return", "psnr_truth_last"): (100.0, 100.0),
}


def with_bounds(given, folder=None):
    """The input with both bounds, scored on the cases of every row, and a cost that must not count."""
    own = [v for v in given.values if v.row == "context-k1" and (v.branch, v.metric) in SHOWN]
    values = [
        dataclasses.replace(v, row=row, value=SHOWN[v.branch, v.metric][i]) for i, row in enumerate(BOUNDS) for v in own
    ]
    costs = [
        Cost(row=row, seed=s, axes="", stage="evaluate", branch="replay", values={"device_s": 1e9})
        for row in BOUNDS
        for s in given.seeds
    ]
    strips = []
    for row in BOUNDS if folder else ():
        source = next(s for s in given.strips if s.branch == "return")
        strips.append(Strip(row=row, seed=0, axes="", branch="return", case=source.case, path=source.path))
    return dataclasses.replace(
        given,
        rows=[*given.rows, *(RowInfo(name=row, family="bound", alias_of=None, reference=True) for row in BOUNDS)],
        values=[*given.values, *values],
        costs=[*given.costs, *costs],
        strips=[*given.strips, *strips],
    )


def close(a, b):
    """Equal but for the last digits: sums over rows run in blocks."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == (pytest.approx(b, rel=1e-9, abs=1e-12) if isinstance(b, float) else b)


@pytest.fixture(scope="module")
def both():
    plain = made_input(seeds=(0, 1), cases=8)
    given = with_bounds(plain)
    analysis = analyse(given)
    before = analyse(plain)
    return plain, before, report_json(plain, before), given, analysis, report_json(given, analysis)


def test_nothing_that_is_ranked_or_told_changes_with_them(both):
    _, before, without, _, analysis, told = both
    for key in ("tables", "retained_gain", "retained_gain_limits", "findings", "cost"):
        assert close(told[key], without[key]), key
    assert (analysis.price, analysis.price_name) == (before.price, before.price_name)
    assert {row: told["rows"][row] for row in without["rows"]}.keys() == without["rows"].keys()


def test_they_are_rows_of_report_json_and_are_named_as_bounds(both):
    told = both[5]
    assert told["bounds"] == list(BOUNDS)
    truth = told["rows"]["bound-truth"]["return/judge"]
    assert (truth["mean"], truth["n"], truth["missing"]) == (97.0, 16, 0)
    assert both[2]["bounds"] == []


def test_without_a_families_table_they_are_still_not_ranked(both):
    given = both[3]
    analysis = analyse(dataclasses.replace(given, tables={"context": TABLES["context"]}))
    assert analysis.main == ""
    assert "bound-truth" not in json.dumps(analysis.findings[0])
    assert not set(BOUNDS) & set(analysis.gains)


def test_they_close_every_table_and_are_never_best(both):
    analysis = both[4]
    for table in [*(printed(analysis, name) for name in TABLES), every_metric(analysis, "return")]:
        assert [line.row for line in table.references] == list(BOUNDS)
        assert not {line.row for line in table.lines} & set(BOUNDS)
        assert not any(cell.mark for line in table.references for cell in line.cells)
        for i, column in enumerate(table.columns):
            if column.metric == "bundle":
                assert [line.cells[i].text for line in table.references] == ["–", "–"]
            elif any(line.cells[i].text for line in table.lines):
                assert any(line.cells[i].mark for line in table.lines)


def test_the_floor_tells_which_measures_reward_standing_still(both):
    found = {(m.branch, m.name): m for m in measures(both[4])}
    assert found["return", "PSNR, truth last"].rewards_floor
    assert not found["return", "Judge"].rewards_floor
    assert not found["replay", "rf_distance"].rewards_floor  # lower is better
    assert found["return", "Judge"].ceiling == "97.0"
    assert found["return", "Judge"].row == "context-k20"
    assert measures(both[1]) == []


def test_lines_are_drawn_where_they_are_not_those_of_equal_frames(both):
    assert levels(both[4], "return/judge") == [("truth", 97.0), ("stands still", 12.0)]
    assert levels(both[4], "replay/psnr") == [("stands still", 9.0)]
    assert levels(both[4], "return/psnr_truth_last") == []


def test_the_page_shows_them_apart(tmp_path):
    (tmp_path / "strips").mkdir()
    given = with_bounds(made_input(tmp_path / "strips", cases=8), tmp_path)
    given = dataclasses.replace(given, curves=[], spec=without_figures(given).spec)
    build(tmp_path / "out", given)
    page = re.sub(r"</?a\b[^>]*>", "", (tmp_path / "out" / "index.html").read_text())  # without links to the glossary
    assert "Ceiling and floor" in page
    assert "<b>16</b> rows, <b>14</b> computations" in page
    cost = page[page.index('id="cost"') : page.index('id="missing"')]
    assert "bound-truth" not in cost
    assert len(re.findall(r'<div class="strip">.*?bound-', page, re.DOTALL)) >= 1


def test_a_table_that_would_rank_them_is_refused(both):
    given = dataclasses.replace(both[3], tables={"families": ["context-k1", "bound-truth"]})
    with pytest.raises(ValueError, match=r"'families' names \['bound-truth'\], which are ceiling and floor"):
        analyse(given)


def test_every_compact_memory_has_a_gain_or_a_reason_within_its_own_axes(both):
    given = both[3]
    shift = {"a": 0.0, "b": 20.0}
    twice = [
        dataclasses.replace(v, axes=f"site={site}", value=v.value + (shift[site] if v.metric == "judge" else 0))
        for site in "ab"
        for v in given.values
    ]
    gains = analyse(dataclasses.replace(given, values=twice, costs=[], missing=[])).gains
    compact = {row.name for row in given.rows if row.family not in ("context", "bound")} - {"spatial-withheld"}
    assert set(gains) == {f"{row}/site={site}" for row in compact for site in "ab"}
    for row in compact:
        one, other = gains[f"{row}/site=a"], gains[f"{row}/site=b"]
        assert one.value == pytest.approx(other.value)  # a shift of all rows of a site is no gain
    lost = dataclasses.replace(given, values=[v for v in given.values if (v.row, v.metric) != ("ssm-hybrid", "judge")])
    for row, gain in analyse(lost).gains.items():
        assert (gain.low is not None) or gain.reason, row
    assert "missing" in analyse(lost).gains["ssm-hybrid"].reason
