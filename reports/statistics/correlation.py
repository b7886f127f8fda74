r"""Limits of Pearson's r of two branches' scores over fixed rows, whose means are known with noise.

What is asked for is the r of the true means. Noise lowers the r of the measured ones, and where true r is ±1 its first
derivative vanishes, so that neither linearisation nor resampling holds. Instead every value $\rho$ is tested, and the
limits are the smallest and largest that are not rejected. With $u$ and $v$ the centred true means of unit length, $R$
rows, $a^2$ and $b^2$ the variance of the noise in any direction relative to the squared length of the means, $c$ its
covariance between the branches (a seed is one training for both), to second order

$$ E(\hat r) = \rho + c (R - 3 + \rho^2) - \tfrac{1}{2} \rho (a^2 + b^2)(R - 2) , $$
$$ V_1 = (1 - \rho^2)(a^2 + b^2 - 2 \rho c) , $$
$$ V_2 = (R - 2) \left( a^2 b^2 + c^2 + \tfrac{1}{2} \rho^2 (a^4 + b^4 + 2 c^2) - 2 \rho c (a^2 + b^2) \right) . $$

$V_1$ is not taken below what linearisation gives for the rows that are there (`linearised.py`), which is right also
where their noise differs or is shared; $V_2$ counts `SECOND_ORDER` times, since noise that is shared by rows has fewer
directions than $R - 2$, and since it is skewed. The quantile is Student's, with the degrees of freedom of the rows'
pooled scatter over seeds (`seed_scatter.py`); with one seed, of the linearised interval. The test is for means that are
well above their noise: where the noise is half of the measured spread of a branch or more, there are no limits.

Sources: second-order expansion, derived here; attenuation: Spearman (1904), American Journal of Psychology 15(1),
72-101. Measured: `docs/reference/calibration.md`.
"""

import numpy as np
from scipy.special import stdtrit

from reports.statistics.intervals import LEVEL, Limits, kind_of, variance_of_sum
from reports.statistics.panel import Floats
from reports.statistics.seed_scatter import seed_scatter

FEWEST_ROWS = 3
RELIABLE = 0.5
"""Share of the measured spread of a branch's scores that must not be noise."""
SECOND_ORDER = 4.0
"""Times that the second-order variance counts; found by simulation with noise that half of the rows share."""

TRIED = np.concatenate([[-1.0], np.tanh(np.linspace(-4.2, 4.2, 401)), [1.0]])
"""Values of r that are tested, finest near ±1, beside some around the measured one."""
AROUND = np.linspace(-3.0, 3.0, 301)
"""Distances of these from it, in half widths of the linearised interval."""


def pearson_limits(first: Floats, second: Floats, level: float = LEVEL) -> Limits:
    """Limits of r over the rows.

    Args:
        first: scores of the rows on one branch, (rows, scenes, seeds), no missing cells.
        second: on the other, (rows, its scenes, the same seeds).
        level: wanted coverage.
    """
    rows = len(first)
    if rows < FEWEST_ROWS:
        return Limits(reason=f"under {FEWEST_ROWS} rows")
    branches = [values - values.mean(axis=0) for values in (first, second)]
    means = [values.mean(axis=(1, 2)) for values in branches]
    lengths = [float(np.sqrt((mean**2).sum())) for mean in means]
    noise = [_noise(values) for values in branches]
    signal = [length**2 - (rows - 1) * v for length, v in zip(lengths, noise, strict=True)]
    if any(true <= RELIABLE * length**2 or length == 0 for true, length in zip(signal, lengths, strict=True)):
        return Limits(reason="the rows' scores differ by little more than their noise")
    u, v = (mean / length for mean, length in zip(means, lengths, strict=True))
    r = float(u @ v)
    weights = ((v - r * u) / lengths[0], (u - r * v) / lengths[1])
    parts = [np.tensordot(w, values, axes=1) for w, values in zip(weights, branches, strict=True)]
    linear, freedom = variance_of_sum(parts)
    scatter = seed_scatter([values.mean(axis=1) for values in branches])
    if scatter is not None:
        freedom = scatter.freedom
    a, b = (one / true for one, true in zip(noise, signal, strict=True))
    c = float(np.clip(_shared_noise(*branches) / np.sqrt(signal[0] * signal[1]), -np.sqrt(a * b), np.sqrt(a * b)))
    reach = float(stdtrit(freedom, 0.5 + level / 2))
    near = r + AROUND * reach * np.sqrt(max(linear, (1 - r**2) * (a + b)))
    rho = np.concatenate([TRIED, near[np.abs(near) <= 1]])
    expected = rho + c * (rows - 3 + rho**2) - rho * (a + b) * (rows - 2) / 2
    along = np.maximum(a + b - 2 * rho * c, linear / max(1 - r**2, 1e-9))
    curved = a * b + c**2 + rho**2 / 2 * (a**2 + b**2 + 2 * c**2) - 2 * rho * c * (a + b)
    variance = (1 - rho**2) * along + SECOND_ORDER * (rows - 2) * np.maximum(curved, 0.0)
    kept = rho[np.abs(r - expected) <= reach * np.sqrt(variance) + 1e-9]
    if not kept.size:
        return Limits(reason="no value agrees with the noise that was measured")
    return Limits(low=float(min(kept.min(), r)), high=float(max(kept.max(), r)), kind=kind_of(first.shape[-1]))


def _noise(centred: Floats) -> float:
    """Variance of the measured means in any one direction of the rows, from their scenes and seeds."""
    rows, scenes, seeds = centred.shape
    by_scene, by_seed = centred.mean(axis=2), centred.mean(axis=1)
    mean = centred.mean(axis=(1, 2))[:, None]
    total = float(((by_scene - mean) ** 2).sum()) / ((scenes - 1) * scenes)
    if seeds > 1:
        rest = centred - by_scene[:, :, None] - by_seed[:, None, :] + mean[:, :, None]
        total += float(((by_seed - mean) ** 2).sum()) / ((seeds - 1) * seeds)
        total -= float((rest**2).sum()) / ((scenes - 1) * (seeds - 1) * scenes * seeds)
    return float(max(0.0, total / (rows - 1)))


def _shared_noise(first: Floats, second: Floats) -> float:
    """Covariance of the noise of two branches in any one direction of the rows, through their seeds; 0 for one seed."""
    seeds = first.shape[-1]
    if seeds == 1:
        return 0.0
    a, b = (values.mean(axis=1) - values.mean(axis=(1, 2))[:, None] for values in (first, second))
    return float((a * b).sum() / ((seeds - 1) * seeds * (len(first) - 1)))
