r"""Spike rejection: which steps of a training are taken, and when it has diverged; pure functions of the losses seen.

The loss is the mean over the global batch, equal on all ranks, so all ranks decide alike without
asking each other. Its running mean starts at the first finite loss,

$$ m \leftarrow 0.99\, m + 0.01\, L $$

and is tested from step 100 on, before it is updated. A rejected loss never enters it, or one spike
would make room for the next.

A training has diverged, and fails, as soon as more steps were rejected than `training.rejected_share` of all its steps
allows, or `IN_A_ROW` one after the other.

Source: study.md section 6.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from workloads.contract.stage import CountCheck
from workloads.runtime.errors import Diverged
from workloads.study.sections import Training

FACTOR = 0.99
"""Of the running mean."""
FROM_STEP = 100
"""First step, counted from 0, whose loss is compared with the mean: earlier ones fall fast by themselves."""
IN_A_ROW = 50
"""Rejected steps in a row that fail the job."""


class TrainingDiverged(Diverged):
    """So many steps were rejected that what is left is no training of these steps."""


@dataclass(frozen=True, kw_only=True)
class StepLimits:
    """What decides whether a step is taken and whether a training may go on."""

    ratio: float
    """`training.spike_ratio`."""
    steps: int
    """Of the whole training."""
    share: float
    """`training.rejected_share`."""

    @staticmethod
    def of(training: Mapping[str, Any], steps: int) -> "StepLimits":
        """The limits of a training of `steps` steps; `training` is its section, as its job holds it."""
        share = float(training.get("rejected_share", Training.rejected_share))
        return StepLimits(ratio=float(training["spike_ratio"]), steps=steps, share=share)

    @property
    def most(self) -> int:
        """Steps that may be rejected."""
        return CountCheck.allowed(self.share, self.steps)


@dataclass(frozen=True, kw_only=True)
class LossMean:
    """What spike rejection remembers; part of a checkpoint."""

    mean: float | None = None
    """Running mean of the accepted losses; None before the first finite one."""
    rejected: int = 0
    """Steps rejected so far."""
    in_a_row: int = 0
    """Steps rejected since the last accepted one."""
    first: str = ""
    """The first rejected step and why; empty: none was, or by code from before this was kept."""


def judged(seen: LossMean, loss: float, step: int, limits: StepLimits) -> tuple[bool, LossMean]:
    """Whether step `step` (from 0) with global mean loss `loss` is taken, and what is remembered after it.

    Raises:
        TrainingDiverged: more steps are rejected than `limits` allows.
    """
    spike = not math.isfinite(loss)
    if not spike and seen.mean is not None and step >= FROM_STEP:
        spike = loss > limits.ratio * seen.mean
    if not spike:
        mean = loss if seen.mean is None else FACTOR * seen.mean + (1.0 - FACTOR) * loss
        return True, replace(seen, mean=mean, in_a_row=0)
    return False, rejection(seen, f"its loss is {loss:.4g}, {_words(seen.mean)}", step, limits)


def _words(mean: float | None) -> str:
    return "no loss was finite before" if mean is None else f"the mean so far {mean:.4g}"


def rejection(seen: LossMean, why: str, step: int, limits: StepLimits) -> LossMean:
    """What is remembered after step `step` (from 0), which was not taken.

    Raises:
        TrainingDiverged: more steps are rejected than `limits` allows.
    """
    after = replace(
        seen,
        rejected=seen.rejected + 1,
        in_a_row=seen.in_a_row + 1,
        first=seen.first or f"step {step + 1}: {why}",
    )
    check_rejected(after, limits)
    if after.in_a_row >= IN_A_ROW:
        raise TrainingDiverged(
            f"{IN_A_ROW} steps in a row were rejected, up to step {step + 1} of {limits.steps}; "
            f"the first of all was {after.first}"
        )
    return after


def check_rejected(seen: LossMean, limits: StepLimits) -> None:
    """Refuse to go on where more steps were rejected than a training allows, perhaps by a longer one that it continues.

    Raises:
        TrainingDiverged: with how many.
    """
    if seen.rejected > limits.most:
        share = seen.rejected / limits.steps
        raise TrainingDiverged(
            f"{seen.rejected} of {limits.steps} steps were rejected ({share:.1%}); allowed: {limits.most} "
            f"(controls.training.rejected_share {limits.share:g}); the first was {seen.first}"
        )


def remedies(training: Mapping[str, Any]) -> str:
    """What to change in a training that diverged, with the values that it had."""
    clip = training["clip"]
    found = [
        f"lower controls.training.rate ({training['rate']:g})",
        f"raise warmup_steps ({training['warmup_steps']})",
        "set clip (null), e.g. to 1.0" if clip is None else f"lower clip ({clip:g})",
    ]
    if training["precision"] != "float32":
        found.append(f"use precision float32 ({training['precision']})")
    return f"try: {', '.join(found)}"
