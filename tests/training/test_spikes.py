"""Spike rejection against its rule (study.md section 6)."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.training.spikes import (
    FROM_STEP,
    IN_A_ROW,
    LossMean,
    StepLimits,
    TrainingDiverged,
    judged,
    rejection,
    remedies,
)

LIMITS = StepLimits(ratio=15.0, steps=100_000, share=1.0)
"""Limits under which only a row of rejections ends a training."""


def test_the_mean_starts_at_the_first_finite_loss() -> None:
    taken, seen = judged(LossMean(), math.nan, 0, LIMITS)
    assert not taken and seen.mean is None
    taken, seen = judged(seen, 4.0, 1, LIMITS)
    assert taken and seen.mean == 4.0


def test_the_mean_forgets_with_factor_99_in_100() -> None:
    _, seen = judged(LossMean(mean=2.0), 1.0, 0, LIMITS)
    assert seen.mean == 0.99 * 2.0 + 0.01 * 1.0


def test_a_loss_is_compared_with_the_mean_before_it_enters_it() -> None:
    # After its own update the mean would be 1.14, and 15.5 no spike any more.
    taken, _ = judged(LossMean(mean=1.0), 15.5, FROM_STEP, LIMITS)
    assert not taken


def test_a_loss_of_exactly_the_ratio_is_taken() -> None:
    assert judged(LossMean(mean=1.0), 15.0, FROM_STEP, LIMITS)[0]


@pytest.mark.parametrize(("step", "taken"), [(0, True), (FROM_STEP - 1, True), (FROM_STEP, False)])
def test_finite_spikes_are_rejected_from_step_100_on(step: int, taken: bool) -> None:
    assert judged(LossMean(mean=1.0), 1e6, step, LIMITS)[0] is taken


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [0, 50, 500])
def test_a_loss_that_is_not_finite_is_rejected_at_any_step(loss: float, step: int) -> None:
    taken, seen = judged(LossMean(mean=1.0), loss, step, LIMITS)
    assert not taken
    first = f"step {step + 1}: its loss is {loss:.4g}, the mean so far 1"
    assert seen == LossMean(mean=1.0, rejected=1, in_a_row=1, first=first)


def test_a_rejected_loss_never_enters_the_mean() -> None:
    seen = LossMean(mean=1.0)
    for step in range(FROM_STEP, FROM_STEP + 20):
        taken, seen = judged(seen, 100.0, step, LIMITS)
        assert not taken
    assert seen.mean == 1.0 and seen.rejected == 20


def test_an_accepted_step_ends_a_row_of_rejections_but_not_their_count() -> None:
    _, seen = judged(LossMean(mean=1.0, rejected=7, in_a_row=7), 1.0, FROM_STEP, LIMITS)
    assert (seen.rejected, seen.in_a_row) == (7, 0)


def test_fifty_rejections_in_a_row_fail_the_job_and_say_where_it_began() -> None:
    seen = LossMean(mean=1.0)
    for step in range(IN_A_ROW - 1):
        _, seen = judged(seen, math.nan, step, LIMITS)
    words = (
        r"^50 steps in a row were rejected, up to step 50 of 100000; the first of all was step 1: its loss is nan, the "
        r"mean so far 1$"
    )
    with pytest.raises(TrainingDiverged, match=words):
        judged(seen, math.nan, IN_A_ROW - 1, LIMITS)
    with pytest.raises(TrainingDiverged):
        rejection(seen, "its gradient is not finite", IN_A_ROW - 1, LIMITS)


@pytest.mark.parametrize(("steps", "share", "most"), [(16, 0.1, 1), (9, 0.1, 0), (100, 0.29, 29), (8, 0.0, 0)])
def test_one_rejection_more_than_the_share_of_all_steps_fails_the_job(steps: int, share: float, most: int) -> None:
    limits, seen = StepLimits(ratio=15.0, steps=steps, share=share), LossMean(mean=1.0)
    for step in range(most):
        _, seen = judged(seen, math.nan if step % 2 else math.inf, step, limits)
        _, seen = judged(seen, 1.0, step, limits)
    words = (
        rf"^{most + 1} of {steps} steps were rejected \({(most + 1) / steps:.1%}\); allowed: {most} "
        rf"\(controls\.training\.rejected_share {share:g}\); the first was step 1: its (loss|gradient's norm) is"
    )
    with pytest.raises(TrainingDiverged, match=words):
        rejection(seen, "its gradient's norm is nan", 0, limits)


def test_a_section_without_the_share_has_its_default() -> None:
    assert StepLimits.of({"spike_ratio": 15.0}, 16).most == 1
    assert StepLimits.of({"spike_ratio": 15.0, "rejected_share": 0.5}, 16).most == 8


def test_what_to_try_names_the_values_that_the_training_had() -> None:
    training = {"rate": 1e6, "warmup_steps": 2, "clip": 1.0, "precision": "float32"}
    expected = "try: lower controls.training.rate (1e+06), raise warmup_steps (2), lower clip (1)"
    assert remedies(training) == expected
    other = remedies({**training, "clip": None, "precision": "bfloat16"})
    assert "set clip (null), e.g. to 1.0, use precision float32 (bfloat16)" in other


LOSSES = st.lists(
    st.one_of(st.floats(0, 1e6), st.floats(0.5, 2.0), st.sampled_from([math.nan, math.inf, -math.inf])), max_size=120
)


def run(losses: list[float], ratio: float, start: int) -> list[tuple[float, LossMean, bool, LossMean]]:
    """Loss, what was remembered before it, whether it was taken, what is remembered after it; up to divergence."""
    seen, told = LossMean(), []
    for step, loss in enumerate(losses, start):
        try:
            taken, after = judged(seen, loss, step, replace(LIMITS, ratio=ratio))
        except TrainingDiverged:
            break
        told.append((loss, seen, taken, after))
        seen = after
    return told


@given(LOSSES, st.floats(1.5, 20), st.integers(0, 150))
def test_the_mean_is_that_of_the_taken_losses_alone(losses: list[float], ratio: float, start: int) -> None:
    told = run(losses, ratio, start)
    taken = [loss for loss, _, took, _ in told if took]
    assert all(math.isfinite(loss) for loss in taken)
    mean = None
    for loss in taken:
        mean = loss if mean is None else 0.99 * mean + 0.01 * loss
    if told:
        assert told[-1][3].mean == (mean if mean is None else pytest.approx(mean))
        assert told[-1][3].rejected == len(told) - len(taken)


@given(LOSSES, st.floats(1.5, 20), st.integers(0, 150))
def test_a_finite_loss_is_rejected_exactly_above_the_ratio_from_step_100_on(
    losses: list[float], ratio: float, start: int
) -> None:
    for step, (loss, before, taken, _) in enumerate(run(losses, ratio, start), start):
        if math.isfinite(loss):
            spike = step >= 100 and before.mean is not None and loss > ratio * before.mean
            assert taken is not spike
        else:
            assert not taken


@given(LOSSES, st.floats(1.5, 20), st.integers(0, 150))
def test_a_training_goes_on_exactly_until_fifty_rejections_in_a_row(
    losses: list[float], ratio: float, start: int
) -> None:
    told = run(losses, ratio, start)
    streak = 0
    for _, _, taken, after in told:
        streak = 0 if taken else streak + 1
        assert after.in_a_row == streak < 50
    if len(told) < len(losses):
        assert streak == 49


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=60), st.floats(1.5, 20))
def test_rejected_losses_leave_no_trace_in_what_follows(losses: list[float], ratio: float) -> None:
    told = run(losses, ratio, 100)
    kept = [loss for loss, _, taken, _ in told if taken]
    again = run(kept, ratio, 100)
    assert all(taken for _, _, taken, _ in again)
    assert again[-1][3].mean == told[-1][3].mean
