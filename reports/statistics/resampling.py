"""Bootstrap over scenes and seeds.

Seeds are drawn jointly for all branches, since a row trained with one seed is the same network in all of them; scenes
separately for each branch, and jointly for its rows and metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reports.statistics.panel import Floats, Panel, divided

RESAMPLES = 2000
GENERATOR_SEED = 20260609
"""Fixed, so that a report of the same values has the same digits."""
AT_ONCE = 1 << 22
"""Weighted values in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Means of every row in every resample."""

    rows: tuple[str, ...]
    metrics: Mapping[str, Floats]
    """`branch/metric` -> (resamples, rows); NaN where a resample has no value."""

    def of(self, rows: tuple[str, ...]) -> "Draws":
        """The same draws for some rows, in the order given."""
        at = [self.rows.index(row) for row in rows]
        return Draws(rows=rows, metrics={name: values[:, at] for name, values in self.metrics.items()})


def resample(panels: Mapping[str, Panel], resamples: int = RESAMPLES) -> Draws | None:
    """Draw scenes and seeds with replacement and average again; None without case values."""
    if not panels:
        return None
    first = next(iter(panels.values()))
    generator = np.random.Generator(np.random.Philox(key=GENERATOR_SEED))
    seeds = _weights(generator, resamples, len(first.seeds))
    scenes: dict[str, Floats] = {}
    for name in sorted(panels):
        branch = name.split("/")[0]
        if not panels[name].pooled and branch not in scenes:
            scenes[branch] = _weights(generator, resamples, len(panels[name].scenes))
    metrics = {
        name: _means(panel, np.ones((resamples, 1)) if panel.pooled else scenes[name.split("/")[0]], seeds)
        for name, panel in panels.items()
    }
    return Draws(rows=first.rows, metrics=metrics)


def limits(values: Floats, level: float) -> tuple[float, float] | None:
    """Percentile interval of the finite values; None if fewer than half are finite."""
    finite = values[np.isfinite(values)]
    if finite.size * 2 < values.size or finite.size == 0:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weights(generator: np.random.Generator, resamples: int, units: int) -> Floats:
    return generator.multinomial(units, np.full(units, 1.0 / units), size=resamples).astype(np.float64)


def _means(panel: Panel, scenes: Floats, seeds: Floats) -> Floats:
    alike = (panel.count == panel.count[:1]).all()
    total = _weighted(panel.total, scenes, seeds)
    # Sums of whole numbers are exact: where all rows lack the same cells, one stands for all.
    count = _weighted(panel.count[:1] if alike else panel.count, scenes, seeds)
    return divided(total, count)


def _weighted(values: Floats, scenes: Floats, seeds: Floats) -> Floats:
    """(resamples, rows) of (rows, scenes, seeds), some rows at a time: in between, each has resamples × scenes."""
    count = max(1, AT_ONCE // (len(scenes) * values.shape[1]))
    parts = [values[i : i + count] for i in range(0, len(values), count)]
    return np.concatenate([np.einsum("ris,bi,bs->br", part, scenes, seeds, optimize=True) for part in parts], axis=1)
