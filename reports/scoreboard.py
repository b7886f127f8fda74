"""Scoreboard: one number for each row and branch, with its interval, and the marks of the best rows.

A branch is shown by the first metric of its score (`ReportSpec.branches`). An interval is over scenes and seeds, so
that there is none with one seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.comparable import violations
from reports.formats import decimals_of
from reports.groups import MARK, grouped, groups_of
from reports.input import CaseValues
from reports.marks import Mark
from reports.measured import AnalysedRow, Measured, combinations, measured
from reports.spec import Better, ScorePart
from reports.statistics.scores import headline
from reports.suspects import Beaten, beaten


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A column: the metric that stands for a branch."""

    branch: str
    metric: str
    """Without the branch; empty: nothing was measured, and no score is declared."""
    name: str
    """For people."""
    unit: str
    better: Better
    decimals: int

    @property
    def key(self) -> str:
        """Its key in `Scoreboard.scores`: the branch, or `branch/metric` of one of several columns of a branch."""
        return f"{self.branch}/{self.metric}" if MARK in self.metric else self.branch


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number: a row on a branch."""

    row: str
    branch: str
    metric: str
    unit: str
    better: Better
    mean: float | None
    """Over all values; None: there are none."""
    low: float | None
    """Of the 95 % interval over scenes and seeds; None: fewer than two scenes or seeds have values."""
    high: float | None
    part: str
    """Mean and interval of the values that `low` and `high` are of, for people; empty: they are of all."""
    mark: Mark
    """Whether it is the best of its column, or may be (`statistics.best`)."""
    seeds: int
    """Seeds with values."""
    seeds_expected: int
    values: int
    """Cases × seeds with a value."""
    values_expected: int
    unanswered: int
    """Cases × seeds that an instrument did not answer: values of them are missing, and need not be like the others."""
    at_worst: float | None
    """The mean with all of these at the worst of their scale; None: there are none."""
    at_best: float | None
    comparable: bool
    """False: a control that it rests on did not hold, so that it has no mark and is crossed out."""


@dataclass(frozen=True, kw_only=True)
class Scoreboard:
    """The table of scores."""

    seeds: Sequence[int]
    columns: Sequence[Headline]
    rows: Sequence[str]
    """Rows that are compared, in the order of the matrix."""
    references: Sequence[str]
    """Ceilings and floors: never marked."""
    same_as: Mapping[str, str]
    """Row -> the row of which it is another name."""
    scores: Mapping[tuple[str, str], Score]
    """(row, key of the column) -> score, of all rows and columns."""
    beside: Sequence[Headline]
    """Further columns that tell what a headline is made of (`BranchSpec.beside`), as far as they were measured."""
    note: str
    """What these columns mean."""
    others: Mapping[tuple[str, str], Score]
    """(row, `branch/metric`) -> score in such a column, in which no row is marked."""
    units: str = "cases"
    """Name of the sampling units besides seeds."""
    shared: Mapping[str, int] = field(default_factory=dict)
    """Key of a column -> units that most two rows share; too few show no difference (`statistics.best`)."""
    crossed_out: Sequence[tuple[str, Sequence[str]]] = ()
    """(check that did not hold, labels of the rows concerned; empty: every row)."""
    suspects: Mapping[str, Sequence[Beaten]] = field(default_factory=dict)
    """Key of a column -> floors that beat the baseline in it (`suspects.beaten`)."""


def scoreboard(given: CaseValues) -> Scoreboard:
    """The table of scores of these values.

    Raises:
        ValueError: values that contradict each other (`checked`).
    """
    found = measured(given, combinations(given))
    columns = headlines(found)
    seeds = frozenset(given.seeds)
    rows = tuple(row.label for row in found.rows if not row.reference)
    scores: dict[tuple[str, str], Score] = {}
    shared: dict[str, int] = {}
    for column in columns:
        best = found.best(f"{column.branch}/{column.metric}", rows, column.better)
        marks, shared[column.key] = found.marks(best, rows), best.scenes
        for row in found.rows:
            expected, mark = len(seeds - row.excluded_seeds), marks.get(row.label, "")
            scores[row.label, column.key] = _score(found, column, row, expected, mark)
    beside = [
        _headline(found, name, "high")
        for branch in found.scoring.branches
        for metric in branch.beside
        if (name := f"{branch.name}/{metric}") in found.means
    ]
    others = {
        (row.label, name): _score(found, column, row, len(seeds - row.excluded_seeds), "")
        for column in beside
        for name in [f"{column.branch}/{column.metric}"]
        for row in found.rows
    }
    return Scoreboard(
        seeds=tuple(sorted(seeds)),
        columns=columns,
        rows=rows,
        references=tuple(row.label for row in found.rows if row.reference),
        same_as={row.label: row.computed_by for row in found.rows if row.label != row.computed_by},
        scores=scores,
        beside=beside,
        others=others,
        note=found.spec.words.beside,
        units=found.spec.words.units,
        shared=shared,
        crossed_out=[(one.check, one.rows) for one in violations(given.controls)],
        suspects={
            column.key: wins for column in columns if (wins := beaten(found, f"{column.branch}/{column.metric}"))
        },
    )


def headlines(found: Measured) -> list[Headline]:
    """The columns: one metric for each branch; of unranked branches alone, one for each group of their cases."""
    names = found.means.keys()
    if found.scoring.branches:
        chosen = [headline(branch, names) for branch in found.scoring.branches]
    else:
        parts = [(branch.name, part) for branch in found.scoring.unranked for part in branch.score[:1]]
        chosen = [(grouped(name, group), better) for name, group, better in _grouped(parts, list(names))]
    return [_headline(found, name, better) for name, better in chosen]


def _grouped(parts: Sequence[tuple[str, ScorePart]], names: Sequence[str]) -> Iterator[tuple[str, str, Better]]:
    """`branch/metric`, group and direction of each group that was measured; the stand-in if the metric was not."""
    for branch, part in parts:
        known = (f"{branch}/{metric}" for metric in (part.metric, part.stand_in) if metric)
        name = next((one for one in known if groups_of(one, names)), "")
        for group in sorted(groups_of(name, names), key=lambda text: (len(text), text)) if name else ():
            yield name, group, part.better


def _headline(found: Measured, name: str, better: str) -> Headline:
    branch, _, metric = name.partition("/")
    panel = found.panels.get(name)
    return Headline(
        branch=branch,
        metric=metric,
        name=_title(found, metric),
        unit="" if panel is None else panel.unit,
        better="low" if "low" in (better, None if panel is None else panel.better) else "high",
        decimals=decimals_of(found.spec, metric),
    )


def _title(found: Measured, metric: str) -> str:
    plain, mark, group = metric.partition(MARK)
    return found.spec.metrics.get(metric, f"{found.spec.metrics.get(plain, plain)}{mark}{group}")


def _score(found: Measured, column: Headline, row: AnalysedRow, seeds: int, mark: Mark) -> Score:
    name = f"{column.branch}/{column.metric}"
    comparable, found = found.is_comparable(name, row.label), found.shown(name, row.label)
    interval, panel = found.interval(name, row.label), found.panels.get(name)
    over_seeds = interval is not None and interval.kind == "scenes and seeds"
    low, high = (found.limits(name, row.label) if over_seeds else None) or (None, None)
    part = found.part(name, row.label)
    values, expected = (0, 0) if panel is None else found.counted(name, row.label)
    measured_seeds = 0 if panel is None else int(np.isfinite(panel.layout(row.computed_by)).any(axis=0).sum())
    bounds = found.bounds(name, row.label)
    return Score(
        row=row.label,
        branch=column.branch,
        metric=column.metric,
        unit=column.unit,
        better=column.better,
        mean=found.mean(name, row.label),
        low=low,
        high=high,
        part=part.text(found.spec.words.units, column.decimals) if part is not None and low is not None else "",
        mark=mark,
        seeds=measured_seeds,
        seeds_expected=seeds,
        values=values,
        values_expected=expected,
        unanswered=0 if bounds is None else bounds.unanswered,
        at_worst=None if bounds is None else bounds.at_worst,
        at_best=None if bounds is None else bounds.at_best,
        comparable=comparable,
    )
