"""Races: which rows stop after which seeds, what is excluded from the report then, and what the page says."""

from dataclasses import replace

import numpy as np
import pytest
from made_input import made_input, without_figures

from reports.analysis import analyse
from reports.input import CaseValues, Race, RacedRow, ResultLine, RowInfo
from reports.measured import combinations, measured
from reports.page.race import race_part
from reports.race import race
from reports.race_progress import looks, race_text, stopped, stopped_words, wanted
from reports.report_json import report_json
from reports.spec import NoiseSpec, RaceSpec, ReportSpec

SPEC = RaceSpec(metric="away/points", baseline="base", margin=5.0, reason="one step")
EFFECTS = {"far": 40.0, "near": 0.0, "middle": 4.0}
SEEDS = tuple(range(6))


def given(seeds: int, *, without: tuple[tuple[str, int], ...] = (), scenes: int = 8, again: bool = False) -> CaseValues:
    """A study of four rows and their alias, whose first `seeds` seeds are done."""
    draws = np.random.default_rng(7)
    names = {"base": 0.0, **EFFECTS, **({"far-again": 40.0} if again else {})}
    noise = {row: 10 + effect + draws.normal(size=(1, 6)) + draws.normal(size=(8, 6)) for row, effect in names.items()}
    values = [
        ResultLine(
            row=row,
            seed=seed,
            axes="",
            branch="away",
            case=f"scene-{scene}/0",
            metric="points",
            unit="points:mask",
            better="high",
            value=float(noise[row][scene, seed]),
        )
        for row in names
        for seed in SEEDS[:seeds]
        for scene in range(scenes)
        if (row, seed) not in without
    ]
    rows = [RowInfo(name=row, family="a", alias_of=None) for row in names]
    rows.append(RowInfo(name="far-too", family="a", alias_of="far"))
    rows.append(RowInfo(name="truth", family="a", alias_of=None, reference=True))
    spec = ReportSpec(noise=NoiseSpec(row="far", again="far-again") if again else None)
    return CaseValues(study="s", profile="p", seeds=SEEDS, rows=rows, values=values, missing=[], sections={}, spec=spec)


def raced(values: CaseValues, gone: dict[str, str] | None = None) -> Race:
    return race(measured(values, combinations(values)), SPEC, SEEDS, gone)


def outcomes(of: Race) -> dict[str, tuple[str, int]]:
    return {one.row: (one.outcome, one.seeds) for one in of.rows}


@pytest.mark.parametrize(("seeds", "at"), [(1, []), (2, [2]), (3, [3]), (5, [3, 4, 5])])
def test_it_looks_from_the_third_seed_on(seeds: int, at: list[int]) -> None:
    assert list(looks(seeds)) == at


def test_without_results_every_row_waits_for_the_first_seeds() -> None:
    found = raced(given(0))
    assert outcomes(found) == dict.fromkeys(EFFECTS, ("open", 0))
    assert list(wanted(found)) == [0, 1, 2]
    assert stopped(found) == {}


def test_rows_stop_seed_after_seed_and_stay_stopped() -> None:
    after = {number: raced(given(number)) for number in range(3, 7)}
    ends = {row: min(n for n, of in after.items() if outcomes(of)[row][0] != "open") for row in ("far", "near")}
    whole = after[6]
    for row, end in ends.items():
        assert outcomes(whole)[row] == outcomes(after[end])[row]
        assert 3 <= end < 6, "these are decided before the last seed"
    assert outcomes(whole)["far"][0] == "differs"
    assert outcomes(whole)["near"][0] == "within"
    assert outcomes(whole)["middle"] == ("open", 6)
    assert not wanted(whole), "no seed is left"


def test_a_stopped_row_needs_no_more_seeds_for_the_others_to_go_on() -> None:
    _, end = outcomes(raced(given(6)))["far"]
    left = tuple(("far", seed) for seed in SEEDS[end:])
    assert raced(given(6, without=left)) == raced(given(6))


def test_a_row_waits_for_the_others_unless_its_results_will_not_come() -> None:
    values = given(3, without=(("middle", 2),))
    assert list(wanted(raced(values))) == [0, 1, 2]
    found = raced(values, {"middle": "train/middle/s2 failed"})
    assert outcomes(found)["middle"] == ("no values", 0)
    assert outcomes(found)["far"][1] == 3
    assert "no values: train/middle/s2 failed" in race_text(found)
    assert len(wanted(found)) == 4, "the others go on"


def test_the_last_row_that_loses_its_results_ends_the_race() -> None:
    values = given(3, without=tuple((row, 2) for row in EFFECTS))
    found = raced(values, dict.fromkeys(EFFECTS, "it failed"))
    assert set(outcomes(found).values()) == {("no values", 0)}
    assert not wanted(found)


def test_other_names_and_the_same_row_again_stop_with_their_row() -> None:
    found = raced(given(6, again=True))
    assert found.with_row == {"base": "", "truth": "", "far-too": "far", "far-again": "far"}
    why = stopped_words(found)
    assert why["far-too"] == why["far-again"] == why["far"]
    assert why["far"][1].endswith("seeds: differs from base")
    assert why["near"][1].endswith("seeds: within ±5 points of base")


def test_a_baseline_that_is_no_row_is_refused() -> None:
    values = given(3)
    with pytest.raises(ValueError, match="the race's baseline bass is not among the rows: base, far"):
        race(measured(values, [""]), replace(SPEC, baseline="bass"), SEEDS)


def test_the_text_has_a_line_for_each_comparison_and_what_was_saved() -> None:
    found = raced(given(6))
    first, *lines = race_text(found).splitlines()
    saved = sum(6 - seeds for outcome, seeds in outcomes(found).values() if outcome != "open")
    assert first == (
        "race against base on away/points, after 6 of 6 seeds: 1 differs, 1 within, 1 undecided; "
        f"{saved} of 18 trainings not needed"
    )
    assert lines[0].startswith("  far     differs from base; 39.") or lines[0].startswith(
        "  far     differs from base; 40."
    )
    assert lines[2].startswith("  middle  undecided; ")


def test_page_and_report_json_say_what_was_stopped_and_why() -> None:
    report = without_figures(made_input())
    line = RacedRow(
        row="far", outcome="differs", seeds=4, effect=40.0, low=30.0, high=None, evidence=900.0, adjusted=450
    )
    shown = Race(
        metric="away/points",
        unit="points:mask",
        baseline="base",
        margin=5.0,
        reason="",
        seeds=[0, 1, 2, 3, 4],
        rows=[line],
    )
    part = race_part(shown)
    assert part is not None
    assert "Every row against base on away/points" in part.intro
    assert "1 of 5 trainings were not needed" in part.intro
    assert part.lines == [("far", "differs from base", "4", "40.0", "450", "0.0")]
    assert race_part(None) is None
    report = replace(report, race=shown)
    whole = report_json(report, analyse(report))
    assert whole["race"]["rows"][0]["adjusted"] == 450
