"""Limits of correlations, ranks and ratios: known answers, and how often they miss in simulated worlds."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_input import made_input, without_figures
from scipy.stats import kendalltau, spearmanr

from reports.measured import measured
from reports.scoreboard import scoreboard
from reports.statistics.agreement import pearson
from reports.statistics.agreement_limits import agreement_limits
from reports.statistics.calibration.page import markdown, too_often, write_into
from reports.statistics.calibration.quantities import Outcome, Rate, missed, table_of
from reports.statistics.calibration.run import calibrate
from reports.statistics.calibration.worlds import FIRST, SCORING, SECOND, WORLDS, CalibrationWorld, DrawnStudy, draw
from reports.statistics.correlation import pearson_limits
from reports.statistics.frontier import surely_on_frontier
from reports.statistics.gain import fieller
from reports.statistics.intervals import Limits, paired_interval
from reports.statistics.orders import kendall_limits, rank_limits, spearman_limits
from reports.statistics.pairs import row_pairs
from reports.statistics.score_limits import score_limits
from reports.statistics.scores import branch_score
from reports.statistics.sure_order import sure_order


def generator(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def world(name: str) -> CalibrationWorld:
    return next(one for one in WORLDS if one.name == name)


def r_by_both_methods(study: DrawnStudy) -> Iterator[Outcome]:
    """Whether r's limits miss: those of the report, and percentiles of resamples, which it had before."""
    first, second = (branch_score(branch, study.true, len(study.rows)) for branch in SCORING.branches)
    truth = float(pearson(first, second))
    own = agreement_limits(table_of(study), (FIRST, SECOND), {row: row for row in study.rows}, study.panels)
    yield "r", missed(truth, own.pearson)
    draws, found, count = generator(1), [], len(study.panels[f"{SECOND}/score"].seeds)
    for _ in range(40):
        seeds, scenes = draws.integers(0, count, count), {b: draws.integers(0, 6, 6) for b in (FIRST, SECOND)}
        means = {
            name: (panel.total / panel.count)[:, scenes[name.split("/")[0]]][:, :, seeds].mean(axis=(1, 2))
            for name, panel in study.panels.items()
        }
        x, y = (branch_score(branch, means, len(study.rows)) for branch in SCORING.branches)
        found.append(float(pearson(x, y)))
    low, high = np.quantile(found, [0.025, 0.975])
    yield "r, resampled", missed(truth, Limits(low=float(low), high=float(high)))


def test_limits_of_r_hold_where_those_of_resamples_do_not():
    worlds = [replace(world("three seeds, true r = 1"), scenes=(6, 6), rows=6)]
    found = {(rate.world, rate.quantity): rate for rate in calibrate(worlds, 4, asked=r_by_both_methods)}
    assert sum(rate.missed for (_, name), rate in found.items() if name == "r") <= 1
    assert found[worlds[0].name, "r, resampled"].share > 0.5


@pytest.mark.long
def test_no_limit_of_the_report_misses_in_more_than_seven_percent_of_studies():
    assert [rate for rate in calibrate(WORLDS, 600, processes=2) if too_often(rate)] == []


def test_there_are_worlds_of_every_kind_and_a_study_is_the_same_whoever_draws_it():
    assert len(WORLDS) >= 12
    assert {1, 2, 3, 5} <= {one.seeds for one in WORLDS}
    a, b = (draw(WORLDS[0], 3).panels[f"{SECOND}/score"].total for _ in range(2))
    assert (a == b).all()
    assert not np.array_equal(a, draw(WORLDS[0], 4).panels[f"{SECOND}/score"].total)


def layouts(means: np.ndarray, noise: float, key: int, scenes: int = 12, seeds: int = 3) -> np.ndarray:
    return np.asarray(means)[:, None, None] + noise * generator(key).normal(size=(len(means), scenes, seeds))


def test_a_true_r_of_one_is_inside_its_limits_though_noise_lowers_the_measured_one():
    means = np.linspace(-1, 1, 8)
    first, second = layouts(means, 1.0, 1), layouts(means, 1.0, 2)
    r = float(pearson(first.mean(axis=(1, 2)), second.mean(axis=(1, 2))))
    found = pearson_limits(first, second)
    assert r < 0.99
    assert found.low is not None
    assert found.high == 1.0
    assert 0.5 < found.low < r


def test_r_has_no_limits_where_the_rows_differ_by_noise_alone():
    found = pearson_limits(layouts(np.zeros(8), 1.0, 3), layouts(np.zeros(8), 1.0, 4))
    assert (found.low, found.reason) == (None, "the rows' scores differ by little more than their noise")
    assert pearson_limits(layouts(np.arange(2), 0.1, 3), layouts(np.arange(2), 0.1, 4)).reason == "under 3 rows"


def test_limits_of_r_are_narrow_where_there_is_hardly_noise():
    means = generator(5).normal(size=(2, 9))
    found = pearson_limits(layouts(means[0], 0.01, 6), layouts(means[1], 0.01, 7))
    r = float(pearson(*means))
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx(r, abs=0.02)
    assert found.high == pytest.approx(r, abs=0.02)


def ordered(first: np.ndarray, second: np.ndarray):
    return sure_order([row_pairs({str(i): own for i, own in enumerate(values)}) for values in (first, second)])


def test_tau_is_known_where_every_order_is_sure_and_unknown_where_none_is():
    up, down = np.arange(5.0), -np.arange(5.0)
    sure = kendall_limits(ordered(layouts(up, 0.01, 8), layouts(down, 0.01, 9)), 3)
    assert (sure.low, sure.high) == (-1.0, -1.0)
    assert rank_limits(ordered(layouts(up, 0.01, 8), layouts(down, 0.01, 9)), 0)[0] == (5, 5)
    unsure = ordered(layouts(0 * up, 1.0, 8), layouts(0 * up, 1.0, 9))
    assert kendall_limits(unsure, 3) == Limits(reason="no pair of rows has a sure order on both branches")
    assert rank_limits(unsure, 1) == [(1, 5)] * 5


