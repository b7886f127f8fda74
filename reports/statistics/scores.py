"""Branch scores: one number per row and branch.

A branch is scored by one metric or by a *bundle*: the mean of several metrics after min-max normalisation over the rows
of one table. A bundle with a stand-in for a metric has another name, because it is another number.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from reports.spec import Better, BranchSpec, ScorePart
from reports.statistics.panel import Floats


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """The branches with their scores, and the two that are contrasted."""

    branches: Sequence[BranchSpec]
    """Those that are ranked."""
    contrast: tuple[str, str] | None
    unranked: Sequence[BranchSpec] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the branches, in order."""
        return tuple(branch.name for branch in self.branches)

    @property
    def ranked(self) -> tuple[str, ...]:
        """The branches whose ranks are reported: the two of the contrast, else all."""
        return self.contrast or self.names

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every pair of branches, the contrast first."""
        first = [] if self.contrast is None else [self.contrast]
        return first + [pair for pair in combinations(self.names, 2) if set(pair) != set(self.contrast or ())]

    @property
    def bundled(self) -> BranchSpec | None:
        """The branch whose bundle the tables show: the first ranked one that has any."""
        return next((branch for branch in map(self.of, self.ranked) if len(branch.score) > 1), None)

    def of(self, name: str) -> BranchSpec:
        """The branch of that name; without a score if it is not known."""
        known = (*self.branches, *self.unranked)
        return next((branch for branch in known if branch.name == name), BranchSpec(name=name))


def scoring(
    branches: Sequence[BranchSpec],
    contrast: tuple[str, str] | None,
    first: Collection[str],
    better: Mapping[str, str],
) -> Scoring:
    """The scoring that a study declares, completed by what was measured.

    Args:
        branches: as declared; empty: those of `better` and `contrast`, by name.
        contrast: as declared; None: the first two branches.
        first: metrics that come before others where a branch declares no score.
        better: `branch/metric` -> which direction is better, of everything measured.
    """
    order = {metric: i for i, metric in enumerate(first)}
    found = []
    measured = {name.split("/", 1)[0] for name in better} | set(contrast or ())
    for branch in branches or [BranchSpec(name=name) for name in sorted(measured)]:
        own = [name.split("/", 1)[1] for name in better if name.startswith(f"{branch.name}/")]
        score, beside = branch.score, branch.beside
        if branch.otherwise and not {part.metric for part in score} & {*own}:
            score, beside = branch.otherwise, ()
        if not score and own:
            metric = min(own, key=lambda name: (order.get(name, len(order)), name))
            low = better[f"{branch.name}/{metric}"] == "low"
            score = (ScorePart(metric=metric, better="low" if low else "high"),)
        found.append(replace(branch, score=score, beside=beside))
    ranked, unranked = ([branch for branch in found if branch.ranked is kept] for kept in (True, False))
    if contrast is None and len(ranked) > 1:
        contrast = (ranked[0].name, ranked[1].name)
    return Scoring(branches=tuple(ranked), contrast=contrast, unranked=tuple(unranked))


def stands_in(part: ScorePart, branch: str, names: Collection[str]) -> bool:
    """Whether the part's stand-in takes its place among `names` (`branch/metric`)."""
    return bool(part.stand_in) and f"{branch}/{part.metric}" not in names and f"{branch}/{part.stand_in}" in names


def score_parts(branch: BranchSpec, names: Collection[str]) -> tuple[tuple[str, Better], ...]:
    """(`branch/metric`, better) of the parts of a branch's score."""
    return tuple(
        (f"{branch.name}/{part.stand_in if stands_in(part, branch.name, names) else part.metric}", part.better)
        for part in branch.score
    )


def headline(branch: BranchSpec, names: Collection[str]) -> tuple[str, Better]:
    """(`branch/metric`, better) of the metric that stands for the branch: the first of its score.

    The metric is empty where nothing was measured and no score is declared.
    """
    return next(iter(score_parts(branch, names)), (f"{branch.name}/", "high"))


def metric_of(name: str, scoring: Scoring, names: Collection[str]) -> str:
    """`branch/metric` of a name in a specification: as it is, or of a branch the metric that stands for it."""
    return name if "/" in name else headline(scoring.of(name), names)[0]


def bundle_name(branch: BranchSpec, names: Collection[str]) -> str:
    """`{branch}_bundle`, with the suffixes of the stand-ins that are used."""
    used = (part.stand_in_suffix for part in branch.score if stands_in(part, branch.name, names))
    return f"{branch.name}_bundle{''.join(used)}"


def normalised(values: Floats, better: str = "high") -> Floats:
    """Min-max over the rows, (..., rows): best 1, worst 0, all equal 0.5, missing NaN."""
    signed = values if better == "high" else -values
    finite = np.isfinite(signed)
    low = np.where(finite, signed, np.inf).min(axis=-1, keepdims=True)
    high = np.where(finite, signed, -np.inf).max(axis=-1, keepdims=True)
    spread = np.where(high > low, high - low, 1.0)
    shifted = np.where(finite, signed, 0.0) - np.where(np.isfinite(low), low, 0.0)
    return np.where(finite, np.where(high > low, shifted / spread, 0.5), np.nan)


def branch_score(branch: BranchSpec, metrics: Mapping[str, Floats], rows: int) -> Floats:
    """The score of every row, (..., rows); higher is better, so a metric of which less is better is negated.

    Args:
        branch: with its score.
        metrics: `branch/metric` -> (..., rows).
        rows: how many; for an answer where nothing was measured.
    """
    parts = score_parts(branch, metrics)
    if not parts or any(name not in metrics for name, _ in parts):
        return np.full(rows, np.nan)
    if len(parts) == 1:
        ((name, better),) = parts
        return metrics[name] if better == "high" else -metrics[name]
    # A sum, not a nanmean: a metric missing in a row makes its bundle missing.
    total: Floats = np.stack([normalised(metrics[name], better) for name, better in parts]).sum(axis=0)
    return total / len(parts)
