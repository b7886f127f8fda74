"""The answer on the first screen: it says what the statistics carry, and no more."""

import re
from dataclasses import replace

import pytest
from made_input import made_input, without_figures
from small_report import FLOOR, small_study

from reports.analysis import analyse
from reports.answer import answer
from reports.computed_json import computed_json
from reports.input import ControlsCertificate, Missing, ReportInput
from reports.page.page import page
from reports.page.tables import every_metric, printed
from reports.page.tiles import tiles
from reports.ranking import ranking
from reports.spec import BranchSpec, ReferenceSpec, ReportSpec, ScorePart


def said(given: ReportInput) -> list[str]:
    analysis = analyse(given)
    return answer(given, analysis, ranking(analysis)).sentences


NEAR = {"plain": 30.0, "a": 40.0, "b": 50.0, **FLOOR}
FAR = {"plain": 20.0, "a": 45.0, "b": 60.0, **FLOOR}


def test_one_row_is_best_with_its_interval_its_lead_and_the_ends_of_the_scale() -> None:
    claim, order, surety, limits = said(small_study(NEAR, FAR))
    assert re.fullmatch(
        r"On far, b does best: (59|60)\.\d points, on a scale from 0\.0 \(floor: does nothing\) to 100\.0 "
        r"\(ceiling: all\)\.",
        claim,
    )
    assert order == "Near and far order all 3 pairs of methods alike."
    assert re.fullmatch(
        r"The 95 % interval of b is \d\d\.\d to 6\d\.\d, over 8 cases and 3 seeds; it is \d\d\.\d points better than "
        r"plain \(\d\d\.\d to \d\d\.\d\)\.",
        surety,
    )
    assert limits == "Made of numbers."


def test_one_seed_gives_effects_over_cases_and_no_verdict() -> None:
    claim, _, surety, _ = said(small_study(NEAR, FAR, seeds=(0,)))
    assert claim.startswith("On far, of the networks trained here, b does best: ")
    assert ", over 8 cases, one seed;" in surety
    assert surety.endswith(
        "One seed gives no verdict: another training may order the methods differently, and an interval over "
        "cases says nothing of it."
    )


def test_a_reference_line_above_the_best_row_is_said() -> None:
    lines = ReferenceSpec(
        ceiling="all", floor="idle", baseline="plain", lines={"copy": "one case, copied", "low": "nothing much"}
    )
    made = small_study({**NEAR, "copy": 80.0, "low": 30.0}, {**FAR, "copy": 80.0, "low": 30.0}, noise=0.0)
    rows = [replace(row, reference=row.reference or row.name in lines.lines) for row in made.rows]
    given = replace(made, rows=rows, spec=replace(made.spec, references=lines))
    claim, _, surety, _ = said(given)
    assert claim.startswith("On far, b does best: 60.0 points")
    assert surety.endswith(". No method is above the line copy, 80.0 points (one case, copied).")
    assert "low" not in surety


def test_branches_that_surely_disagree_are_said_first_with_the_clearest_pair() -> None:
    first, claim, *_ = said(small_study({**NEAR, "a": 50.0, "b": 40.0}, FAR))
    assert first == (
        "The branches disagree: 1 of 3 pairs of methods changes order between near and far, surely, clearest a "
        "(better on near) and b (better on far); the best mean on near is that of a."
    )
    assert claim.startswith("On far, b does best: ")


def test_pairs_that_change_order_by_chance_show_no_disagreement() -> None:
    claim, order, *_ = said(small_study({**NEAR, "a": 50.5, "b": 50.0}, FAR, noise=6.0))
    assert claim.startswith("On far, b ")
    assert order.startswith(
        "1 of 3 pairs of methods changes order between near and far, not surely: that the branches "
    )


def test_where_no_difference_is_significant_no_row_is_called_better() -> None:
    level = dict.fromkeys(("plain", "a", "b"), 50.0)
    claim, *_ = said(small_study({**level, **FLOOR}, {**level, **FLOOR}, noise=5.0))
    assert re.match(
        r"On far, no method can be called better than another: \w+ has the best mean, \d\d\.\d points, ", claim
    )
    assert claim.endswith("and none of the others is significantly worse.")


