"""Quality against size: which rows no other one matches with less, and of which that is sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.analysis import Analysis
from reports.formats import decimals_of, number, shaped
from reports.spec import FrontierSpec
from reports.statistics.frontier import on_frontier, surely_on_frontier
from reports.statistics.intervals import ALPHA, Bools
from reports.statistics.pairs import row_pairs
from reports.statistics.sure_order import sure_order


@dataclass(frozen=True, kw_only=True)
class FrontierRow:
    """A row with its sizes and score."""

    row: str
    sizes: Mapping[str, float]
    mean: float
    low: float | None
    high: float | None
    on: Mapping[str, bool]
    """Size -> whether no other row matches it with less."""
    sure: Mapping[str, bool | None]
    """Size -> whether it surely is; None: that is open (`statistics.frontier.surely_on_frontier`)."""


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The rows, smallest first."""

    spec: FrontierSpec
    unit: str
    better: str
    """`high` or `low`."""
    rows: Sequence[FrontierRow]

    def printed(self, analysis: Analysis) -> list[tuple[str, list[str]]]:
        """(row, cells): its sizes, the score, half of its interval, and for each size whether it is on the frontier."""
        decimals = decimals_of(analysis.spec, self.spec.metric.split("/", 1)[1])
        found = []
        for one in self.rows:
            half = None if one.low is None or one.high is None else (one.high - one.low) / 2
            cells = [shaped(one.sizes[size.key], size.shape) for size in self.spec.sizes]
            cells += [number(one.mean, decimals), number(half, decimals)]
            for size in self.spec.sizes:
                sure = one.sure[size.key]
                cells += ["●" if one.on[size.key] else "", "" if sure is None else "sure" if sure else "surely not"]
            found.append((one.row, cells))
        return found


def frontier(analysis: Analysis) -> Frontier | None:
    """The frontier of the distinct rows of the main table's axes; None: undeclared, or under two rows have it all."""
    spec = analysis.spec.frontier
    spec = None if spec is None else replace(spec, metric=analysis.metric_of(spec.metric))
    panel = None if spec is None else analysis.panels.get(spec.metric)
    if spec is None or panel is None:
        return None
    suffix, means = analysis.main.partition("/")[2], analysis.means[spec.metric]
    sign = 1.0 if panel.better == "high" else -1.0
    rows = [
        row
        for row in analysis.rows
        if row.label == row.computed_by
        and not row.reference
        and row.label.partition("/")[2] == suffix
        and row.label in means
        and all(size.key in row.sizes for size in spec.sizes)
    ]
    if len(rows) < 2:
        return None
    labels = tuple(row.label for row in rows)
    scores = np.array([sign * means[label] for label in labels])
    order = None if panel.pooled else sure_order([row_pairs({label: sign * panel.layout(label) for label in labels})])
    on: dict[str, Bools] = {}
    sure: dict[str, list[bool | None]] = {}
    for size in spec.sizes:
        sizes = np.array([float(row.sizes[size.key]) for row in rows])
        on[size.key] = on_frontier(sizes, scores)
        sure[size.key] = [None] * len(rows) if order is None else surely_on_frontier(sizes, order.above[0] <= ALPHA)
    found = []
    for i, row in enumerate(rows):
        low, high = analysis.limits(spec.metric, row.label) or (None, None)
        found.append(
            FrontierRow(
                row=row.label,
                sizes={size.key: row.sizes[size.key] for size in spec.sizes},
                mean=means[row.label],
                low=low,
                high=high,
                on={key: bool(values[i]) for key, values in on.items()},
                sure={key: values[i] for key, values in sure.items()},
            )
        )
    found.sort(key=lambda one: (*one.sizes.values(), -sign * one.mean))
    return Frontier(spec=spec, unit=panel.unit, better=panel.better, rows=found)


def frontier_json(analysis: Analysis) -> dict[str, Any] | None:
    """The frontier as in report.json."""
    found = frontier(analysis)
    if found is None:
        return None
    return {"metric": found.spec.metric, "unit": found.unit, "rows": [dict(vars(one)) for one in found.rows]}
