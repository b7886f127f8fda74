"""The time limit that a job asks SLURM for: short enough for backfill, never what the job may take at most. Pure.

SLURM begins a job ahead of its turn if its time limit fits before the jobs that come first. So a job asks for what
jobs like it have taken (95th percentile), and for what it needs beside. That is a guess. It must not cost a job its
result, so it is made from several measurements only, is doubled after each attempt that ran into its limit, and such
an ending is not counted as a retry. What the job may take (`minutes`) is never exceeded.
"""

import math
from collections.abc import Mapping

from orchestrator.backends.protocol import ExpectedTime, ExpectedWork
from orchestrator.backends.slurm.settings import RESERVED_GIB, PilotSettings
from orchestrator.spec.cell import Resources

ENOUGH = 5
"""Measured jobs from which on a limit is estimated."""
START_S = 60.0
"""For starting Python, fetching inputs and publishing the result."""
EARLY_S = 60.0
"""SLURM sends the signal ahead of the limit up to this much earlier than it is asked to (sbatch(1), `--signal`)."""
SIGNAL_SLACK_S = 30
"""Between the end of the grace period and the limit: for the job to record its end."""
PILOT_START_S = 60.0
"""For starting Ray and the warm server."""
RETIRE_SHARE = 0.1
"""Of a pilot job's time: at its end no further attempts are taken, for most would not end in it."""
SPREAD = 1.3
"""What a sum of estimated durations may be wrong by."""
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


def pilot_minutes(
    work: Mapping[tuple[str, Resources], ExpectedWork], pilot: PilotSettings, *, grace_s: float, cut_short: int
) -> float:
    """The time limit of the next pilot job: for its part of the work that is ready, at most `pilot.minutes`.

    Args:
        work: stage and size of jobs -> how much of it is ready.
        pilot: its size, and how many there may be at once.
        grace_s: between being asked to stop and being killed.
        cut_short: pilot jobs in which attempts were still running at their limit.
    """
    inside = {size: one for size, one in work.items() if pilot.stages is None or size[0] in pilot.stages}
    if not inside or any(one.observations < ENOUGH for one in inside.values()):
        return pilot.minutes
    node_s = sum(one.seconds / max(1, side_by_side(size, pilot)) for (_, size), one in inside.items())
    longest_s = max(one.longest_s for one in inside.values())
    busy_s = max(longest_s, node_s * SPREAD / pilot.nodes / pilot.allocations) * 2**cut_short
    seconds = (PILOT_START_S + busy_s + grace_s) / (1.0 - RETIRE_SHARE) + SIGNAL_SLACK_S + EARLY_S
    return min(pilot.minutes, rounded(seconds / 60))


def side_by_side(size: Resources, pilot: PilotSettings) -> int:
    """Jobs of a size that a node of a pilot job runs at once."""
    fits = [pilot.cpus // size.cpus, int((pilot.memory_gib - RESERVED_GIB) / size.memory_gib)]
    return min([*fits, *([pilot.devices // size.devices] if size.devices else [])])


def rounded(minutes: float) -> int:
    """Minutes, rounded up to one of `STEPS`."""
    step = next(step for up_to, step in STEPS if minutes <= up_to)
    return math.ceil(minutes / step) * step