def test_rows_that_are_not_significantly_worse_are_named_with_the_best() -> None:
    claim, *_ = said(small_study({**NEAR, "c": 49.0}, {**FAR, "c": 59.9}, noise=4.0))
    assert re.search(
        r"; [bc] is not significantly worse, so that none of these 2 can be called better than another\.$", claim
    )


def test_a_floor_that_beats_the_best_row_is_no_proof_of_anything() -> None:
    claim, *_ = said(small_study({**NEAR, "idle": 0.0}, {**FAR, "idle": 80.0}))
    assert re.fullmatch(
        r"On far, no method is shown to do a thing: the floor \(does nothing\) scores 80\.0 points, and the best "
        r"mean, of b, is \d\d\.\d points; this score rewards something else\.",
        claim,
    )


def test_a_best_row_that_may_be_at_the_floor_by_chance_is_not_said_to_be_above_it() -> None:
    claim, *_ = said(small_study(NEAR, {"plain": 0.1, "a": 0.2, "b": 0.3, **FLOOR}, noise=8.0))
    assert claim.startswith("On far, no method is shown to do a thing: the best mean, of ")
    assert "and its difference from the floor (does nothing: 0.0 points) may be chance (" in claim


def test_a_branch_without_values_has_no_answer() -> None:
    gone = Missing(row="a", seed=0, axes="", branch="far", state="failed", reason="it broke")
    given = replace(small_study(NEAR, {}), missing=[gone])
    assert said(given) == [
        "No method has a score on far yet, so there is no answer.",
        "Missing: one result. The answer may change with them.",
        "Made of numbers.",
    ]
    assert said(replace(small_study(NEAR, {}), spec=ReportSpec(), values=[]))[0].startswith("No row has a score")


def test_a_row_without_a_score_is_named() -> None:
    far = {row: mean for row, mean in FAR.items() if row != "a"}
    sentences = said(small_study(NEAR, far))
    assert sentences[0].startswith("On far, of the 2 methods with a score, b does best: ")
    assert "Without a score on far: a. The answer may change with them." in sentences


def test_rows_of_violated_controls_are_left_out_and_named() -> None:
    certificate = ControlsCertificate(
        verdicts=[{"check": "steps", "verdict": "violated", "detail": "fewer", "cells": ["b/s0"]}]
    )
    sentences = said(replace(small_study(NEAR, FAR), controls=certificate))
    assert sentences[0].startswith("On far, of the 2 methods with a score, a does best: ")
    assert "Left out, as a control is violated: b. The answer may change with them." in sentences


def test_a_study_of_one_branch_has_an_answer_without_disagreement() -> None:
    given = small_study({}, FAR, spec=ReportSpec(decimals={"points": 1}))
    claim, surety, _ = said(given)
    assert re.fullmatch(r"On far, b is best: \d\d\.\d points\.", claim)
    assert surety.startswith("The 95 % interval of b is ")


def test_without_values_of_cases_no_row_is_called_best() -> None:
    given = small_study(NEAR, FAR)
    claim = said(replace(given, values=[v for v in given.values if v.case == "case-0"]))[0]
    assert claim.startswith("On far, no method can be called better than another: b has the best mean, ")


def test_rows_that_share_no_seed_are_not_called_better_or_worse() -> None:
    given = small_study({"a": 40.0, "b": 50.0, **FLOOR}, {"a": 45.0, "b": 60.0, **FLOOR}, seeds=(0, 1))
    apart = [v for v in given.values if v.seed == {"a": 0, "b": 1}.get(v.row, v.seed)]
    claim, *_, surety, _ = said(replace(given, values=apart))
    assert claim.startswith("On far, no method can be called better than another: b has the best mean, ")
    assert surety.startswith("The 95 % interval of b is ") and ", over 8 cases, one seed" in surety


