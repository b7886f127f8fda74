"""The time limit that a job asks SLURM for: short enough for backfill, never what the job may take at most. Pure.

SLURM begins a job ahead of its turn if its time limit fits before the jobs that come first. So a job asks for what
jobs like it have taken (95th percentile), and for what it needs beside. That is a guess. It must not cost a job its
result, so it is made from several measurements only, is doubled after each attempt that ran into its limit, and such
an ending is not counted as a retry. What the job may take (`minutes`) is never exceeded.
"""

import math

from orchestrator.backends.protocol import ExpectedTime

ENOUGH = 5
"""Measured jobs from which on a limit is estimated."""
START_S = 60.0
"""For starting Python, fetching inputs and publishing the result."""
EARLY_S = 60.0
"""SLURM sends the signal ahead of the limit up to this much earlier than it is asked to (sbatch(1), `--signal`)."""
SIGNAL_SLACK_S = 30
"""Between the end of the grace period and the limit: for the job to record its end."""
STEPS = ((10, 1), (60, 5), (240, 15), (math.inf, 60))
"""Up to so many minutes -> multiples to which limits are rounded up, so that jobs that differ little share an array."""


def estimated_minutes(expected: ExpectedTime | None, *, least: float | None, most: float, grace_s: float) -> int | None:
    """The time limit of a job in minutes; None: what it may take, since no shorter one is known to do.

    Args:
        expected: how long it is expected to take.
        least: no less is asked for, minutes.
        most: what an attempt of the job may take, minutes.
        grace_s: between being asked to stop and being killed.
    """
    if expected is None or expected.observations < ENOUGH:
        return None
    seconds = expected.seconds * 2**expected.timeouts + START_S + grace_s + SIGNAL_SLACK_S + EARLY_S
    minutes = rounded(max(seconds / 60, least or 0.0))
    return minutes if minutes < most else None


def rounded(minutes: float) -> int:
    """Minutes, rounded up to one of `STEPS`."""
    step = next(step for up_to, step in STEPS if minutes <= up_to)
    return math.ceil(minutes / step) * step
