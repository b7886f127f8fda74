"""A row that is another row again: its difference is noise, and it takes part in nothing else."""

import re
from dataclasses import replace

import pytest
from made_input import made_input, without_figures

from reports.analysis import analyse
from reports.input import ReportInput, RowInfo
from reports.noise import noise
from reports.page.page import page
from reports.report_json import report_json
from reports.scoreboard import scoreboard

AGAIN = "context-k5-aa"
DB = 0.25
"""How much better the row again is on every PSNR."""


def again(given: ReportInput, tables: dict[str, list[str]] | None = None) -> ReportInput:
    """The input with `context-k5` again, a quarter of a decibel better."""
    values = [
        replace(line, row=AGAIN, value=line.value + (DB if line.metric.startswith("psnr") else 0.0))
        for line in given.values
        if line.row == "context-k5"
    ]
    costs, curves, strips = (
        [*of_rows, *(replace(one, row=AGAIN) for one in of_rows if one.row == "context-k5")]
        for of_rows in (given.costs, given.curves, given.strips)
    )
    return replace(
        given,
        rows=[*given.rows, RowInfo(name=AGAIN, family="context", alias_of=None)],
        values=[*given.values, *values],
        costs=costs,
        curves=curves,
        strips=strips,
        tables=given.tables if tables is None else tables,
    )


PLAIN = without_figures(made_input(cases=8))


def test_the_difference_of_the_pair_is_told_with_its_interval_for_each_metric_of_the_tables() -> None:
    found = {line.metric: line for line in noise(again(PLAIN))}
    assert {"replay/psnr", "loop/psnr", "return/judge", "return/psnr_truth_last"} <= set(found)
    assert "replay/psnr@chunk0" not in found
    line = found["replay/psnr"]
    assert (line.again, line.row, line.unit, line.seeds, line.scenes) == (AGAIN, "context-k5", "dB", 1, 8)
    assert (line.effect, line.low, line.high) == pytest.approx((DB, DB, DB))
    assert found["return/judge"].effect == 0


def test_the_row_again_takes_part_in_nothing_else() -> None:
    """Every number of the report is the one of a study without it, and so is every marked best row."""
    with_costs = replace(made_input(cases=8), curves=[], spec=PLAIN.spec)
    plain, given = (analyse(one) for one in (with_costs, again(with_costs)))
    assert [row.label for row in given.rows] == [row.label for row in plain.rows]
    assert (given.findings, given.costs, given.price) == (plain.findings, plain.costs, plain.price)
    assert scoreboard(again(PLAIN)) == scoreboard(PLAIN)
    both = [report_json(one, analyse(one)) for one in (PLAIN, again(PLAIN))]
    assert {key for key in both[1] if both[1][key] != both[0].get(key)} == {"noise", "power"}, (
        "power knows the noise from the pair"
    )
    assert both[1]["noise"][0]["again"] == AGAIN


def test_the_page_has_the_table_beside_the_findings_and_is_otherwise_the_same() -> None:
    given = made_input(cases=8)
    curves = [curve for curve in given.curves if curve.row == "context-k5"]
    given = replace(given, curves=curves, costs=[], spec=PLAIN.spec, tables={"context": ["context-k1"]})
    made = page(again(given), analyse(again(given)))
    assert made.index('id="findings"') < made.index('id="noise"') < made.index('id="tables"')
    start = made.index('<h3 id="noise"')
    end = start + 1 + re.search(r"<h[23]", made[start + 1 :]).start()
    assert "context-k5-aa − context-k5" in made[start:end]
    assert AGAIN not in made[:start] + made[end:]


def test_a_branch_of_groups_has_no_noise_over_all_of_them() -> None:
    given = again(PLAIN)
    ends = ("@gap0", "@gap4")
    grouped = [
        replace(line, branch="absence", case=f"{line.case}{end}")
        for line in given.values
        if line.branch == "return"
        for end in ends
    ]
    found = noise(replace(given, values=[*given.values, *grouped]))
    assert found == noise(given)


def test_alone_it_is_a_row_like_any_other() -> None:
    rows = [RowInfo(name=AGAIN, family="context", alias_of=None)]
    given = again(PLAIN)
    alone = replace(given, rows=rows, values=[line for line in given.values if line.row == AGAIN], tables={})
    assert scoreboard(alone).rows == (AGAIN,)
    assert noise(alone) == []


def test_a_table_that_ranks_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"table 'families' names context-k5-aa, which is another row again"):
        analyse(again(PLAIN, {"families": ["context-k5", AGAIN]}))
