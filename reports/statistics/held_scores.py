"""The score of rows by scene and seed, with the ranges of a bundle held at those of a table.

A bundle is normalised over the rows of its table, so that its values by scene are defined once the table's ranges are:
held there, it is a mean over scenes and seeds like any metric, and differences of rows can be tested.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from reports.statistics.panel import Floats, Panel
from reports.statistics.scores import score_parts
from reports.statistics.table import Table


def held_scores(
    table: Table, branch: str, rows: Sequence[str], panels: Mapping[str, Panel]
) -> dict[str, Floats] | None:
    """Row -> (scenes, seeds), higher is better, NaN is missing; None: the score has no values by scene.

    Args:
        table: whose ranges are held.
        branch: whose score is wanted.
        rows: of the panels; they need not be in the table.
        panels: by `branch/metric`.
    """
    parts = score_parts(table.scoring.of(branch), panels.keys())
    if not parts or any(name not in panels or panels[name].pooled for name, _ in parts):
        return None
    total: dict[str, Floats] = {}
    for name, better in parts:
        scale = 1.0 if better == "high" else -1.0
        if len(parts) > 1:
            values = table.metrics[name]
            if not np.isfinite(values).any():
                return None
            spread = float(np.nanmax(values) - np.nanmin(values))
            scale /= (spread if spread > 0 else 1.0) * len(parts)
        for row in rows:
            layout = panels[name].layout(row) * scale
            total[row] = total[row] + layout if row in total else layout
    return total
