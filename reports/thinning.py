"""Thinned curves: fewer points, each a mean."""

import math
from dataclasses import replace

from reports.input import Curve

DIGITS = 4
"""Significant digits of the values."""


def thinned(curve: Curve, most: int) -> Curve:
    """The curve with at most `most` points, means over equal parts, at their last steps."""
    width = -(-len(curve.steps) // most) or 1
    parts = [slice(i, i + width) for i in range(0, len(curve.steps), width)]
    means = [sum(curve.values[part]) / len(curve.values[part]) for part in parts]
    return replace(
        curve,
        steps=[curve.steps[part][-1] for part in parts],
        values=[float(f"{mean:.{DIGITS}g}") if math.isfinite(mean) else math.nan for mean in means],
    )
