"""Rectified flow: straight lines between data and noise (study.md section 6).

$z = (1 - \\sigma) x_0 + \\sigma \\epsilon$ with target $v = \\epsilon - x_0$, so that an Euler step is
$z + v\\,(\\sigma' - \\sigma)$. The shift moves noise levels towards 1; training and sampler use the same.
"""

from typing import TypeVar

from torch import Tensor

Level = TypeVar("Level", Tensor, float)


def sigma_from_uniform(u: Level, shift: float) -> Level:
    """Noise level of a uniform number: s u / (1 + (s - 1) u). Keeps 0 and 1."""
    return shift * u / (1 + (shift - 1) * u)


def noised(x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """Data `x0` (b, ...) and noise `eps` at level `sigma` (b,)."""
    level = sigma.view(-1, *[1] * (x0.dim() - 1))
    return (1 - level) * x0 + level * eps


def velocity(x0: Tensor, eps: Tensor) -> Tensor:
    """What the model learns to say: noise minus data."""
    return eps - x0
