r"""Spike rejection: which steps of a training are taken, as a pure function of the losses seen.

The loss is the mean over the global batch, equal on all ranks, so all ranks decide alike without
asking each other. Its running mean starts at the first finite loss,

$$ m \leftarrow 0.99\, m + 0.01\, L $$

and is tested from step 100 on, before it is updated. A rejected loss never enters it, or one spike
would make room for the next.

Source: study.md section 6.
"""

import math
from dataclasses import dataclass, replace

FACTOR = 0.99
"""Of the running mean."""
FROM_STEP = 100
"""First step, counted from 0, whose loss is compared with the mean: earlier ones fall fast by themselves."""
IN_A_ROW = 50
"""Rejected steps in a row that fail the job."""


class TrainingDiverged(Exception):
    """So many steps in a row were rejected that the training will not come back by itself."""


@dataclass(frozen=True, kw_only=True)
class LossMean:
    """What spike rejection remembers; part of a checkpoint."""

    mean: float | None = None
    """Running mean of the accepted losses; None before the first finite one."""
    rejected: int = 0
    """Steps rejected so far."""
    in_a_row: int = 0
    """Steps rejected since the last accepted one."""


def judged(seen: LossMean, loss: float, step: int, ratio: float) -> tuple[bool, LossMean]:
    """Whether step `step` (from 0) with global mean loss `loss` is taken, and what is remembered after it.

    Args:
        ratio: a loss above `ratio` times the running mean is a spike.

    Raises:
        TrainingDiverged: this is the 50th rejected step in a row.
    """
    spike = not math.isfinite(loss)
    if not spike and seen.mean is not None and step >= FROM_STEP:
        spike = loss > ratio * seen.mean
    if not spike:
        mean = loss if seen.mean is None else FACTOR * seen.mean + (1.0 - FACTOR) * loss
        return True, replace(seen, mean=mean, in_a_row=0)
    return False, rejection(seen, f"its loss is {loss!r}, the running mean {seen.mean!r}", step, ratio)


def rejection(seen: LossMean, why: str, step: int, ratio: float) -> LossMean:
    """What is remembered after a step that was not taken.

    Raises:
        TrainingDiverged: this is the 50th rejected step in a row.
    """
    after = replace(seen, rejected=seen.rejected + 1, in_a_row=seen.in_a_row + 1)
    if after.in_a_row >= IN_A_ROW:
        raise TrainingDiverged(
            f"{IN_A_ROW} steps in a row were rejected, the last is step {step}: {why}; allowed: finite losses and "
            f"gradients, and a loss of at most {ratio:g} times the mean; lower training.rate or lengthen "
            "training.warmup_steps"
        )
    return after
