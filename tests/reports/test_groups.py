"""Branches whose cases have groups: half-lives of known curves, falls of known size, and what a page shows of them."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.analysis import analyse
from reports.columns import columns
from reports.computed_json import computed_json
from reports.group_results import changes, half_lives
from reports.groups import by_group
from reports.input import ControlsCertificate, ReportInput, ResultLine, RowInfo
from reports.measured import measured
from reports.page.page import page
from reports.scoreboard import scoreboard
from reports.spec import BranchSpec, GroupChanges, GroupCurves, ReportSpec, ScorePart
from reports.statistics.half_life import half_life

GAPS = (0, 2, 4, 8, 16)
FLOOR = (10.0,) * 5
SCENES = 6


def life(*scores: float, floor: tuple[float, ...] = FLOOR) -> str:
    return half_life(GAPS, scores, floor).text


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ((20, 20, 20, 20, 20), "> 16"),
        ((20, 18, 16, 15, 15), "> 16"),  # one half exactly is not below it
        ((20, 14, 12, 11, 10), "< 2"),
        ((20, 20, 20, 20, 10), "11.4"),  # half way between log2(9) and log2(17)
        ((20, 20, 10, 10, 10), "2.9"),
        ((20, 16, 14, 20, 20), "2.9"),  # the first crossing counts
    ],
)
def test_half_lives_of_known_curves(scores: tuple[float, ...], text: str) -> None:
    assert life(*scores) == text


def test_a_half_life_is_linear_in_the_logarithm() -> None:
    found = half_life(GAPS, (20.0, 20, 20, 20, 10), FLOOR)
    assert found.value == pytest.approx(math.sqrt(9 * 17) - 1)


def test_a_floor_that_falls_with_the_gap_is_taken_off_gap_by_gap() -> None:
    falling = (10.0, 9.0, 8.0, 7.0, 6.0)
    assert life(20, 19, 18, 17, 16, floor=falling) == "> 16"
    assert life(20, 19, 18, 17, 16) == "> 16"
    assert life(20, 19, 18, 14, 13) == life(20, 18, 16, 11, 9, floor=falling)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(1, 100), st.floats(-50, 50))
def test_scale_and_offset_of_a_score_do_not_matter(kept: list[float], scale: float, offset: float) -> None:
    kept = [round(share, 3) for share in kept]
    one = half_life(GAPS, [1.0, *kept], [0.0] * 5)
    other = half_life(GAPS, [offset + scale * share for share in (1.0, *kept)], [offset] * 5)
    if 0.5 not in kept:
        assert one.text == other.text


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ((10, 10, 10, 10, 10), "no better than the floor at 0"),
        ((9, 20, 20, 20, 20), "no better than the floor at 0"),
        ((20, None, 20, 20, 20), "no value at 2"),
        ((math.nan, 20, 20, 20, 20), "no value at 0"),
    ],
)
def test_no_half_life_has_its_reason(scores: tuple[float | None, ...], reason: str) -> None:
    found = half_life(GAPS, scores, FLOOR)
    assert (found.value, found.text, found.reason) == (None, "", reason)


@pytest.mark.parametrize("gaps", [(0,), (2, 4), (0, 4, 2), (0, 0)])
def test_gaps_that_do_not_rise_from_0_are_refused(gaps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="gaps that rise from 0"):
        half_life(gaps, [1.0] * len(gaps), [0.0] * len(gaps))


CURVES = GroupCurves(
    title="How long",
    branch="wait",
    metrics=((ScorePart(metric="fine", stand_in="score"), "fine, points"), (ScorePart(metric="other"), "other")),
    axis="hours",
    floor="nothing",
)
FALLS = GroupChanges(
    title="What breaks",
    branch="broken",
    metrics=((ScorePart(metric="score"), "score"),),
    baseline="none",
    groups=(("bent", "bent"), ("torn", "torn")),
)
SPEC = ReportSpec(
    branches=(
        BranchSpec(name="plain", score=(ScorePart(metric="score"),)),
        BranchSpec(name="wait", score=(ScorePart(metric="score"),), group=r"@after(\d+)", ranked=False),
        BranchSpec(name="broken", score=(ScorePart(metric="score"),), group=r"@([a-z]+)", ranked=False),
    ),
    metrics={"score": "Score"},
    group_curves=(CURVES,),
    group_changes=(FALLS,),
)
WAIT: Mapping[str, tuple[float, ...]] = {
    "nothing": (10.0, 10.0, 10.0),
    "keeps": (20.0, 20.0, 20.0),
    "fades": (20.0, 18.0, 11.0),
    "weak": (10.8, 10.0, 10.0),
}
BROKEN = {"nothing": (0.0, 0.0), "keeps": (3.0, 5.0), "fades": (0.5, -1.0), "weak": (0.0, 0.0)}


def made() -> ReportInput:
    noise = np.random.Generator(np.random.Philox(key=3)).normal(size=(4, SCENES))
    lines = []
    for i, row in enumerate(WAIT):
        for scene in range(SCENES):
            own = float(noise[i, scene])
            found = {("plain", ""): 10.0 + own}
            found |= {("wait", f"@after{gap}"): v + own for gap, v in zip((0, 4, 16), WAIT[row], strict=True)}
            found |= {("broken", "@none"): 20.0 + own}
            for kind, fall in zip(("bent", "torn"), BROKEN[row], strict=True):
                found["broken", f"@{kind}"] = 20.0 + own - fall - (0.1 * own if fall else 0.0)
            lines += [
                ResultLine(
                    row=row,
                    seed=0,
                    axes="",
                    branch=branch,
                    case=f"pool/scene-{scene}/0{end}",
                    metric="score",
                    unit="points",
                    better="high",
                    value=value,
                )
                for (branch, end), value in found.items()
            ]
    return ReportInput(
        study="toy",
        profile="small",
        seeds=(0,),
        rows=[RowInfo(name=name, family="f", alias_of=None) for name in WAIT],
        values=lines,
        missing=[],
        sections={},
        spec=SPEC,
        git="",
        tables={},
        costs=[],
        strips=[],
        curves=[],
        controls=ControlsCertificate(fingerprint="0" * 64, deviations=[], verdicts=[]),
    )


def test_a_metric_is_one_for_each_group_over_the_same_scenes() -> None:
    values = columns(made().values)
    found = by_group(values, SPEC.branches)
    lines = [found.line(i) for i in range(len(found))]
    assert {line.metric for line in lines if line.branch == "wait"} == {"score@0", "score@4", "score@16"}
    assert {line.case for line in lines} == {f"pool/scene-{scene}/0" for scene in range(SCENES)}
    assert by_group(values, [replace(branch, group="") for branch in SPEC.branches]) is values


def test_half_lives_of_rows_that_are_measurably_above_the_floor() -> None:
    found = half_lives(measured(made(), [""]), CURVES, "score")
    assert {row: one.text or one.reason for row, one in found.items()} == {
        "nothing": "is the floor",
        "keeps": "> 16",
        "fades": "7.3",
        "weak": "not significantly better than the floor at 0",
    }
    nowhere = half_lives(measured(made(), [""]), replace(CURVES, floor="gone"), "score")
    assert nowhere["keeps"].reason == "no row gone to measure from"


def test_falls_are_paired_over_scenes() -> None:
    found = {(one.row, one.group): one for one in changes(measured(made(), [""]), FALLS, "score")}
    assert found["keeps", "torn"].fall == pytest.approx(5.0, abs=0.2)
    low, high = found["keeps", "bent"].low, found["keeps", "bent"].high
    assert low is not None and high is not None and 2.5 < low < 3.0 < high < 3.5  # noise of a scene is in both
    assert (found["nothing", "bent"].fall, found["nothing", "bent"].low) == (0.0, 0.0)


def test_unranked_branches_have_no_column_unless_they_are_all_that_was_asked_for() -> None:
    whole = made()
    assert [column.branch for column in scoreboard(whole).columns] == ["plain"]
    asked = replace(
        whole,
        values=[line for line in whole.values if line.branch == "wait"],
        spec=replace(SPEC, branches=SPEC.branches[1:2]),
    )
    board = scoreboard(asked)
    assert [(column.branch, column.metric, column.name) for column in board.columns] == [
        ("wait", f"score@{gap}", f"Score@{gap}") for gap in (0, 4, 16)
    ]
    assert board.scores["keeps", "wait/score@16"].mean == pytest.approx(20.0, abs=1.5)


def test_the_page_and_report_json_show_them() -> None:
    whole = made()
    analysis = analyse(whole)
    html = page(whole, analysis)
    assert "How long" in html and "What breaks: score" in html and "7.3" in html
    assert "@after" not in html and "Every metric of wait" in html
    numbers = computed_json(analysis)
    assert numbers["half_lives"]["wait/score"]["fades"]["text"] == "7.3"
    assert {one["group"] for one in numbers["falls"]} == {"bent", "torn"}
    without = replace(whole, values=[line for line in whole.values if line.branch == "plain"])
    assert {"half_lives", "falls"}.isdisjoint(computed_json(analyse(without)))
    assert "How long" not in page(without, analyse(without))
