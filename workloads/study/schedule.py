"""The course of a training: which of its steps are those of every longer training too. Standard library only.

`wsd` is warm-up, stable, decay: trainings of all budgets share the steps before their decay, and each pays its own
decay. With `constant` nothing decays. With `cosine` the rate of every step depends on how many there are.

Source: Hu et al. 2024, "MiniCPM" (arXiv:2404.06395); Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training
Beyond Fixed Training Durations" (arXiv:2405.18392), from which the default share and the form of the decay are.
"""

import math
from collections.abc import Mapping
from typing import Any

from workloads.study.sections import Training

OF_A_BUDGET = ("steps", "decay", "floor")
"""Keys of `training` that no step of the stable part depends on."""


def stable_steps(training: Mapping[str, Any]) -> int | None:
    """How many steps a longer training shares, the warm-up among them; None: none, as with cosine.

    Args:
        training: the section, as a job holds it.
    """
    steps = int(training["steps"])
    match training["schedule"]:
        case "wsd":
            share = float(training.get("decay", Training.decay))
            return steps - max(1, math.floor(share * steps + 1e-9))  # 0.29 * 100 is 28.999999999999996
        case "constant":
            return steps
    return None


def step_item(step: int) -> str:
    """The item of a job that is known by a number of steps; longer ones sort after it."""
    return f"{step:08d}"
