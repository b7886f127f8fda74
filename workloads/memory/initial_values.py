"""Rules of initial values: how the parameters of a module start. `workloads/model/initial.py` draws them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor

Rule = Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[np.float32]]
"""How a parameter starts: its own generator and its shape in, its values out."""


def constant(value: float) -> Rule:
    """Every element starts at `value`."""
    return lambda generator, shape: np.full(shape, value, dtype=np.float32)


def given(values: Tensor) -> Rule:
    """Starts at `values`, whatever the seed."""
    return lambda generator, shape: values.detach().numpy().astype(np.float32).reshape(shape)


def uniform(bound: float) -> Rule:
    """Uniform between `-bound` and `bound`."""
    return lambda generator, shape: (2 * generator.random(shape, dtype=np.float32) - 1) * np.float32(bound)


def normal(deviation: float) -> Rule:
    """Normal around 0."""
    return lambda generator, shape: generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)


def xavier(parts: int = 1) -> Rule:
    """Xavier uniform of a linear map (out, in); a fused map of `parts` equal maps is drawn as that many."""
    return lambda generator, shape: uniform((6 / (shape[0] / parts + shape[1])) ** 0.5)(generator, shape)
