r"""Signal to noise of a metric: how far rows are apart, in units of how far trainings of one row are.

Scores $y_{ris}$ of $R$ rows, $I$ scenes and $S$ seeds, all random effects. What all rows have in common in a scene or a
seed cancels in every comparison and is neither. With the mean squares $M$ of rows, rows × scenes, rows × seeds and the
rest, whose expectations are

$$ E M_R = \sigma^2_{RIS} + S \sigma^2_{RI} + I \sigma^2_{RS} + I S \sigma^2_R, \quad
   E M_{RI} = \sigma^2_{RIS} + S \sigma^2_{RI}, \quad E M_{RS} = \sigma^2_{RIS} + I \sigma^2_{RS}, \quad
   E M_{RIS} = \sigma^2_{RIS}, $$

the spread over rows, with the noise of scenes and seeds subtracted, and the spread of one row's score over seeds are

$$ \hat\sigma^2_R = \frac{M_R - M_{RI} - M_{RS} + M_{RIS}}{I S}, \qquad
   \hat\sigma^2_{seed} = \frac{M_{RS}}{I} . $$

Their ratio $\hat\sigma_R / \hat\sigma_{seed}$ has no unit: a metric with 0.5 needs many seeds to order rows that one
with 5 orders in one. It is 0 where the rows differ by no more than noise would make them. With one seed there is none.

Reference: Searle, Casella & McCulloch (1992), Variance Components, chapter 4 (estimators by mean squares).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import TINY, complete
from reports.statistics.panel import Floats


@dataclass(frozen=True, kw_only=True)
class SignalToNoise:
    """Spread of the rows against spread of the seeds, both in the metric's unit."""

    ratio: float
    over_rows: float
    """Standard deviation of the rows' scores, noise subtracted."""
    over_seeds: float
    """Standard deviation of one row's score from seed to seed."""
    rows: int
    scenes: int
    seeds: int


def signal_to_noise(layouts: Sequence[Floats]) -> SignalToNoise | None:
    """The signal to noise of a metric.

    None with under two rows or seeds, or where a row's score is the same in every seed.

    Args:
        layouts: (scenes, seeds) of each row; scenes that a row lacks are left out, and so is a row without a seed.
    """
    whole = [layout for layout in layouts if np.isfinite(layout).any(axis=0).all()]
    if len(whole) < 2:
        return None
    values = np.stack(complete(whole).layouts)
    rows, scenes, seeds = values.shape
    if seeds < 2 or not scenes:
        return None
    of_row = values.mean(axis=(1, 2), keepdims=True) - values.mean()
    in_scene = values.mean(axis=2, keepdims=True) - values.mean(axis=(0, 2), keepdims=True) - of_row
    in_seed = values.mean(axis=1, keepdims=True) - values.mean(axis=(0, 1), keepdims=True) - of_row
    rest = values - values.mean(axis=0, keepdims=True) - of_row - in_scene - in_seed
    of_seeds = scenes * float((in_seed**2).sum()) / ((rows - 1) * (seeds - 1))
    of_rows = scenes * seeds * float((of_row**2).sum()) / (rows - 1)
    of_scenes, of_rest = 0.0, 0.0
    if scenes > 1:
        of_scenes = seeds * float((in_scene**2).sum()) / ((rows - 1) * (scenes - 1))
        of_rest = float((rest**2).sum()) / ((rows - 1) * (scenes - 1) * (seeds - 1))
    over_rows = math.sqrt(max(0.0, (of_rows - of_scenes - of_seeds + of_rest) / (scenes * seeds)))
    over_seeds = math.sqrt(of_seeds / scenes)
    if over_seeds <= TINY * max(float(np.abs(values).max()), TINY):
        return None
    return SignalToNoise(
        ratio=over_rows / over_seeds,
        over_rows=over_rows,
        over_seeds=over_seeds,
        rows=rows,
        scenes=scenes,
        seeds=seeds,
    )
