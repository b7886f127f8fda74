"""Derived metrics: computed from the values of jobs whenever results are read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from workloads.contract.derived import DerivedMetric, derived_lines
from workloads.contract.loading import table_problems
from workloads.study.gate import AT_MOST, DERIVED, GATED, at_most, gated
from workloads.study.workload import WORKLOAD


def line(case: str, metric: str, value: float, unit: str = "1") -> dict[str, Any]:
    return {"case": case, "metric": metric, "unit": unit, "better": "high", "value": value}


RATIO = DerivedMetric(name="ratio", of=("a", "b"), unit="1", better="low", value=lambda a, b: a / b if b else None)


def values(lines: list[dict[str, Any]]) -> dict[tuple[str, str, str], float]:
    return {(one["case"], one["metric"], one["unit"]): one["value"] for one in lines}


def test_a_value_is_computed_for_each_case_that_has_all_it_needs() -> None:
    lines = [line("x", "a", 6.0, "s"), line("x", "b", 2.0), line("y", "a", 1.0, "s"), line("z", "a", 1.0, "s")]
    found = derived_lines([RATIO], "far", [*lines, line("z", "b", 0.0), line("x", "c", 9.0)])
    assert found == [{"case": "x", "metric": "ratio", "unit": "1", "better": "low", "value": 3.0}]


def test_each_unit_of_the_first_has_a_value_in_that_unit() -> None:
    double = DerivedMetric(name="double", of=("a", "b"), value=lambda a, b: a * b)
    lines = [line("x", "a", 1.0, "points:p"), line("x", "a", 5.0, "points:q"), line("x", "b", 2.0)]
    assert values(derived_lines([double], "far", lines)) == {
        ("x", "double", "points:p"): 2.0,
        ("x", "double", "points:q"): 10.0,
    }
    of_two = [*lines[:2], line("x", "b", 2.0, "points:p"), line("x", "b", 3.0, "points:r")]
    assert values(derived_lines([double], "far", of_two)) == {("x", "double", "points:p"): 2.0}


def test_a_later_metric_may_be_computed_from_an_earlier_one() -> None:
    more = DerivedMetric(name="more", of=("ratio",), value=lambda ratio: ratio + 1)
    lines = [line("x", "a", 6.0), line("x", "b", 2.0)]
    assert [one["value"] for one in derived_lines([RATIO, more], "far", lines)] == [3.0, 4.0]


def test_only_the_branches_that_it_names_have_it() -> None:
    lines = [line("x", "a", 6.0), line("x", "b", 2.0)]
    assert derived_lines([replace(RATIO, branches=("near",))], "far", lines) == []
    assert len(derived_lines([replace(RATIO, branches=("near",))], "near", lines)) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"of": ()}, "derived metric 'ratio' has an empty `of`"),
        ({"of": ("ratio",)}, "derived metric 'ratio' is computed from itself"),
        ({"name": "a\nb"}, "is not a valid name"),
        ({"branches": ("far",)}, "has branch 'far', which is not in `branches`; allowed: replay, loop, return"),
    ],
)
def test_a_derived_metric_that_cannot_be_is_refused(changed: Mapping[str, Any], said: str) -> None:
    with_it = replace(WORKLOAD, derived=(replace(RATIO, **changed),))
    assert said in next(table_problems(with_it), "no problem")
    twice = replace(WORKLOAD, derived=(RATIO, RATIO))
    assert next(table_problems(twice)) == "derived metric 'ratio' appears twice in `derived`"


def test_what_a_function_cannot_compute_has_no_value_or_names_the_metric() -> None:
    lines = [line("x", "a", 6.0), line("x", "b", 0.0)]
    endless = replace(RATIO, value=lambda a, b: float("inf"))
    assert derived_lines([endless], "far", lines) == []
    with pytest.raises(
        ValueError, match=r"'ratio' of a 6\.0, b 0\.0: its function raises ZeroDivisionError: .* return N"
    ):
        derived_lines([replace(RATIO, value=lambda a, b: a / b)], "far", lines)


def test_a_metric_that_is_computed_from_a_later_one_is_refused() -> None:
    more = DerivedMetric(name="more", of=("ratio",), value=lambda ratio: ratio + 1)
    assert list(table_problems(replace(WORKLOAD, derived=(RATIO, more)))) == []
    assert list(table_problems(replace(WORKLOAD, derived=(more, RATIO)))) == [
        "derived metric 'more' is computed from 'ratio', which comes after it in `derived`; put 'ratio' first"
    ]


def test_a_gated_total_is_the_total_of_what_left_and_zero_otherwise() -> None:
    assert (gated(40.0, 1.0), gated(40.0, 0.0)) == (40.0, 0.0)


@pytest.mark.parametrize(
    ("left", "measurable", "refused", "most"),
    [(1, 1, 0, 40.0), (0, 1, 0, 0.0), (0, 0, 0, 40.0), (0, 0, 1, 0.0), (0, 1, 1, 0.0)],
)
def test_what_cannot_be_measured_counts_in_the_bound_unless_it_is_refused(
    left: float, measurable: float, refused: float, most: float
) -> None:
    assert at_most(40.0, left, measurable, refused) == most


def camera(case: str, left: float, measurable: float = 1.0) -> list[dict[str, Any]]:
    return [
        line(case, "camera_left", left),
        line(case, "camera_measurable", measurable),
        line(case, "camera_refused", 0.0),
    ]


def test_every_judge_has_gated_scores_and_a_missing_score_stays_missing() -> None:
    lines = [line("x", "judge", 60.0, "points:vlm:a"), line("x", "judge", 20.0, "points:vlm:b"), *camera("x", 1.0)]
    lines += [line("y", "judge", 60.0, "points:vlm:a"), *camera("y", 0.0), *camera("z", 1.0)]
    lines += [line("u", "judge", 30.0, "points:vlm:a"), *camera("u", 0.0, measurable=0.0)]
    found = values(derived_lines(DERIVED, "return", lines))
    assert found == {
        ("x", GATED, "points:vlm:a"): 60.0,
        ("x", GATED, "points:vlm:b"): 20.0,
        ("y", GATED, "points:vlm:a"): 0.0,
        ("u", GATED, "points:vlm:a"): 0.0,
        ("x", AT_MOST, "points:vlm:a"): 60.0,
        ("x", AT_MOST, "points:vlm:b"): 20.0,
        ("y", AT_MOST, "points:vlm:a"): 0.0,
        ("u", AT_MOST, "points:vlm:a"): 30.0,
    }
    assert derived_lines(DERIVED, "return", lines[:2]) == [], "not before the camera is measured"
    assert derived_lines(DERIVED, "replay", lines) == []
