"""Common scale, profiles, probability of improvement, signal to noise: known answers and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.statistics.common_scale import run_scores, scaled, separation
from reports.statistics.improvement import improvement
from reports.statistics.profiles import THRESHOLDS, profile
from reports.statistics.signal import signal_to_noise


def layouts(seed: int, scenes: int = 8, seeds: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, floor, ceiling): the ceiling about 10 above the floor."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    common = generator.normal(size=(scenes, 1))
    row, floor, ceiling = (at + common + generator.normal(size=(scenes, seeds)) for at in (14.0, 10.0, 20.0))
    return row, floor, ceiling


@given(st.integers(0, 50))
def test_the_floor_is_0_and_the_ceiling_1_without_a_spread(seed: int) -> None:
    _, floor, ceiling = layouts(seed)
    for layout, wanted in ((floor, 0.0), (ceiling, 1.0)):
        found = scaled(layout, floor, ceiling)
        assert (found.mean, found.low, found.high) == pytest.approx((wanted, wanted, wanted), abs=1e-12)


def test_a_row_between_them_is_where_its_mean_is() -> None:
    floor, ceiling = np.zeros((4, 2)), np.full((4, 2), 100.0)
    row = np.array([[20.0, 40.0], [30.0, 30.0], [10.0, 50.0], [30.0, 30.0]])
    found = scaled(row, floor, ceiling)
    assert found.mean == pytest.approx(0.3)
    assert found.low < 0.3 < found.high
    assert scaled(-10 + floor, floor, ceiling).mean == pytest.approx(-0.1), "worse than the floor is below 0"


@given(st.integers(0, 50), st.floats(0.01, 100), st.floats(-100, 100), st.booleans())
def test_another_unit_changes_nothing(seed: int, factor: float, offset: float, turned: bool) -> None:
    row, floor, ceiling = layouts(seed)
    sign = -factor if turned else factor
    before = scaled(row, floor, ceiling)
    after = scaled(*(offset + sign * layout for layout in (row, floor, ceiling)))
    assert (after.mean, after.low, after.high) == pytest.approx((before.mean, before.low, before.high), rel=1e-6)
    apart = separation(offset + sign * floor, offset + sign * ceiling, "low" if turned else "high")
    assert apart.low / factor == pytest.approx(separation(floor, ceiling, "high").low, rel=1e-6)


def test_the_interval_is_that_of_the_difference_where_floor_and_ceiling_are_known() -> None:
    row, *_ = layouts(3)
    floor, ceiling = np.full(row.shape, 10.0), np.full(row.shape, 20.0)
    found, plain = scaled(row, floor, ceiling), separation(floor, row, "high")
    assert (found.low, found.high) == pytest.approx((plain.low / 10, plain.high / 10))


def test_limits_miss_as_often_as_they_say() -> None:
    """400 worlds: rows, floors and ceilings that vary; the true score is 0.4."""
    missed = 0
    for seed in range(400):
        found = scaled(*layouts(1000 + seed, scenes=12))
        missed += not found.low <= 0.4 <= found.high
    assert missed / 400 <= 0.07


@pytest.mark.long  # 72,000 simulated studies
@pytest.mark.parametrize("spreads", [(0.5, 1.0, 0.5, False), (2.0, 0.3, 0.5, False), (0.5, 0.5, 1.0, True)])
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("scenes", [4, 8, 32])
def test_limits_miss_at_most_7_percent_in_every_world(
    scenes: int, seeds: int, spreads: tuple[float, float, float, bool]
) -> None:
    """Spreads of a row over scenes, seeds and both, and whether the last one has heavy tails (t with 3 degrees)."""
    of_scene, of_seed, of_both, heavy = spreads
    generator = np.random.Generator(np.random.Philox(key=11))
    missed = 0
    for _ in range(2000):
        common = generator.normal(size=(scenes, 1)) + np.zeros((scenes, seeds))
        floor = 10 + common + 0.5 * generator.normal(size=(scenes, 1))
        ceiling = 20 + common + 2 * generator.normal(size=(scenes, 1))
        rest = generator.standard_t(3, size=common.shape) / 3**0.5 if heavy else generator.normal(size=common.shape)
        row = 14 + common + of_scene * generator.normal(size=(scenes, 1)) + of_both * rest
        row += of_seed * generator.normal(size=(1, seeds)) if seeds > 1 else 0.0  # of one seed, over scenes only
        found = scaled(row, floor, ceiling)
        missed += not found.low <= 0.4 <= found.high
    assert missed / 2000 <= 0.07


def test_no_scale_without_a_distance() -> None:
    with pytest.raises(ValueError, match="floor and ceiling have the same mean"):
        scaled(np.ones((3, 2)), np.zeros((3, 2)), np.zeros((3, 2)))


def test_a_profile_counts_runs_above_each_threshold() -> None:
    scores = np.array([[0.0, 0.3], [0.6, np.nan], [0.9, -0.2]])
    assert profile(scores, (0.0, 0.5, 1.0)).tolist() == pytest.approx([0.6, 0.4, 0.0])
    assert np.isnan(profile(np.full((2, 2), np.nan))).all()
    assert run_scores(np.array([[10.0, 25.0]]), 10.0, 20.0).tolist() == [[0.0, 1.5]]


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=20))
def test_a_profile_falls_from_1_to_0(scores: list[float]) -> None:
    found = profile(np.array([scores]), (-2.0, *THRESHOLDS, 2.0))
    assert (found[0], found[-1]) == (1.0, 0.0)
    assert (np.diff(found) <= 0).all()


def test_the_area_under_a_profile_is_the_mean() -> None:
    scores = np.array([[0.25, 0.5], [0.75, 1.0]])
    fine = tuple(np.linspace(0, 1, 2001)[:-1].tolist())
    assert profile(scores, fine).mean() == pytest.approx(scores.mean(), abs=1e-3)


def test_improvement_is_the_share_of_pairs_of_seeds() -> None:
    a, b = np.array([[1.0, 3.0], [5.0, 5.0]]), np.array([[2.0, 0.0], [5.0, 6.0]])
    # First scene: 3 of 4 pairs; second: two ties and two losses.
    assert improvement(a, b) == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert improvement(a[:, :1], b[:, :1]) is None, "one seed says nothing of another"
    assert improvement(a, np.full((2, 2), np.nan)) is None


@given(st.integers(0, 50))
def test_improvement_one_way_and_back_is_1_and_no_monotone_change_moves_it(seed: int) -> None:
    a, b, _ = layouts(seed)
    forward, back = improvement(a, b), improvement(b, a)
    assert forward is not None
    assert back is not None
    assert forward + back == pytest.approx(1.0)
    assert improvement(a, a) == pytest.approx(0.5)
    assert improvement(np.exp(a), np.exp(b)) == forward


def noisy(rows: float, seeds: float, key: int, scenes: int = 16, many: int = 30) -> list[np.ndarray]:
    """Layouts of `many` rows with these standard deviations, in three seeds, with what all have in common."""
    generator = np.random.Generator(np.random.Philox(key=key))
    common = 5 * generator.normal(size=(scenes, 1)) + 3 * generator.normal(size=(1, 3))
    return [
        common + rows * generator.normal() + seeds * generator.normal(size=(1, 3)) + np.zeros((scenes, 3))
        for _ in range(many)
    ]


def test_signal_to_noise_finds_what_the_rows_were_made_with() -> None:
    ratios, nothing = [], []
    for key in range(30):
        found, null = signal_to_noise(noisy(4.0, 2.0, key)), signal_to_noise(noisy(0.0, 2.0, key))
        assert found is not None
        assert null is not None
        ratios.append(found.ratio)
        nothing.append(null.ratio)
    assert np.mean(ratios) == pytest.approx(2.0, rel=0.1)
    assert np.median(nothing) < 0.4, "rows that differ by noise alone have no signal"


@given(st.integers(0, 30), st.floats(0.01, 100), st.floats(-100, 100))
def test_signal_to_noise_has_no_unit(key: int, factor: float, offset: float) -> None:
    made = noisy(1.0, 1.0, key, scenes=4, many=5)
    before, after = signal_to_noise(made), signal_to_noise([offset + factor * layout for layout in made])
    assert before is not None
    assert after is not None
    assert after.ratio == pytest.approx(before.ratio, rel=1e-6, abs=1e-6)


def test_signal_to_noise_needs_two_seeds_two_rows_and_a_spread() -> None:
    a, b = np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2) ** 2
    assert signal_to_noise([a[:, :1], b[:, :1]]) is None
    assert signal_to_noise([a]) is None
    assert signal_to_noise([a, a + 5]) is None, "the same in every seed but for what all have in common"
    assert signal_to_noise([a[1:2], b[1:2]]) is not None, "a metric over all cases at once"
    lacking = np.where(np.arange(6).reshape(3, 2) == 0, np.nan, a)
    found = signal_to_noise([lacking, b])
    assert found is not None
    assert (found.rows, found.scenes, found.seeds) == (2, 2, 2)