@pytest.mark.parametrize("rows", [2, 3, 4, 5, 6])
def test_rho_follows_from_tau_by_daniels_inequality(rows: int) -> None:
    """Of all orders of so many rows none is outside its limits, and some is at either."""
    beyond = []
    for order in itertools.permutations(range(rows)):
        tau, rho = (float(found(range(rows), order).statistic) for found in (kendalltau, spearmanr))
        limits = spearman_limits(Limits(low=tau, high=tau), rows)
        low, high = (-1.0, 1.0) if limits.low is None or limits.high is None else (limits.low, limits.high)
        beyond.append((low - rho, rho - high))
    assert np.max(beyond, axis=0) == pytest.approx([0.0, 0.0], abs=1e-9)


def test_limits_of_tau_that_allow_every_rho_are_told() -> None:
    assert spearman_limits(Limits(low=-0.6, high=1.0), 7).reason == "the limits of τ allow every value"
    assert spearman_limits(Limits(reason="there is no pair of rows"), 7).low is None


def test_fieller_is_the_ratio_of_what_does_not_vary_and_none_where_the_whole_gain_is_in_doubt():
    whole = 2.0 + 0.05 * generator(10).normal(size=(20, 3))
    exact = fieller(0.25 * whole, whole)
    assert (exact.low, exact.high) == pytest.approx((0.25, 0.25), abs=1e-3)
    noisy = fieller(1.0 + 0.5 * generator(11).normal(size=(20, 3)), whole)
    assert noisy.low is not None
    assert noisy.high is not None
    assert noisy.low < 0.5 < noisy.high
    assert fieller(whole, generator(12).normal(size=(20, 3))).reason.startswith(
        "no interval: the 99 % limits of the whole gain"
    )


def test_what_is_at_a_border_of_fiellers_limits_is_just_not_excluded():
    above, whole = (c + generator(k).normal(size=(9, 3)) for c, k in ((1.0, 13), (20.0, 14)))
    found = fieller(above, whole)
    assert found.low is not None
    assert found.high is not None
    for border in (found.low, found.high):
        assert paired_interval(above - border * whole).p == pytest.approx(0.05, abs=1e-4)


def test_two_seeds_that_agree_by_chance_are_no_certainty():
    values = generator(15).normal(size=(32, 1)) + 0.1 * generator(16).normal(size=(32, 2))
    two, of_scenes = paired_interval(values), paired_interval(values.mean(axis=1, keepdims=True))
    assert two.high - two.low > 1.5 * (of_scenes.high - of_scenes.low)


def test_bars_lie_around_the_scores_of_the_table():
    study = draw(replace(world("three seeds"), noise=0.1), 0)
    table = table_of(study)
    for branch in (FIRST, SECOND):
        found = score_limits(table, branch, {row: row for row in study.rows}, study.panels)
        for row in study.rows:
            assert sum(found[row]) / 2 == pytest.approx(table.score(branch, row))


def test_the_table_marks_what_misses_too_often_and_says_what_is_not_printed(tmp_path: Path):
    rates = [
        Rate(world=WORLDS[0].name, quantity="r", studies=100, printed=100, missed=9),
        Rate(world=WORLDS[0].name, quantity="tau", studies=100, printed=0, missed=0),
        Rate(world=WORLDS[0].name, quantity="gain", studies=100, printed=2, missed=1),
    ]
    assert [too_often(rate) for rate in rates] == [True, False, False]
    text = markdown(rates)
    assert "| **9.0 ± 2.9** | none printed | printed in 2.0 %, 1.0 of all missed |" in text
    page = tmp_path / "page.md"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="no lines <!-- generated by `make calibrate`: begin -->"):
        write_into(page, text)


def test_a_row_is_surely_on_the_frontier_only_if_it_surely_beats_all_that_are_no_larger():
    sizes = np.array([1.0, 2.0, 3.0])
    above = np.array([[False, False, True], [False, False, True], [False, False, False]])
    # The smallest has no rival; the second may be worse than the first; the third is surely worse than both.
    assert surely_on_frontier(sizes, above) == [True, None, False]


def test_where_cells_are_missing_limits_come_with_the_mean_that_they_lie_around():
    given = without_figures(made_input(seeds=(0, 1, 2)))
    mine = [v for v in given.values if v.row in ("context-k1", "context-k5") and v.branch == "return"]
    values = [v for v in mine if (v.row, v.seed) != ("context-k5", 2) or v.case == mine[0].case]
    found = measured(replace(given, values=values), [""])
    metric = "return/judge"
    part, mean, limits = (getattr(found, name)(metric, "context-k5") for name in ("part", "mean", "limits"))
    assert part.seeds == 2
    assert part.mean != mean
    assert limits == (part.low, part.high)
    assert sum(limits) / 2 == pytest.approx(part.mean)
    assert "over" in part.text("cases", 1)
    assert "in 2 seeds" in part.text("cases", 1)
    board = scoreboard(replace(given, values=values))
    assert board.scores["context-k1", "return"].part == ""
    said = board.scores["context-k5", "return"].part
    assert said.endswith(f" over {part.scenes} {given.spec.words.units} in 2 seeds")
    whole = found.limits(metric, "context-k1")
    assert found.part(metric, "context-k1") is None
    assert sum(whole) / 2 == pytest.approx(found.mean(metric, "context-k1"))
