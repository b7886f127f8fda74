"""False verdicts in simulated worlds: what is true of a world, and how rarely findings say otherwise."""

from dataclasses import replace

import pytest

from reports.statistics.calibration.quantities import Rate
from reports.statistics.calibration.run import calibrate
from reports.statistics.calibration.worlds import CalibrationWorld, draw
from workloads.study.calibration import ANY, PREFIX, ROWS, WORLDS, markdown, right_verdicts, too_often, verdicts_of

EQUAL = CalibrationWorld(name="equal rows", rows=len(ROWS), truth="equal rows", noise=0.02, scenes=(8, 8))


def test_of_equal_rows_only_reading_and_efficiency_have_a_true_verdict() -> None:
    true = right_verdicts(draw(EQUAL, 0))
    assert {name for name, verdicts in true.items() if verdicts} == {"4", "6"}
    assert (true["4"], true["6"]) == (frozenset({"supported"}), frozenset({"contradicted"}))


def test_branches_that_order_rows_alike_contradict_that_they_rank_differently() -> None:
    true = right_verdicts(draw(replace(EQUAL, name="parallel", truth="r = 1"), 0))
    assert true["1"] == frozenset({"contradicted"})
    unrelated = right_verdicts(draw(replace(EQUAL, name="unrelated", truth="unrelated"), 0))
    assert unrelated["1"] == frozenset({"supported"})


def test_where_little_is_noise_no_verdict_is_false_and_no_effect_is_supported() -> None:
    found = {rate.quantity: rate for rate in calibrate([EQUAL], 4, asked=verdicts_of)}
    assert (found[ANY].studies, found[ANY].missed) == (4, 0)
    assert (found["finding 4"].printed, found["finding 4"].missed) == (4, 0)
    assert found["finding 5"].printed == 0
    table = markdown(list(found.values()))
    assert table.startswith("| world | some verdict | finding 1 |")
    assert "| equal rows | 0.0 | – | – | – | 0 of 4 |" in table


@pytest.mark.parametrize(("missed", "often"), [(0, False), (28, False), (29, True)])
def test_more_than_one_study_in_twenty_is_too_many_beyond_chance(missed: int, often: bool) -> None:
    rate = Rate(world="a", quantity=ANY, studies=400, printed=400, missed=missed)
    assert too_often(rate) is often
    assert ("**7.2**" in markdown([rate])) is often


def test_the_worlds_have_two_three_and_five_seeds_and_are_told_apart() -> None:
    assert {world.seeds for world in WORLDS} == {2, 3, 5}
    assert len({world.name for world in WORLDS}) == len(WORLDS) >= 12
    assert all(world.name.startswith(PREFIX) for world in WORLDS)
    with pytest.raises(ValueError, match="a study has 3 rows; the findings need 13"):
        list(verdicts_of(draw(replace(EQUAL, rows=3), 0)))


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_false_verdicts_of_all_findings_together_are_few(world: CalibrationWorld) -> None:
    assert not [rate for rate in calibrate([world], 100, asked=verdicts_of) if too_often(rate)]
