"""Agreement of every pair of branches, and of the instruments that score the same cases."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from reports.analysis import Analysis
from reports.formats import number
from reports.instruments import InstrumentAgreement
from reports.spec import ReportSpec
from reports.statistics import table as tables


def lines(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """(table, [r, rho, tau of every pair of branches, with their limits])."""
    found = []
    for name, table in analysis.tables.items():
        between = analysis.agreement_limits[name]
        cells = []
        for pair, values in zip(table.scoring.pairs, tables.agreement(table).values(), strict=True):
            own = between[pair]
            for key, limits in (("pearson", own.pearson), ("spearman", own.spearman), ("kendall", own.kendall)):
                low, high = number(limits.low, 2), number(limits.high, 2)
                value = number(values[key], 2)
                cells.append(f"{value} ({low} to {high})" if value and low and high else value)
        found.append((name, cells))
    return found


def limits_notes(analysis: Analysis) -> list[str]:
    """Why a correlation has no limits, or of which scenes and seeds those of r are where some were left out."""
    found = []
    for name, table in analysis.tables.items() if analysis.panels else ():
        values = tables.agreement(table)
        for (a, b), own in analysis.agreement_limits[name].items():
            letters = {"r": ("pearson", own.pearson), "ρ": ("spearman", own.spearman), "τ": ("kendall", own.kendall)}
            reasons = [
                f"no limits of {letter}: {limits.reason}"
                for letter, (key, limits) in letters.items()
                if limits.reason and np.isfinite(values[f"{a}~{b}"][key])
            ]
            if own.block and not own.pearson.reason:
                reasons.append(own.block)
            if reasons:
                found.append(f"{name}, {a} and {b}: {'; '.join(reasons)}")
    return found


def instruments_caption(spec: ReportSpec, judged: Sequence[InstrumentAgreement]) -> Markup:
    """The caption with the leading instrument's name."""
    if spec.instruments is None or not judged:
        return Markup("")
    return Markup(spec.instruments.caption).format(leading=Markup("<code>{}</code>").format(judged[0].a))