def test_a_row_with_fewer_seeds_takes_part_in_what_may_be_called_best() -> None:
    given = small_study({**NEAR, "c": 49.9}, {**FAR, "c": 60.5}, noise=4.0)
    claim = said(replace(given, values=[v for v in given.values if (v.row, v.seed) != ("c", 2)]))[0]
    assert re.search(r"c has the best mean, .*; b is not significantly worse", claim) and "does best" not in claim


def test_equal_rows_are_tied_and_not_ordered_alike() -> None:
    level = {"plain": 50.0, "a": 50.0, "b": 60.0, **FLOOR}
    assert said(small_study(level, level, noise=0.0))[1] == (
        "None of 3 pairs of methods changes order between near and far; 1 is tied on one of them or both."
    )


def test_where_no_difference_can_be_shown_the_answer_says_why() -> None:
    made = small_study(NEAR, FAR)
    given = replace(made, values=[v for v in made.values if v.case in {f"case-{scene}" for scene in range(5)}])
    assert said(given)[0].endswith(
        "none of the others is significantly worse; too few cases to show that a row is worse: 5 of far (6 are needed)."
    )


def test_of_equal_rows_none_is_best_because_it_leads_in_every_part_of_a_bundle() -> None:
    """The bundle of the best and the worst row is 1 and 0, whatever the noise: it says nothing of a difference."""
    level = {"plain": 50.0, "a": 50.0, "b": 50.0, **FLOOR}
    made = small_study(level, level, seeds=(0,))
    bundle = BranchSpec(name="far", score=(ScorePart(metric="points"), ScorePart(metric="more")))
    spec = replace(made.spec, branches=(made.spec.branches[0], bundle))
    given = replace(made, spec=spec, values=[*made.values, *(replace(v, metric="more") for v in made.values)])
    found = ranking(analyse(given))
    assert found is not None and not found.best.is_shown and found.last.metric == ""


def test_a_metric_of_reference_rows_alone_is_not_absent_from_the_others() -> None:
    made = small_study(NEAR, FAR)
    alone = [replace(value, metric="blank") for value in made.values if value.row == "idle"]
    given = replace(made, values=[*made.values, *alone])
    assert [(tile.value, tile.detail) for tile in tiles(given, analyse(given))] == [("100 %", "every cell is complete")]


@pytest.fixture(scope="module")
def text() -> str:
    given = without_figures(made_input(seeds=(0, 1), cases=4))
    return page(given, analyse(given))


def test_disagreement_is_before_everything_else_and_in_no_closed_part(text: str) -> None:
    places = [text.index(f'id="{name}"') for name in ("answer", "disagree", "findings", "tables")]
    assert places == sorted(places)
    part = text[text.index('id="disagree"') : text.index('id="findings"')]
    assert "<details" not in part
    for table in ("families", "compression"):
        assert re.search(rf"{table}: \d+ of \d+ pairs ordered differently by replay and return", part)


def test_no_two_columns_of_a_table_are_the_same_and_the_files_have_both() -> None:
    given = made_input()
    same = [replace(v, metric="psnr_first") for v in given.values if v.metric == "psnr_truth_last"]
    given = replace(given, values=[*(v for v in given.values if v.metric != "psnr_first"), *same])
    analysis = analyse(given)
    assert "return/psnr_first" in analysis.means
    assert computed_json(analysis)["rows"]["context-k5"].keys() >= {"return/psnr_first", "return/psnr_truth_last"}
    for table in (*(printed(analysis, name) for name in analysis.tables), every_metric(analysis, "return")):
        columns = [column.metric for column in table.columns]
        assert "return/psnr_truth_last" in columns and "return/psnr_first" not in columns
        cells = {i: tuple(line.cells[i].text for line in table.lines) for i, _ in enumerate(columns)}
        assert len(table.lines) < 3 or len(set(cells.values())) == len(columns), columns


def test_a_metric_is_shown_where_the_one_instead_was_not_measured() -> None:
    given = made_input()
    alone = [v for v in given.values if v.metric != "psnr_truth_last"]
    assert "psnr_first" in analyse(replace(given, values=alone)).main_metrics("return")


def test_a_unit_is_shown_without_its_instrument(text: str) -> None:
    assert "points:mask" not in text, "the files keep it"
    assert "<small>points</small>" in text
