"""Spike rejection against its rule (study.md section 6)."""

import math

import pytest

from workloads.training.spikes import FROM_STEP, IN_A_ROW, LossMean, TrainingDiverged, judged, rejection


def test_the_mean_starts_at_the_first_finite_loss() -> None:
    taken, seen = judged(LossMean(), math.nan, 0, 15.0)
    assert not taken and seen.mean is None
    taken, seen = judged(seen, 4.0, 1, 15.0)
    assert taken and seen.mean == 4.0


def test_the_mean_forgets_with_factor_99_in_100() -> None:
    _, seen = judged(LossMean(mean=2.0), 1.0, 0, 15.0)
    assert seen.mean == 0.99 * 2.0 + 0.01 * 1.0


def test_a_loss_is_compared_with_the_mean_before_it_enters_it() -> None:
    # After its own update the mean would be 1.14, and 15.5 no spike any more.
    taken, _ = judged(LossMean(mean=1.0), 15.5, FROM_STEP, 15.0)
    assert not taken


def test_a_loss_of_exactly_the_ratio_is_taken() -> None:
    assert judged(LossMean(mean=1.0), 15.0, FROM_STEP, 15.0)[0]


@pytest.mark.parametrize(("step", "taken"), [(0, True), (FROM_STEP - 1, True), (FROM_STEP, False)])
def test_finite_spikes_are_rejected_from_step_100_on(step: int, taken: bool) -> None:
    assert judged(LossMean(mean=1.0), 1e6, step, 15.0)[0] is taken


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [0, 50, 500])
def test_a_loss_that_is_not_finite_is_rejected_at_any_step(loss: float, step: int) -> None:
    taken, seen = judged(LossMean(mean=1.0), loss, step, 15.0)
    assert not taken
    assert seen == LossMean(mean=1.0, rejected=1, in_a_row=1)


def test_a_rejected_loss_never_enters_the_mean() -> None:
    seen = LossMean(mean=1.0)
    for step in range(FROM_STEP, FROM_STEP + 20):
        taken, seen = judged(seen, 100.0, step, 15.0)
        assert not taken
    assert seen.mean == 1.0 and seen.rejected == 20


def test_an_accepted_step_ends_a_row_of_rejections_but_not_their_count() -> None:
    _, seen = judged(LossMean(mean=1.0, rejected=7, in_a_row=7), 1.0, FROM_STEP, 15.0)
    assert (seen.rejected, seen.in_a_row) == (7, 0)


def test_fifty_rejections_in_a_row_fail_the_job_and_say_what_to_change() -> None:
    seen = LossMean(mean=1.0)
    for step in range(IN_A_ROW - 1):
        _, seen = judged(seen, math.nan, step, 15.0)
    with pytest.raises(TrainingDiverged, match=r"50 steps in a row.*training\.rate"):
        judged(seen, math.nan, IN_A_ROW - 1, 15.0)
    with pytest.raises(TrainingDiverged):
        rejection(seen, "its gradient is not finite", IN_A_ROW - 1, 15.0)
