"""What the measured values say of power: variances of paired differences, and what the findings ask to be told."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from reports.input import CaseValues
from reports.measured import Measured
from reports.noise import noise_difference
from reports.spec import POWER, SmallestEffect
from reports.statistics.intervals import largest_block
from reports.statistics.panel import Floats, row_label
from reports.statistics.power import (
    DesignPower,
    PilotVariance,
    design_power,
    pilot_variance,
    with_pooled_seeds,
    with_seed_of_noise,
)
from reports.statistics.seed_scatter import seed_scatter

MOST_SEEDS = 10
"""Designs of up to so many seeds are tabulated where nothing else is asked."""


@dataclass(frozen=True, kw_only=True)
class PairedPilot:
    """What a pilot says of one comparison."""

    pairs: tuple[tuple[str, str], ...]
    """Rows (a, b): of the mean of a − b over these."""
    effect: float
    pilot: PilotVariance


def pilot_metric(found: Measured, asked: str = "") -> str:
    """`branch/metric` that was asked for; by default the metric that stands for the second branch of the contrast.

    Raises:
        ValueError: there is no such metric, or it has no scenes.
    """
    usable = sorted(name for name, panel in found.panels.items() if not panel.pooled)
    if not usable:
        raise ValueError("nothing was measured in scenes yet, so there is no pilot; finish a run of at least one seed")
    contrast = found.scoring.contrast
    name = found.metric_of(asked or (contrast[1] if contrast else usable[0]))
    if name not in usable:
        raise ValueError(f"metric {name!r} was not measured in scenes; allowed: {', '.join(usable)}")
    return name


def paired_pilot(
    found: Measured,
    metric: str,
    pairs: Sequence[tuple[str, str]],
    again: Floats | None = None,
    *,
    of_finding: bool = False,
) -> PairedPilot | None:
    """The pilot of one comparison; None: under two scenes were measured for all of its rows.

    Args:
        found: the measured values.
        metric: `branch/metric` with scenes.
        pairs: labels of rows (a, b).
        again: (scenes, 1), the noise row minus its row, which tells the variance of seeds where there is one seed.
        of_finding: whether the test is that of findings, which takes the scatter over seeds of all rows with the same
            values of the axes (`statistics.seed_scatter`); else that of the row-to-row table.
    """
    panel = found.panels[metric]
    weights: dict[str, float] = {}
    for pair in pairs:
        for row, sign in zip(pair, (1.0, -1.0), strict=True):
            computed = found.computed_by.get(row, row)
            weights[computed] = weights.get(computed, 0.0) + sign / len(pairs)
    if any(row not in panel.rows for row in weights):
        return None
    layouts = np.stack([panel.layout(row) for row in weights])
    scenes, seeds = largest_block(np.asarray(np.isfinite(layouts).all(axis=0)))
    if scenes.sum() < 2 or not seeds.any():
        return None
    difference: Floats = np.tensordot(np.array(list(weights.values())), layouts[:, scenes][:, :, seeds], axes=1)
    pilot = pilot_variance(difference)
    if pilot.seeds == 1 and again is not None and len(again) > 1:
        pilot = with_seed_of_noise(pilot, again)
    if of_finding and pilot.seeds > 1:
        axes = next(iter(weights)).partition("/")[2]
        pool = [
            panel.layout(row.label)[scenes][:, seeds]
            for row in found.rows
            if not row.reference
            and row.computed_by == row.label
            and row.label.partition("/")[2] == axes
            and row.label in panel.rows
        ]
        scatter = seed_scatter([np.stack([one.mean(axis=0) for one in pool if np.isfinite(one).all()])])
        if scatter is not None:
            pilot = with_pooled_seeds(pilot, scatter, np.array(list(weights.values())))
    return PairedPilot(pairs=tuple(pairs), effect=float(difference.mean()), pilot=pilot)


def median_and_worst(found: Measured, metric: str, again: Floats | None = None) -> tuple[PairedPilot, PairedPilot]:
    """The pairs of ranked rows whose mean difference has the median and the largest variance, in the pilot's design.

    Real pairs, not medians of each component, so that the components belong together. Pairs that never differ are left
    out: they compute the same.

    Raises:
        ValueError: no two rows have values in two scenes.
    """
    ranked = [row.label for row in found.rows if not row.reference and row.computed_by == row.label]
    by_axes: dict[str, list[str]] = {}
    for row in ranked:
        by_axes.setdefault(row.partition("/")[2], []).append(row)
    pilots = [
        pilot
        for rows in by_axes.values()
        for pair in combinations(rows, 2)
        if (pilot := paired_pilot(found, metric, [pair], again)) is not None
    ]
    spread = sorted(
        (one for one in pilots if _variance(one.pilot) > 0), key=lambda one: (_variance(one.pilot), one.pairs)
    )
    if not spread:
        raise ValueError(f"no two rows have values of {metric} in two scenes and differ; run more rows or scenes")
    return spread[len(spread) // 2], spread[-1]


def _variance(pilot: PilotVariance) -> float:
    """Of the mean difference, in the pilot's own design."""
    of = pilot.estimate
    return of.scene / pilot.scenes + (of.seed or 0.0) / pilot.seeds + of.rest / (pilot.scenes * pilot.seeds)


def designs(
    effect: float,
    pilot: PilotVariance,
    scenes: Sequence[int],
    seeds: Sequence[int],
    power: float = POWER,
    *,
    declared: SmallestEffect | None = None,
    cautious: bool = False,
) -> list[DesignPower]:
    """What each design resolves; empty where the variance of seeds is not known."""
    of = pilot.cautious if cautious else pilot.estimate
    if of.seed is None:
        return []
    claim = "difference" if declared is None else declared.claim
    return [design_power(effect, of, i, s, power=power, claim=claim) for i in scenes for s in seeds]


def power_json(given: CaseValues, found: Measured, main: str = "") -> dict[str, Any]:
    """The key `power` of report.json: what the findings ask, and what seeds tell it with the scenes of these results.

    `plan` reads it, so that it need not compute anything.

    Args:
        given: the case values.
        found: the same, measured.
        main: the table that findings are about, whose name ends in the values of its axes.
    """
    axes = main.partition("/")[2].replace("/", ";")
    asked = [_asked(given, found, one, axes) for one in given.spec.smallest_effects]
    return {"power": POWER, "findings": [one for one in asked if one is not None]}


def _asked(given: CaseValues, found: Measured, one: SmallestEffect, axes: str) -> Mapping[str, Any] | None:
    metric = found.metric_of(one.metric)
    if metric not in found.panels or found.panels[metric].pooled:
        return None
    pairs = [(row_label(a, axes), row_label(b, axes)) for a, b in one.pairs]
    paired = paired_pilot(found, metric, pairs, noise_difference(given, metric), of_finding=True)
    if paired is None:
        return None
    pilot = paired.pilot
    return {
        "id": one.finding,
        "metric": metric,
        "unit": found.panels[metric].unit,
        "effect": one.effect,
        "claim": one.claim,
        "reason": one.reason,
        "pairs": [list(pair) for pair in pairs],
        "scenes": pilot.scenes,
        "seeds": pilot.seeds,
        "seed_from": pilot.seed_from,
        "variance": asdict(pilot.estimate),
        "designs": [
            asdict(design)
            for design in designs(one.effect, pilot, [pilot.scenes], range(2, MOST_SEEDS + 1), declared=one)
        ],
    }
