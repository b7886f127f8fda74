"""Differences of named rows, paired by scene and seed: what findings 3 to 5 are about."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.findings import Answer, Material
from reports.statistics.contrasts import BranchContrast, Contrasted, contrasted
from reports.statistics.scores import headline


def return_score(material: Material) -> str:
    """The return score: the judge's total of cases that left; of published values, which have no gate, of all."""
    return headline(material.table.scoring.of("return"), material.means.keys())[0]


def difference(material: Material, metric: str, pairs: Sequence[tuple[str, str]]) -> tuple[Answer, Contrasted | None]:
    """Mean of A − B over `pairs`, paired by scene and seed, without p; and how it was found, if by cases."""
    by_row = material.means.get(metric, {})
    labelled = [(material.label(a), material.label(b)) for a, b in pairs]
    computed = [(material.computed_by.get(a, a), material.computed_by.get(b, b)) for a, b in labelled]
    unit = "dB" if metric.startswith("replay/") else "points"
    absent = sorted({row for pair in computed for row in pair if row not in by_row})
    if absent:
        without = material.without(row for pair in labelled for row in pair)
        detail = without or f"{metric} is missing for {', '.join(absent)}"
        return Answer(effect=None, unit=unit, detail=detail), None
    point = float(np.mean([by_row[a] - by_row[b] for a, b in computed]))
    if metric not in material.panels:
        return Answer(effect=point, unit=unit), None
    panel = material.panels[metric]
    weights: dict[str, float] = {}
    for pair in computed:
        for row, sign in zip(pair, (1.0, -1.0), strict=True):
            weights[row] = weights.get(row, 0.0) + sign / len(computed)
    rows = dict.fromkeys((*weights, *(row for row in material.pool if row in panel.rows)))
    found = contrasted([BranchContrast(layouts={row: panel.layout(row) for row in rows}, weights=weights)])
    interval = found.interval
    if interval is None:
        return Answer(effect=point, unit=unit, detail="under two scenes are there for both"), None
    answer = Answer(
        effect=interval.mean,
        low=interval.low,
        high=interval.high,
        seeds=interval.seeds,
        unit=unit,
        detail=_dropped(found),
    )
    return answer, found


def directed(material: Material, metric: str, pairs: Sequence[tuple[str, str]], sign: int) -> Answer:
    """Mean of A − B over `pairs`; `sign` is the direction of the claim."""
    answer, found = difference(material, metric, pairs)
    if found is None or found.interval is None:
        return answer
    interval = found.interval
    return replace(
        answer,
        p_supported=interval.p if sign * interval.mean > 0 else None,
        p_contradicted=interval.p if sign * interval.mean < 0 else None,
    )


def _dropped(found: Contrasted) -> str:
    if not found.dropped_scenes and not found.dropped_seeds:
        return ""
    return f"left out as incomplete: {found.dropped_scenes} scenes, {found.dropped_seeds} seeds"
