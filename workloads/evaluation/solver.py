"""The Euler solver's grid of noise levels (study.md sections 6 and 7)."""

import numpy as np
import numpy.typing as npt

from workloads.model.flow import sigma_from_uniform
from workloads.runtime.errors import BadInput


def sigma_grid(steps: int, shift: float) -> npt.NDArray[np.float32]:
    """Noise levels 1 = σ_0 > … > σ_steps = 0, (steps + 1,): equal steps in u, through training's shift.

    Raises:
        BadInput: fewer than one step.
    """
    if steps < 1:
        raise BadInput(f"controls.sampler.steps is {steps}; allowed: 1 and more")
    return np.array([sigma_from_uniform(1 - i / steps, shift) for i in range(steps + 1)], dtype=np.float32)
