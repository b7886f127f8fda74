"""Comparisons of the rows of a table, in pairs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reports.statistics.differences import differences
from reports.statistics.intervals import holm
from reports.statistics.panel import Panel
from reports.statistics.scores import headline
from reports.statistics.table import Table


def comparisons(table: Table, computed_by: Mapping[str, str], panels: Mapping[str, Panel]) -> list[dict[str, Any]]:
    """Every pair of rows on the first metric of each ranked branch's score.

    Paired difference, interval, p adjusted within table and metric. There may be tens of thousands.
    """
    found = []
    first, second = np.triu_indices(len(table.rows), 1)
    for branch in table.scoring.ranked:
        metric, _ = headline(table.scoring.of(branch), panels.keys())
        if metric not in panels:
            continue
        panel = panels[metric]
        values = panel.layouts[[panel.place[computed_by[row]] for row in table.rows]]
        pairs = differences(values, first, second)
        tested = pairs.tested
        effect, reach, p = pairs.estimates.mean[tested], pairs.reach[tested], pairs.estimates.p[tested]
        columns: dict[str, list[Any]] = {
            "a": [table.rows[i] for i in first[tested]],
            "b": [table.rows[i] for i in second[tested]],
            "effect": effect.tolist(),
            "low": (effect - reach).tolist(),
            "high": (effect + reach).tolist(),
            "p": p.tolist(),
            "p_adjusted": holm(p.tolist()),
            "scenes": pairs.scenes[tested].tolist(),
            "seeds": pairs.seeds[tested].tolist(),
            "dropped_scenes": pairs.dropped_scenes[tested].tolist(),
            "dropped_seeds": pairs.dropped_seeds[tested].tolist(),
        }
        names = ("metric", *columns)
        found += [dict(zip(names, (metric, *entry), strict=True)) for entry in zip(*columns.values(), strict=True)]
    return found
