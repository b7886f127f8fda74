"""Power: what seeds and scenes resolve, against simulated studies, and from real and missing pilots."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_input import made_input, without_figures

from reports.input import CaseValues
from reports.measured import combinations, measured
from reports.noise import noise_difference
from reports.page.resolution import resolution_part
from reports.power import designs, median_and_worst, paired_pilot, pilot_metric, power_json
from reports.statistics.contrasts import BranchContrast, contrasted
from reports.statistics.intervals import paired_interval
from reports.statistics.power import (
    VarianceComponents,
    design_power,
    detectable,
    half_width,
    pilot_variance,
    power_of,
    with_seed_of_noise,
)
from reports.statistics.seed_scatter import seed_scatter

WORLDS = ((4.0, 1.0, 1.0, 8, 3), (1.0, 4.0, 1.0, 8, 3), (1.0, 1.0, 4.0, 16, 5), (1.0, 4.0, 1.0, 32, 10))
"""Variances of scene, seed and rest; scenes and seeds."""


@pytest.fixture(scope="module")
def three_seeds() -> CaseValues:
    given = without_figures(made_input(seeds=(0, 1, 2)))
    kept = {("return", "judge"), ("replay", "psnr"), ("loop", "psnr")}
    return replace(given, values=[one for one in given.values if (one.branch, one.metric) in kept])


@pytest.fixture(scope="module")
def asked(three_seeds: CaseValues) -> Mapping[str, Any]:
    return power_json(three_seeds, measured(three_seeds, combinations(three_seeds)))


def layout(draw: np.random.Generator, of: VarianceComponents, scenes: int, seeds: int) -> np.ndarray:
    assert of.seed is not None
    return (
        math.sqrt(of.scene) * draw.normal(size=(scenes, 1))
        + math.sqrt(of.seed) * draw.normal(size=(1, seeds))
        + math.sqrt(of.rest) * draw.normal(size=(scenes, seeds))
    )


@pytest.mark.parametrize("world", WORLDS)
def test_power_is_the_share_of_simulated_studies_that_find_the_effect(
    world: tuple[float, float, float, int, int],
) -> None:
    scene, seed, rest, scenes, seeds = world
    of = VarianceComponents(scene=scene, seed=seed, rest=rest)
    effect, draw, studies = detectable(0.8, of, scenes, seeds), np.random.default_rng(5), 1000
    found = sum(paired_interval(effect + layout(draw, of, scenes, seeds)).p < 0.05 for _ in range(studies))
    # Three standard errors of the share, and what Satterthwaite's approximation is off by with three seeds.
    assert abs(found / studies - 0.8) < 3 * math.sqrt(0.8 * 0.2 / studies) + 0.02


def test_power_with_the_scatter_of_all_rows_is_that_of_findings() -> None:
    rows, scenes, seeds, studies = 12, 8, 3, 300
    draw, one = np.random.default_rng(8), VarianceComponents(scene=0.5, seed=2.0, rest=1.0)
    scatter = [seed_scatter([draw.normal(size=(rows, seeds))]) for _ in range(100)]
    freedom = float(np.mean([each.freedom for each in scatter if each is not None]))
    of = VarianceComponents(scene=1.0, seed=4.0, rest=2.0, pooled=4.0, pooled_rows=freedom / (seeds - 1))
    effect, found = detectable(0.8, of, scenes, seeds), 0
    for _ in range(studies):
        layouts = {f"row-{i}": layout(draw, one, scenes, seeds) for i in range(rows)}
        layouts["row-0"] = layouts["row-0"] + effect
        weights = {"row-0": 1.0, "row-1": -1.0}
        interval = contrasted([BranchContrast(layouts=layouts, weights=weights)]).interval
        found += interval is not None and interval.p < 0.05
    assert abs(found / studies - 0.8) < 3 * math.sqrt(0.8 * 0.2 / studies) + 0.02


def test_components_are_found_again() -> None:
    of, draw = VarianceComponents(scene=4.0, seed=2.0, rest=1.0), np.random.default_rng(1)
    estimates = [pilot_variance(layout(draw, of, 8, 4)) for _ in range(400)]
    means = {name: np.mean([getattr(one.estimate, name) for one in estimates]) for name in ("scene", "seed", "rest")}
    assert means == pytest.approx({"scene": 4.0, "seed": 2.0, "rest": 1.0}, rel=0.15)
    above = np.mean([one.cautious.seed is not None and one.cautious.seed >= 2.0 for one in estimates])
    assert 0.75 < above < 0.87  # the 80 % upper limit of a variance lies above it in four of five pilots


def test_an_estimate_below_zero_counts_as_zero_and_is_named() -> None:
    difference = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])  # all means are 0
    pilot = pilot_variance(difference)
    assert (pilot.estimate.scene, pilot.estimate.seed) == (0.0, 0.0)
    assert pilot.negative == ("scene", "seed")
    assert pilot.estimate.rest == pytest.approx(1.0)


def test_more_seeds_and_scenes_resolve_less_and_equal_rows_resolve_everything() -> None:
    of = VarianceComponents(scene=4.0, seed=2.0, rest=3.0)
    by_seeds = [detectable(0.8, of, 8, seeds) for seeds in (2, 3, 5, 10)]
    assert by_seeds == sorted(by_seeds, reverse=True)
    assert power_of(detectable(0.8, of, 8, 3), of, 8, 3) == pytest.approx(0.8, abs=1e-9)
    assert power_of(-3.0, of, 8, 3) == power_of(3.0, of, 8, 3)
    none = VarianceComponents(scene=0.0, seed=0.0, rest=0.0)
    assert design_power(1.0, none, 8, 2).power == 1.0
    assert detectable(0.8, none, 8, 2) == 0.0


def test_equivalence_needs_more_than_its_margin() -> None:
    of = VarianceComponents(scene=1.0, seed=1.0, rest=1.0)
    margin = detectable(0.8, of, 16, 5, claim="equivalence")
    draw, studies = np.random.default_rng(2), 600
    inside = 0
    for _ in range(studies):
        found = paired_interval(layout(draw, of, 16, 5), 0.9)
        inside += -margin < found.low and found.high < margin
    assert abs(inside / studies - 0.8) < 0.07
    assert power_of(0.01, of, 16, 5, claim="equivalence") == 0.0


def test_one_seed_says_nothing_of_seeds() -> None:
    pilot = pilot_variance(np.arange(8.0)[:, None])
    assert pilot.estimate == VarianceComponents(scene=6.0, seed=None, rest=0.0)
    assert designs(5.0, pilot, [8], range(2, 5)) == []
    with pytest.raises(ValueError, match="the variance of seeds is not known: the pilot has one seed"):
        power_of(5.0, pilot.estimate, 8, 3)
    with pytest.raises(ValueError, match="a verdict needs at least 2 scenes and 2 seeds, got 8 and 1"):
        power_of(5.0, pilot.estimate, 8, 1)
    with pytest.raises(ValueError, match="variances need at least 2 scenes and 1 seed, got 1 and 3"):
        pilot_variance(np.zeros((1, 3)))
    interval = paired_interval(np.arange(8.0)[:, None])
    assert half_width(pilot.estimate, 8) == pytest.approx((interval.high - interval.low) / 2)


def test_a_row_trained_twice_tells_the_variance_of_seeds() -> None:
    pilot = pilot_variance(np.arange(8.0)[:, None])
    again = np.full((8, 1), 2.0)
    known = with_seed_of_noise(pilot, again)
    assert (known.estimate.seed, known.seed_from) == (4.0, "noise row")
    assert known.cautious.seed is not None and known.cautious.seed > 50  # one degree of freedom
    quiet = with_seed_of_noise(pilot, np.array([[1.0], [-1.0]] * 4))
    assert (quiet.estimate.seed, quiet.negative) == (0.0, ("seed",))


def test_the_median_and_the_worst_pair_of_a_study(three_seeds: CaseValues) -> None:
    found = measured(three_seeds, combinations(three_seeds))
    metric = pilot_metric(found)
    assert metric == "return/judge"  # the headline of the second branch of the contrast; there is no gate here
    median, worst = median_and_worst(found, metric)
    assert detectable(0.8, median.pilot.estimate, 4, 3) < detectable(0.8, worst.pilot.estimate, 4, 3)
    assert (median.pilot.scenes, median.pilot.seeds) == (4, 3)
    assert pilot_metric(found, "replay") == "replay/psnr"
    with pytest.raises(ValueError, match=r"metric 'return/fame' was not measured in scenes; allowed: loop/psnr, "):
        pilot_metric(found, "return/fame")


def test_what_the_findings_ask_is_tabulated_by_seeds(three_seeds: CaseValues, asked: Mapping[str, Any]) -> None:
    values = measured(three_seeds, combinations(three_seeds))
    found = {one["id"]: one for one in asked["findings"]}
    assert list(found) == ["3", "4", "5"]
    assert (found["4"]["metric"], found["4"]["effect"], found["4"]["claim"]) == ("replay/psnr", 0.5, "equivalence")
    assert (found["3"]["seeds"], found["3"]["scenes"]) == (3, 4)
    assert [design["seeds"] for design in found["3"]["designs"]] == list(range(2, 11))
    pairs = [("compress-hybrid-r2", "compress-length-r2"), ("compress-hybrid-r4", "compress-length-r4")]
    pilot = paired_pilot(values, "return/judge", pairs, of_finding=True)
    assert pilot is not None
    alone = paired_pilot(values, "return/judge", pairs)
    assert alone is not None and alone.pilot.estimate.pooled is None
    assert detectable(0.8, pilot.pilot.estimate, 4, 3) < detectable(0.8, alone.pilot.estimate, 4, 3)
    expected = design_power(5.0, pilot.pilot.estimate, 4, 3)
    assert found["3"]["designs"][1] == {
        "scenes": 4,
        "seeds": 3,
        "detectable": expected.detectable,
        "power": expected.power,
    }


def test_one_seed_and_missing_rows_leave_out_what_is_not_known(three_seeds: CaseValues) -> None:
    one = replace(three_seeds, seeds=(0,), values=[v for v in three_seeds.values if v.seed == 0])
    found = power_json(one, measured(one, combinations(one)))["findings"]
    assert [(entry["seeds"], entry["designs"], entry["variance"]["seed"]) for entry in found] == [(1, [], None)] * 3
    without = [v for v in three_seeds.values if v.row != "ssm-hybrid"]
    gone = replace(three_seeds, values=without)
    assert [entry["id"] for entry in power_json(gone, measured(gone, combinations(gone)))["findings"]] == ["3", "4"]


def test_the_page_says_what_the_seeds_can_tell(three_seeds: CaseValues, asked: Mapping[str, Any]) -> None:
    spec = three_seeds.spec
    part = resolution_part(asked, spec)
    assert part is not None and not part.lone_seed
    finding, metric, asks, resolved, power, enough = part.lines[1]
    assert (finding, metric, asks) == ("4", "replay/psnr", "margin 0.5 dB")
    own, entry = asked["findings"][1]["designs"][1], asked["findings"][1]
    assert (resolved, power) == (f"{own['detectable']:.2f} dB", f"{own['power']:.2f}")
    assert enough == next((str(one["seeds"]) for one in entry["designs"] if one["power"] >= 0.8), "over 10")
    lone = replace(three_seeds, seeds=(0,), values=[v for v in three_seeds.values if v.seed == 0])
    alone = resolution_part(power_json(lone, measured(lone, combinations(lone))), spec)
    assert alone is not None and alone.lone_seed
    assert alone.lines[0][3:] == ("–", "–", "–")
    assert resolution_part({"findings": []}, spec) is None


def test_the_noise_row_of_a_study_is_found(three_seeds: CaseValues) -> None:
    assert noise_difference(three_seeds, "return/judge") is None
    twin = [replace(v, row="context-k5-aa", value=v.value + 3.0) for v in three_seeds.values if v.row == "context-k5"]
    rows = [*three_seeds.rows, replace(three_seeds.rows[1], name="context-k5-aa")]
    given = replace(three_seeds, rows=rows, values=[*three_seeds.values, *twin])
    difference = noise_difference(given, "return/judge")
    assert difference is not None and difference.shape == (4, 3)
    assert difference == pytest.approx(3.0)
