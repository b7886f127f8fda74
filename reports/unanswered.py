r"""Unanswered cases: what the means would be, had every case that an instrument failed to score been worst or best.

An instrument (a judge) may give no valid answer, more often to videos that are hard to judge than to others, so that a
mean over the answered cases is that of other cases. Nothing can be said of the lost answers but that they lie on the
instrument's scale (`InstrumentSpec.scales`); with $k$ of $n$ lost, the mean of all lies between

$$ \frac{\sum x + k\,w}{n} \quad\text{and}\quad \frac{\sum x + k\,b}{n} $$

for the worst value $w$ and the best $b$. Reference: Manski (1990), Nonparametric Bounds on Treatment Effects, American
Economic Review 80(2), 319-323.

A case is unanswered where the row has other values of it on the branch, some row has the instrument's, and the row has
not. A case that was answered for no row is not known of; of a row without any answer there is no mean to bound. What is
missing since a job is not done is no failure.
"""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.columns import Columns
from reports.input import Missing
from reports.spec import AnswerScale, InstrumentSpec
from reports.statistics.panel import Floats, Panel, row_label, scene_of

EVERY_COMBINATION = 3
"""Up to so many rows with unanswered cases, each combination of worst and best is tried."""


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """The unanswered cases of a metric, laid out as its panel."""

    count: Floats
    """(rows, scenes, seeds)."""
    worst: Floats
    """Sum of their worst values."""
    best: Floats
    """Sum of their best values."""

    def without(self, panel: Panel, rows: Collection[str]) -> "Unanswered":
        """Of the panel without the values of these rows."""
        kept = np.array([row not in rows for row in panel.rows], dtype=np.float64)[:, None, None]
        return Unanswered(count=self.count * kept, worst=self.worst * kept, best=self.best * kept)

    def rows(self, panel: Panel) -> list[str]:
        """Rows of the panel that have any."""
        return [row for row, count in zip(panel.rows, self.count.sum(axis=(1, 2)), strict=True) if count]


def unanswered(
    values: Columns,
    panels: Mapping[str, Panel],
    spec: InstrumentSpec | None,
    missing: Sequence[Missing],
    variants: Mapping[str, str],
) -> dict[str, Unanswered]:
    """`branch/metric` -> its unanswered cases; metrics without any are left out.

    Args:
        values: that the panels are made of.
        panels: by `branch/metric`.
        spec: the instruments with their scales.
        missing: results that are not there yet.
        variants: branch -> `BranchSpec.variant`.
    """
    if spec is None or not spec.scales:
        return {}
    undone = {(row_label(one.row, one.axes), one.seed, one.branch) for one in missing}
    lacking = {name: (scale, runs) for name, scale in _scales(spec, panels) if (runs := _runs(panels[name], undone))}
    if not lacking:
        return {}
    wanted: dict[str, set[tuple[str, int]]] = {}
    for name, (_, runs) in lacking.items():
        wanted.setdefault(name.partition("/")[0], set()).update(runs)
    known: dict[str, set[str]] = {name: set() for name in lacking}
    values = values.of(values.branch.is_in(list(wanted)))
    for branch, metric, case in values.distinct("branch", "metric", "case")[0]:
        if f"{branch}/{metric}" in known:
            known[f"{branch}/{metric}"].add(case)
    of_runs: dict[tuple[str, str, int], dict[str, dict[str, float]]] = {}
    cells, at = values.distinct("branch", "row", "axes", "seed")
    runs_of = [(branch, row_label(row, axes), seed) for branch, row, axes, seed in cells]
    lacks = np.array([(row, seed) in wanted[branch] for branch, row, seed in runs_of], dtype=np.bool_)
    for i in np.flatnonzero(lacks[at]).tolist():
        v = values.line(i)
        of_runs.setdefault(runs_of[at[i]], {}).setdefault(v.case, {})[v.metric] = v.value
    found = {}
    for name, (scale, runs) in lacking.items():
        branch, _, metric = name.partition("/")
        by_run = {run: of_runs.get((branch, *run), {}) for run in runs}
        one = _of_metric(panels[name], metric, scale, by_run, known[name], variants.get(branch, ""))
        if one.count.any():
            found[name] = one
    return found


def filled(panel: Panel, lost: Unanswered, worst: Collection[str]) -> Panel:
    """The panel with a value for every unanswered case: the worst in these rows, the best in the others."""
    low = np.array([row in worst for row in panel.rows])[:, None, None]
    return replace(panel, total=panel.total + np.where(low, lost.worst, lost.best), count=panel.count + lost.count)


def scenarios(rows: Sequence[str], means: Mapping[str, float]) -> Iterator[frozenset[str]]:
    """Rows whose unanswered cases are worst, those of the others being best, for each scenario that is tried.

    All of them and none; of up to three rows every combination; of more, the upper half of the rows by their means and
    the lower half, which draws rows together and apart as far as two sets can.
    """
    if len(rows) <= EVERY_COMBINATION:
        for count in range(len(rows) + 1):
            yield from map(frozenset, itertools.combinations(rows, count))
        return
    ordered = sorted(rows, key=lambda row: means.get(row, 0.0))
    half = len(ordered) // 2
    yield from (frozenset(), frozenset(ordered), frozenset(ordered[half:]), frozenset(ordered[:half]))


def _scales(spec: InstrumentSpec, panels: Mapping[str, Panel]) -> Iterator[tuple[str, AnswerScale]]:
    """`branch/metric` and its scale: a metric of another instrument, or of a group of cases, has that of its name."""
    for name in panels:
        plain = re.split("[:@]", name.partition("/")[2], maxsplit=1)[0]
        if plain in spec.scales:
            yield name, spec.scales[plain]


def _runs(panel: Panel, undone: Collection[tuple[str, int, str]]) -> list[tuple[str, int]]:
    """(row, seed) of the runs that lack some of the cases that others have, though their jobs are done."""
    if panel.pooled:
        return []
    cases, branch = panel.expected // len(panel.seeds), panel.metric.partition("/")[0]
    answered = panel.count.sum(axis=1)
    places = np.argwhere((answered < cases) & (answered.sum(axis=1, keepdims=True) > 0))
    runs = [(panel.rows[row], panel.seeds[seed]) for row, seed in places]
    return [run for run in runs if (*run, branch) not in undone]


def _of_metric(
    panel: Panel,
    metric: str,
    scale: AnswerScale,
    runs: Mapping[tuple[str, int], Mapping[str, Mapping[str, float]]],
    known: Collection[str],
    variant: str,
) -> Unanswered:
    """The unanswered cases of `runs`, (row, seed) -> case -> metric -> value; `known`: cases answered for some row."""
    row_at, scene_at, seed_at = ({one: i for i, one in enumerate(of)} for of in (panel.rows, panel.scenes, panel.seeds))
    group = "".join(metric.partition("@")[1:])
    count, worst, best = np.zeros(panel.total.shape), np.zeros(panel.total.shape), np.zeros(panel.total.shape)
    for (row, seed), cases in runs.items():
        for case, values in cases.items():
            if metric in values or case not in known or not any(name.endswith(group) for name in values):
                continue
            at = row_at[row], scene_at[scene_of(case, variant)], seed_at[seed]
            count[at] += 1
            worst[at] += scale.worst
            best[at] += scale.worst if scale.needs and values.get(f"{scale.needs}{group}") == 0 else scale.best
    return Unanswered(count=count, worst=worst, best=best)
