"""Numbers as the page prints them."""

import math
import re

import numpy as np

from reports.spec import ReportSpec

SI = "si"
"""Shape of a number printed with a factor of a thousand as a letter."""


def decimals_of(spec: ReportSpec, metric: str) -> int:
    """Decimals of a metric: enough to tell rows apart, no more."""
    return next((decimals for start, decimals in spec.decimals.items() if metric.startswith(start)), 3)


def capitalised(text: str) -> str:
    """As a sentence begins."""
    return text[:1].upper() + text[1:]


def number(value: float | None, decimals: int) -> str:
    """`value` with a true minus sign; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    text = f"{value:.{decimals}f}"
    return "0" + text[2:] if float(text) == 0 and text.startswith("-") else text.replace("-", "−")


P_DECIMALS = 3
"""Of a p value."""


def p_text(p: float | None) -> str:
    """A p value, `0.042`; the smallest as `< 0.001`, since none is 0. Empty where there is none."""
    least = 10.0**-P_DECIMALS
    return f"< {least:.{P_DECIMALS}f}" if p is not None and p < least else number(p, P_DECIMALS)


def shaped(value: float, shape: str) -> str:
    """`value` by a format, or as three digits and a letter: 8.00 G."""
    if not math.isfinite(value):
        return ""
    if shape != SI:
        return shape.format(value)
    power = min(6, max(0, int(np.log10(value) // 3))) if value > 0 else 0
    return f"{value / 1000.0**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E'][power]}".strip()


def shown_unit(unit: str) -> str:
    """A unit as people read it: without the instrument that it may name behind a colon, as `points:mask` does.

    Another instrument's values are another metric, so that no two units that print alike share a column.
    """
    return unit.partition(":")[0]


def commits(text: str) -> str:
    """Commits with twelve digits each; names and `-dirty` are kept."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{1,52}\b", r"\1", text)
