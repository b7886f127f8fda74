"""Statistics by known answers, laws and slow twins."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.statistics.agreement import kendall, mean_ranks, mean_ranks_of_many, pearson, ranks, spearman
from reports.statistics.intervals import complete, holm, interval_of_sum, paired_interval
from reports.statistics.panel import scene_of
from reports.statistics.scores import branch_score, normalised
from workloads.study.report import REPORT

REPLAY, _, RETURN, *_ = REPORT.branches

SCORES = st.lists(st.integers(-3, 3), min_size=3, max_size=9)


def generator(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def test_holm_of_the_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    assert all(a <= 1 for a in adjusted)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


@given(st.lists(st.integers(-3, 3) | st.floats(-1, 1), max_size=9))
def test_ranks_by_sorting_are_those_of_comparing_all_pairs_and_scipys(scores):
    of = np.array(scores, dtype=np.float64)
    assert list(mean_ranks_of_many(of)) == list(mean_ranks(of)) == list(scipy.stats.rankdata(of))


@given(st.data())
def test_correlations_equal_scipys_with_ties(data):
    a = np.array(data.draw(SCORES), dtype=np.float64)
    b = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=len(a), max_size=len(a))), dtype=np.float64)
    if len(set(a)) < 2 or len(set(b)) < 2:
        assert all(np.isnan(f(a, b)) for f in (pearson, spearman, kendall))
        return
    assert float(pearson(a, b)) == pytest.approx(scipy.stats.pearsonr(a, b)[0], abs=1e-9)
    assert float(spearman(a, b)) == pytest.approx(scipy.stats.spearmanr(a, b)[0], abs=1e-9)
    assert float(kendall(a, b)) == pytest.approx(scipy.stats.kendalltau(a, b)[0], abs=1e-9)


def test_kendall_of_one_tie_is_corrected_for_it():
    # 5 concordant pairs, one tied in a: 5 / sqrt(5 * 6)
    assert float(kendall(np.array([1.0, 1, 2, 3]), np.array([1.0, 2, 3, 4]))) == pytest.approx(5 / np.sqrt(30))


def test_a_batch_of_rankings_is_each_of_them():
    a, b = generator(1).normal(size=(2, 7, 5))
    for f in (pearson, spearman, kendall):
        assert f(a, b) == pytest.approx(np.array([float(f(x, y)) for x, y in zip(a, b, strict=True)]))


def test_a_missing_row_is_left_out_of_a_correlation():
    a, b = generator(2).normal(size=(2, 6))
    holed = np.where(np.arange(6) == 3, np.nan, a)
    kept = np.arange(6) != 3
    for f in (pearson, spearman, kendall):
        assert float(f(holed, b)) == pytest.approx(float(f(a[kept], b[kept])))


def test_ties_share_the_smaller_rank_and_one_is_best():
    assert list(ranks(np.array([3.0, 5, 5, 1]))) == [3, 1, 1, 4]
    assert list(mean_ranks(np.array([3.0, 5, 5, 1]))) == [2, 3.5, 3.5, 1]


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.floats(0.1, 9), st.floats(-5, 5))
def test_normalising_knows_no_unit(values, scale, shift):
    x = np.array(values)
    if np.ptp(x) > 1e-3:
        assert normalised(x) == pytest.approx(normalised(scale * x + shift), abs=1e-6)
        assert normalised(x, "low") == pytest.approx(1 - normalised(x), abs=1e-12)


def test_equal_scores_are_in_the_middle():
    assert list(normalised(np.full(3, 7.0))) == [0.5, 0.5, 0.5]


def test_a_metric_missing_in_a_row_makes_its_bundle_missing_and_no_other():
    metrics = {
        "replay/psnr": np.array([10.0, 20.0, np.nan]),
        "replay/ssim": np.array([0.1, 0.3, 0.2]),
        "replay/lpips": np.array([0.5, 0.3, 0.4]),
    }
    assert branch_score(REPLAY, metrics, 3) == pytest.approx([0.0, 1.0, np.nan], nan_ok=True)
    del metrics["replay/ssim"]
    assert np.isnan(branch_score(REPLAY, metrics, 3)).all()


def test_the_units_of_return_are_prompts_and_of_replay_scenes():
    variants = {scene_of(f"worlds/open-03-{variant}/0", RETURN.variant) for variant in (1, 2)}
    assert variants == {"worlds/open-03"}
    assert scene_of("worlds/world-0003/24", REPLAY.variant) == "worlds/world-0003"


def test_one_seed_is_a_students_t_over_scenes_and_says_so():
    values = generator(3).normal(size=(12, 1)) + 0.4
    interval = paired_interval(values)
    low, high = scipy.stats.t.interval(0.95, 11, values.mean(), scipy.stats.sem(values[:, 0]))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.p == pytest.approx(scipy.stats.ttest_1samp(values[:, 0], 0).pvalue)
    assert interval.kind == "scenes only"


def test_without_scatter_the_interval_is_a_point():
    assert paired_interval(np.full((4, 3), 2.0)).p == 0
    assert paired_interval(np.zeros((4, 3))).p == 1
    assert paired_interval(np.full((4, 3), 0.1)).low == pytest.approx(0.1)


def test_an_interval_needs_two_scenes_and_all_cells():
    with pytest.raises(ValueError, match="at least 2 scenes"):
        paired_interval(np.ones((1, 3)))
    with pytest.raises(ValueError, match="complete layout"):
        paired_interval(np.array([[1.0], [np.nan]]))


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_p_is_under_one_minus_the_level_exactly_when_zero_is_excluded(key):
    draws = generator(key)
    interval = paired_interval(draws.normal(size=(6, 3)) + draws.normal())
    assert (interval.p < 0.05) == (interval.low > 0 or interval.high < 0)


def test_incomplete_scenes_and_seeds_are_cut_and_counted():
    a, b = np.ones((4, 3)), np.ones((4, 3))
    a[0, 1] = np.nan  # a scene is missing in one seed
    b[:, 2] = np.nan  # a seed is missing in one row
    cut = complete([a, b])
    assert cut.layouts[0].shape == (3, 2)
    assert (cut.dropped_scenes, cut.dropped_seeds) == (1, 1)


CALIBRATED = [(1.0, 0.1, 3, 0.07), (1.0, 0.5, 3, 0.07), (0.3, 1.0, 3, 0.07), (1.0, 0.5, 2, 0.07), (0.3, 1.0, 8, 0.07)]
FEW, MANY = 150, 2000


@pytest.mark.parametrize(
    ("worlds", "scene_sd", "seed_sd", "seeds", "most"),
    [(FEW, 1.0, 0.5, 3, 0.15)] + [pytest.param(MANY, *case, marks=pytest.mark.long) for case in CALIBRATED],
)
def test_interval_misses_as_often_as_it_says(worlds, scene_sd, seed_sd, seeds, most):
    draws = generator(11)
    excluded = pooled = 0
    for _ in range(worlds):
        layout = (
            scene_sd * draws.normal(size=(30, 1))
            + seed_sd * draws.normal(size=(1, seeds))
            + draws.normal(size=(30, seeds))
        )
        excluded += paired_interval(layout).p < 0.05
        pooled += scipy.stats.ttest_1samp(layout.ravel(), 0).pvalue < 0.05
    assert excluded / worlds <= most
    assert pooled > excluded


def test_one_scene_of_a_third_seed_takes_nothing_from_two_whole_seeds():
    values = generator(5).normal(size=(8, 3))
    partly = values.copy()
    partly[1:, 2] = np.nan
    assert complete([partly]).layouts[0].tolist() == values[:, :2].tolist()
    assert complete([partly, values]).dropped_seeds == 1


def test_a_seed_that_lacks_few_scenes_is_worth_more_than_these_scenes():
    values = np.ones((8, 3))
    values[:2, 2] = np.nan
    assert complete([values]).layouts[0].shape == (6, 3)


def test_two_branches_of_one_training_share_their_seeds():
    draws = generator(6)
    seeds = draws.normal(size=(1, 4))
    replay, back = seeds + 0.01 * draws.normal(size=(20, 4)), -seeds + 0.01 * draws.normal(size=(12, 4))
    together, apart = interval_of_sum([replay, back]), paired_interval(replay)
    assert together.mean == pytest.approx(replay.mean() + back.mean())
    assert together.high - together.low < 0.1 * (apart.high - apart.low)
