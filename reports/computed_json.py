"""The computed part of report.json, and values as JSON can hold them."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from reports.analysis import Analysis
from reports.group_results import groups_json
from reports.statistics import table as tables
from reports.statistics.agreement_limits import limits_json
from reports.statistics.inversions import inversions_json


def computed_json(analysis: Analysis) -> dict[str, Any]:
    """The part of report.json that is computed; NaN still inside, `plain` makes it null."""
    rows: dict[str, dict[str, Any]] = {}
    for row in analysis.rows:
        rows[row.label] = {}
        for metric in analysis.means:
            shown = analysis.shown(metric, row.label)
            mean = shown.mean(metric, row.label)
            there, expected = shown.counted(metric, row.label) if metric in analysis.panels else (None, None)
            if mean is None and not analysis.panels:
                continue
            low, high = shown.limits(metric, row.label) or (None, None)
            rows[row.label][metric] = {
                "mean": mean,
                "low": low,
                "high": high,
                "n": there,
                "missing": None if there is None or expected is None else expected - there,
                **({} if (bounds := shown.bounds(metric, row.label)) is None else vars(bounds)),
                **({} if analysis.is_comparable(metric, row.label) else {"comparable": False}),
                **({} if (part := shown.part(metric, row.label)) is None else {"limits_of": asdict(part)}),
            }
    return {
        "rows": rows,
        "tables": {
            name: {
                **tables.as_json(table, analysis.comparisons[name]),
                **inversions_json(table, analysis.inversions[name]),
                **limits_json(table, analysis.agreement_limits[name]),
            }
            for name, table in analysis.tables.items()
        },
        "bounds": [row.label for row in analysis.rows if row.reference],
        "retained_gain": {row: gain.value for row, gain in analysis.gains.items()},
        "retained_gain_limits": {
            row: {"low": gain.low, "high": gain.high, "reason": gain.reason} for row, gain in analysis.gains.items()
        },
        "findings": list(analysis.findings),
        **groups_json(analysis),
        "cost": analysis.costs,
    }


_TEXT: frozenset[type] = frozenset({str})
_SCALARS: frozenset[type] = frozenset({str, int, bool, float, type(None)})


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: NaN and infinities become null, numpy numbers Python's."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, Mapping):
        # What is plain already is not there twice: there may be many.
        flat = kind is dict and _SCALARS.issuperset(map(type, value.values())) and _TEXT.issuperset(map(type, value))
        if flat and all(map(math.isfinite, [one for one in value.values() if type(one) is float])):
            return value
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None
