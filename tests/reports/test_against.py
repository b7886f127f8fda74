"""What differs between two sets of results: paired, of two samples, or of means alone."""

from dataclasses import replace

import numpy as np
import pytest
from made_input import made_input

from reports.against import ResultsComparison, RowChange, Side, compare, comparison_json, facts_of, published_side
from reports.forms.against_text import against_lines, against_md
from reports.input import ControlsCertificate, ReportInput
from reports.spec import PublishedTables
from reports.statistics.intervals import paired_interval
from reports.statistics.two_samples import two_sample_interval

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def given() -> ReportInput:
    made = made_input(seeds=SEEDS, cases=16)
    metrics = ("psnr", "judge")
    rows = ("context-k1", "context-k20", "spatial", "spatial-text")
    return replace(
        made,
        rows=[info for info in made.rows if info.name in rows],
        values=[v for v in made.values if v.row in rows and v.metric in metrics],
        tables={},
        costs=[],
        curves=[],
        spec=replace(made.spec, questions=tuple, published=None),
    )


def other(given: ReportInput, **fields: object) -> Side:
    return Side(name="theirs", given=replace(given, **fields))  # type: ignore[arg-type]


def one(found: ResultsComparison, row: str, metric: str) -> RowChange:
    [change] = [c for c in found.changes if (c.row, f"{c.branch}/{c.metric}") == (row, metric)]
    return change


def test_the_same_results_are_the_same(given: ReportInput) -> None:
    found = compare(Side(name="ours", given=given), other(given))
    assert {(c.how, c.verdict, c.effect) for c in found.changes} == {("paired", "the same", 0.0)}
    assert found.settings == [] and found.rows_only_ours == [] and found.not_compared == []


def test_a_row_that_became_better_is_found_by_pairs(given: ReportInput) -> None:
    worse = [
        replace(v, value=v.value - 2) if (v.row, v.metric) == ("context-k20", "judge") else v for v in given.values
    ]
    found = compare(Side(name="ours", given=given), other(given, values=worse))
    change = one(found, "context-k20", "return/judge")
    assert (change.how, change.over, change.verdict, change.headline) == ("paired", "scenes and seeds", "better", True)
    assert (change.effect, change.low, change.high) == pytest.approx((2.0, 2.0, 2.0))
    assert one(found, "spatial", "return/judge").verdict == "the same"
    text = "\n".join(against_lines(found))
    assert "ours against theirs" in text
    assert "paired: both have the same scenes and seeds" in text
    assert "12 differences of the metrics that stand for branches: 1 better, 11 the same" in text


def test_other_seeds_are_two_samples(given: ReportInput) -> None:
    shifted = [replace(v, seed=v.seed + 10, value=v.value + 0.01 * v.seed) for v in given.values]
    found = compare(Side(name="ours", given=given), other(given, values=shifted, seeds=(10, 11, 12)))
    change = one(found, "context-k1", "replay/psnr")
    assert (change.how, change.scenes, change.seeds, change.verdict) == ("two samples", 16, 3, "not told apart")
    assert change.low is not None and change.high is not None and change.low < change.effect < change.high
    assert ("seeds", "0, 1, 2", "10, 11, 12") in found.settings


def test_one_seed_gives_limits_and_no_verdict(given: ReportInput) -> None:
    ours = replace(given, seeds=(0,), values=[v for v in given.values if v.seed == 0])
    changed = [replace(v, value=v.value + 50 + i % 3) for i, v in enumerate(ours.values)]
    found = compare(Side(name="ours", given=ours), other(ours, values=changed))
    change = one(found, "context-k1", "return/judge")
    assert (change.how, change.over, change.verdict) == ("paired", "scenes only", "no verdict")
    assert change.high is not None and change.high < 0
    assert "there is no verdict; another training may differ" in "\n".join(against_lines(found))


