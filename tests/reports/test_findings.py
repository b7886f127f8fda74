"""Findings: what a verdict needs, and which values give which."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from made_input import made_input, without_figures

from reports.analysis import analyse
from reports.findings import Answer, Material, findings
from reports.input import ReportInput, ResultLine
from reports.page.page import page
from workloads.study.effects import MARGIN_DB

Change = Callable[[ResultLine], float]


READ = {("replay", "psnr"), ("replay", "ssim"), ("replay", "rf_distance"), ("return", "judge")}


@pytest.fixture(scope="module")
def three() -> ReportInput:
    given = made_input(seeds=(0, 1, 2), cases=24)  # 24 of return are of six scenes
    return dataclasses.replace(given, values=[v for v in given.values if (v.branch, v.metric) in READ])


def found(given: ReportInput) -> Mapping[str, Mapping[str, Any]]:
    return {one["id"]: one for one in analyse(given).findings}


def moved(given: ReportInput, change: Change) -> ReportInput:
    return dataclasses.replace(given, values=[dataclasses.replace(v, value=change(v)) for v in given.values])


def reading(given: ReportInput, raised_db: float) -> ReportInput:
    """`spatial` as `context-k1` is on replay, and so much higher, but for noise."""
    base = {(v.seed, v.case): v.value for v in given.values if (v.row, v.branch, v.metric) == K1}
    noise = np.random.Generator(np.random.Philox(key=1))

    def change(v: ResultLine) -> float:
        if v.row not in ("spatial", "spatial-text") or (v.branch, v.metric) != ("replay", "psnr"):
            return v.value
        return base[v.seed, v.case] + raised_db + 0.2 * float(noise.normal())

    return moved(given, change)


K1 = ("context-k1", "replay", "psnr")


def test_one_seed_has_effects_with_limits_and_no_verdict() -> None:
    given = made_input(cases=8)
    told = found(given)
    assert {one["verdict"] for one in told.values()} == {"one seed"}
    assert {one["p_adjusted"] for one in told.values()} == {None}
    wanting = "a verdict needs at least two seeds: run with 'seeds=[0,1,2]'"
    assert told["3"]["detail"] == f"limits are over scenes only; {wanting}"
    assert told["3"]["low"] < told["3"]["effect"] < told["3"]["high"]
    assert told["6"]["detail"].endswith(f"; {wanting}") and "limits are" not in told["6"]["detail"]
    words = without_figures(given)  # and without costs, so that efficiency has no value
    text = page(words, analyse(words))
    assert text.count('<span class="chip one-seed">one seed</span>') == 5
    assert "and allow no verdict" in text


def test_a_study_of_another_seed_is_told_which_to_add() -> None:
    assert found(made_input(seeds=(7,), cases=4))["5"]["detail"].endswith("run with 'seeds=[7,8,9]'")


def test_rows_that_share_one_seed_of_three_have_no_verdict_either(three: ReportInput) -> None:
    lone = [v for v in three.values if v.row not in ("ssm-blockwise",) or v.seed == 0]
    told = found(dataclasses.replace(three, values=lone))["5"]
    assert (told["verdict"], told["p_adjusted"], told["seeds"]) == ("one seed", None, 1)
    assert "its rows share one seed; a verdict needs their results for at least two" in told["detail"]


@pytest.mark.parametrize(
    ("raised_db", "verdict"), [(0.0, "supported"), (2.0, "contradicted"), (-2.0, "undecided"), (0.5, "undecided")]
)
def test_reading_that_changes_nothing_is_supported(three: ReportInput, raised_db: float, verdict: str) -> None:
    told = found(reading(three, raised_db))["4"]
    assert told["verdict"] == verdict
    assert ("it lowers replay by more than 0.5 dB" in told["detail"]) is (raised_db < -MARGIN_DB)
    assert f"within {MARGIN_DB} dB" in told["statement"]
    assert (told["verdict"] == "supported") is (-MARGIN_DB < told["low"] < told["high"] < MARGIN_DB)


def test_masked_tokens_are_beside_and_decide_nothing(three: ReportInput) -> None:
    given = reading(three, 0.0)
    wild = moved(given, lambda v: v.value + 30 * (v.row == "spatial-masked" and v.metric == "psnr"))
    before, after = found(given)["4"], found(wild)["4"]
    assert (before["verdict"], after["verdict"]) == ("supported", "supported")
    assert after["parts"][0]["name"].startswith("beside, decides nothing: spatial-masked − spatial")
    assert after["parts"][0]["effect"] - before["parts"][0]["effect"] == pytest.approx(30)


def test_opposite_orders_are_found_and_an_equal_order_contradicts_them(three: ReportInput) -> None:
    rows = ["context-k1", "context-k5", "context-k20", "spatial", "compress-weight", "ssm-hybrid", "ssm-blockwise"]

    def ranked(opposite: bool) -> Change:
        def change(v: ResultLine) -> float:
            place = rows.index(v.row) if v.row in rows else 0
            if v.branch == "return":
                place = -place if opposite else place
            sign = -1 if v.metric == "rf_distance" else 1
            return (v.value % 1) + 20 * sign * place

        return change

    same = found(dataclasses.replace(moved(three, ranked(False)), costs=[]))["1"]
    other = found(dataclasses.replace(moved(three, ranked(True)), costs=[]))["1"]
    assert (same["verdict"], same["effect"], same["low"], same["high"]) == ("contradicted", 1.0, 1.0, 1.0)
    assert (other["verdict"], other["effect"], other["low"], other["high"]) == ("supported", -1.0, -1.0, -1.0)
    assert other["detail"].startswith("clearest opposite pair: ")


def test_an_order_over_fewer_than_six_scenes_is_undecided_and_told() -> None:
    told = found(made_input(seeds=(0, 1, 2)))
    for one in (told["1"], told["6"]):
        assert one["verdict"] == "undecided"
        assert "too few scenes to show that a row is worse: 4 of return (6 are needed)" in one["detail"]
    assert (told["1"]["low"], told["1"]["high"]) == (-1.0, 1.0)


def test_a_share_that_is_one_by_its_definition_has_no_limits(three: ReportInput) -> None:
    told = found(three)["2"]
    assert (told["effect"], told["low"], told["high"]) == (0.0, None, None)
    assert "K=1 and K=20 are the ends of both ranges" in told["detail"]
    assert told["parts"][1]["unit"] == "points" and told["parts"][1]["low"] is not None


def test_a_range_that_may_be_none_gives_no_limits(three: ReportInput) -> None:
    noise = np.random.Generator(np.random.Philox(key=2))
    level = moved(three, lambda v: float(noise.normal()) if v.branch == "return" else v.value)
    told = found(level)
    assert "no limits: the range of return over the rows is not surely above 0" in told["2"]["detail"]
    assert {told[name]["verdict"] for name in "2356"} == {"undecided"}


def test_the_addressed_rows_are_asked_where_the_study_has_them(three: ReportInput) -> None:
    assert "5b" not in found(three)
    names = {"ssm-blockwise": "ssm-place", "ssm-hybrid": "ssm-hybrid-place"}
    more = [dataclasses.replace(v, row=names[v.row]) for v in three.values if v.row in names]
    rows = [dataclasses.replace(info, name=names[info.name]) for info in three.rows if info.name in names]
    both = found(dataclasses.replace(three, values=[*three.values, *more], rows=[*three.rows, *rows]))["5b"]
    assert (both["verdict"], both["unit"]) == ("supported", "points")
    one = dataclasses.replace(three, rows=[*three.rows, rows[1]], outside=("ssm-hybrid-place",), values=three.values)
    assert found(one)["5b"]["detail"] == "ssm-hybrid-place is not in this profile"


def test_holm_runs_over_the_findings_of_all_values_of_an_axis(three: ReportInput) -> None:
    twice = [dataclasses.replace(v, axes=f"site={site}") for site in "ab" for v in three.values]
    told = analyse(dataclasses.replace(three, values=twice, costs=[], missing=[], defaults={"site": "b"}))
    assert [one["axes"] for one in told.findings] == ["site=b"] * 6 + ["site=a"] * 6
    assert told.main == "families/site=b"
    alone = found(three)["3"]
    assert alone["verdict"] == "supported"
    assert {one["p_adjusted"] > alone["p_adjusted"] for one in told.findings if one["id"] == "3"} == {True}


def test_the_larger_claim_of_a_finding_is_its_verdict_and_nothing_is_asked_without_an_answer(
    three: ReportInput,
) -> None:
    asked_of: list[Material] = []

    def answering(answer: Answer | None) -> Callable[[Material], Answer | None]:
        def ask(material: Material) -> Answer | None:
            asked_of.append(material)
            return answer

        return ask

    asked = [
        ("a", "A", answering(Answer(effect=1.0, p_supported=0.001, p_contradicted=0.9, seeds=3))),
        ("b", "B", answering(Answer(effect=1.0, p_supported=0.9, p_contradicted=0.001, seeds=3))),
        ("c", "C", answering(Answer(effect=1.0, p_supported=0.04, seeds=3))),
        ("d", "D", answering(None)),
    ]
    given = dataclasses.replace(three, spec=dataclasses.replace(three.spec, questions=lambda: asked))
    assert [(one["id"], one["verdict"]) for one in analyse(given).findings] == [
        ("a", "supported"), ("b", "contradicted"), ("c", "supported"),
    ]  # fmt: skip
    four = [*asked, ("e", "E", answering(Answer(effect=1.0, p_supported=0.03, seeds=3)))]
    assert [one["verdict"] for one in findings(four, asked_of[:1])] == [
        "supported", "contradicted", "undecided", "undecided",
    ]  # fmt: skip
