"""Simulated races of grids like the evening: few are mistaken, and two fifths of the seeds are saved."""

import pytest

from reports.statistics.calibration.races import RacedGrid, RaceRate, mistaken_too_often, race_rate, races_markdown
from workloads.study.race_calibration import AS_MEASURED, AT_MARGIN, EQUAL, FLOOR, RACES


def test_ten_seeds_save_two_fifths_of_the_jobs() -> None:
    found = race_rate(AS_MEASURED, 200)
    assert found.saved >= 0.4
    assert found.mistaken == 0


def test_of_rows_that_equal_the_baseline_hardly_one_is_called_different() -> None:
    assert race_rate(EQUAL, 200).mistaken <= 4
    assert race_rate(FLOOR, 200).mistaken <= 4


def test_rows_that_differ_by_the_margin_are_hardly_given_up() -> None:
    assert race_rate(AT_MARGIN, 100).missed <= 0.03


def test_the_table_shows_what_is_too_often() -> None:
    rate = RaceRate(name="a", grids=100, mistaken=6, differs=0.5, within=0.25, missed=0.0, saved=0.42)
    assert mistaken_too_often(rate)
    assert "| a | **6.0** | 50.0 | 25.0 | 0.0 | 42 |" in races_markdown([rate])


@pytest.mark.long
@pytest.mark.parametrize("grid", RACES, ids=lambda grid: grid.name)
def test_a_thousand_grids_are_mistaken_in_one_of_twenty_at_most(grid: RacedGrid) -> None:
    found = race_rate(grid, 1000)
    assert not mistaken_too_often(found)
    assert found.missed <= 0.05