def test_what_is_only_in_one_and_what_was_held_equal_is_told(given: ReportInput) -> None:
    fewer = [v for v in given.values if v.row != "spatial" and (v.branch, v.metric) != ("loop", "psnr")]
    rows = [info for info in given.rows if info.name != "spatial"]
    rows = [replace(info, alias_of=None) for info in rows]
    theirs = other(
        given,
        values=[replace(v, unit="bit") if (v.branch, v.metric) == ("replay", "psnr") else v for v in fewer],
        rows=rows,
        git="abc",
        sections={"data": {"height": 16, "width": 16}},
        controls=ControlsCertificate(fingerprint="00", verdicts=[{"check": "sample order", "verdict": "mixed"}]),
    )
    found = compare(Side(name="ours", given=given), theirs)
    assert found.rows_only_ours == ["spatial"] and found.rows_only_theirs == []
    assert found.metrics_only_ours == ["loop/psnr"]
    assert found.not_compared == [("replay/psnr", "unit is 'dB' in ours and 'bit' in theirs")]
    assert ("control data.height", "8", "16") in found.settings
    assert ("check: sample order", "held", "mixed") in found.settings
    assert ("commit", "0393efe2c1a4", "abc") in found.settings
    text = against_md(found)
    assert "* rows only in ours: spatial" in text
    assert "* control data.height: 8 in ours, 16 in theirs" in text
    assert "| context-k1 | return judge (points) |" in text


def test_a_row_whose_control_did_not_hold_is_not_compared(given: ReportInput) -> None:
    verdict = {"check": "sample order", "verdict": "violated", "detail": "", "cells": ["context-k20/s0"]}
    found = compare(Side(name="ours", given=given), other(given, controls=ControlsCertificate(verdicts=[verdict])))
    assert {c.row for c in found.changes} == {"context-k1", "spatial", "spatial-text"}
    assert ("context-k20", "the control sample order did not hold in theirs") in found.not_compared
    assert found.rows_only_ours == []


def test_published_means_have_no_intervals(given: ReportInput) -> None:
    paper = PublishedTables(
        source="a paper", rows=[], tables={}, means={"return/judge": {"context-k1": 12.0, "x": 1.0}}
    )
    found = compare(Side(name="ours", given=given), published_side(paper))
    [change] = found.changes
    assert (change.how, change.low, change.verdict, change.theirs) == ("means only", None, "no verdict", 12.0)
    assert found.rows_only_theirs == ["x"]
    assert comparison_json(found)["changes"][0]["p_adjusted"] is None
    with pytest.raises(
        ValueError, match=r"ours and a paper have no row and metric in common: context-k1, .* and x; al"
    ):
        compare(Side(name="ours", given=given), Side(name="a paper", means={"return/judge": {"x": 1.0}}))


def test_facts_leave_out_what_is_not_known(given: ReportInput) -> None:
    assert "commit" not in facts_of(replace(given, git=""))


def test_an_interval_of_two_samples_misses_as_often_as_it_says() -> None:
    """Seeds and scenes of either sample are drawn anew; 0 is in the interval in about 95 of 100 worlds."""
    own = np.random.Generator(np.random.Philox(key=3))

    def sample(scenes: int, seeds: int) -> np.ndarray:
        return own.normal(size=(scenes, 1)) + own.normal(size=(1, seeds)) + own.normal(size=(scenes, seeds))

    worlds = 1000
    missed = 0
    for _ in range(worlds):
        found = two_sample_interval(sample(8, 3), sample(16, 5))
        missed += not found.low <= 0.0 <= found.high
    assert missed / worlds <= 0.07


def test_two_samples_of_constants() -> None:
    same = two_sample_interval(np.ones((3, 2)), np.ones((4, 3)))
    assert (same.mean, same.low, same.high, same.p, same.scenes, same.seeds) == (0.0, 0.0, 0.0, 1.0, 3, 2)
    apart = two_sample_interval(np.ones((3, 1)), np.zeros((4, 3)))
    assert (apart.mean, apart.p, apart.kind) == (1.0, 0.0, "scenes only")
    with pytest.raises(ValueError, match="at least 2 scenes"):
        two_sample_interval(np.ones((1, 1)), np.ones((4, 3)))
    shared = np.arange(12.0).reshape(4, 3)
    assert paired_interval(shared - shared).high == 0.0 < two_sample_interval(shared, shared).high
