r"""Branch scores of rows as layouts of scenes × seeds, so that they have intervals and paired differences.

A score of one metric is its layout already. A bundle is a mean of min-max normalised metrics, $s_i = (x_i - l)/(h - l)$
with $l$ and $h$ the means of the worst and the best row. It is linearised at the means (`linearised`):

$$ S_i = s_i + \frac{(X_i - x_i) - (X_l - l) - s_i\,[(X_h - h) - (X_l - l)]}{h - l} $$

The row that is best, or worst, in every part has a bundle of 1, or 0, by definition, and no uncertainty.
"""

from collections.abc import Mapping

import numpy as np

from reports.statistics.linearised import BranchLayouts
from reports.statistics.panel import Floats
from reports.statistics.scores import score_parts


def score_layouts(found: BranchLayouts, branch: str) -> Mapping[str, Floats]:
    """Row -> (scenes, seeds) whose mean is its score on the branch, higher is better."""
    own = found.layouts[found.branches.index(branch)]  # (parts, rows, scenes, seeds)
    parts = score_parts(found.scoring.of(branch), found.parts[branch])
    signed = [values if better == "high" else -values for values, (_, better) in zip(own, parts, strict=True)]
    total: Floats = signed[0] if len(signed) == 1 else np.mean([_normalised(values) for values in signed], axis=0)
    return dict(zip(found.rows, total, strict=True))


def _normalised(values: Floats) -> Floats:
    """Linearised min-max over the rows, (rows, scenes, seeds); equal rows have 0.5."""
    means = values.mean(axis=(1, 2))
    worst, best = int(means.argmin()), int(means.argmax())
    span = float(means[best] - means[worst])
    if span <= 0.0:
        return np.full(values.shape, 0.5)
    place = ((means - means[worst]) / span)[:, None, None]
    centred = values - means[:, None, None]
    moved: Floats = place + (centred - centred[worst] - place * (centred[best] - centred[worst])) / span
    return moved
