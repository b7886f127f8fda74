r"""Factor effects: what each choice contributes, where a row is a combination of choices and few combinations exist.

Rows with the same choices are averaged, so that a choice that was tried in three sizes does not count three times. On
these combinations an additive model is fitted by least squares,

$$ y_{abc} = \mu + \alpha_a + \beta_b + \gamma_c + \varepsilon . $$

Every estimate is a weighted sum of combinations, so it is computed for each scene and seed and gets the interval of
`intervals.py`: over scenes and seeds, for these rows. It has seeds − 1 degrees of freedom at most, since many are
tested together. What the combinations do not determine is not estimated: a contrast of two levels is, if it lies in the
row space of the design; levels so joined form a group, and marginal means are taken over a group (each of its levels
counts alike).

An interaction of two factors is a difference of differences over four combinations of their levels, in the model with
all their combinations and the other factors additive.

Reference: Searle, Speed and Milliken (1980), The American Statistician 34(4), 216-221, on marginal means in unbalanced
tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from reports.statistics.design import MEAN, CellTable, Design
from reports.statistics.intervals import LEVEL, Interval, complete, holm
from reports.statistics.panel import Floats

Choices = Mapping[str, str]
"""Factor -> level."""


@dataclass(frozen=True, kw_only=True)
class LevelMean:
    """Marginal mean of a level in its group."""

    factor: str
    level: str
    rows: tuple[str, ...]
    """Rows with it."""
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class LevelContrast:
    """Level `a` minus level `b` of a factor."""

    factor: str
    a: str
    b: str
    interval: Interval
    p_adjusted: float
    """Holm, over all contrasts of the metric."""
    note: str
    """Where both levels were seen, if that is with one level of another factor at most; else empty."""


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """How much more `a` minus `b` of one factor is with `c` than with `d` of another, the larger way round."""

    factors: tuple[str, str]
    a: str
    b: str
    c: str
    d: str
    interval: Interval
    """Of all interactions together: Bonferroni."""
    p_adjusted: float
    """Holm, over all interactions of the metric."""


@dataclass(frozen=True, kw_only=True)
class LevelGroup:
    """Combinations among which all levels can be compared."""

    rows: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    means: tuple[LevelMean, ...]
    contrasts: tuple[LevelContrast, ...]


@dataclass(frozen=True, kw_only=True)
class Inseparable:
    """Levels of a factor that the combinations do not tell apart, and why."""

    factor: str
    one: tuple[str, ...]
    other: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class FactorEffects:
    """Everything that is estimated of one metric."""

    factors: tuple[str, ...]
    groups: tuple[LevelGroup, ...]
    inseparable: tuple[Inseparable, ...]
    interactions: tuple[Interaction, ...]
    """The largest of each pair of factors, the largest first."""
    tested: int
    """Interactions that can be estimated."""
    left_out: Mapping[str, str]
    """Row -> why it takes no part."""
    dropped_scenes: int
    """Scenes that a row lacks."""


def factor_effects(layouts: Mapping[str, Floats], choices: Mapping[str, Choices]) -> FactorEffects | None:
    """The effects; None where fewer than two combinations of choices have values.

    Args:
        layouts: distinct row -> (scenes, seeds), NaN is missing; a row that lacks a seed that most others have is
            left out, and of the others the seeds count that all of them have.
        choices: row -> its level of each factor; rows with others or without any are left out.
    """
    factors = tuple(dict.fromkeys(factor for row in layouts for factor in choices.get(row, {})))
    left_out = _left_out(layouts, choices, factors)
    rows = [row for row in layouts if row not in left_out]
    if not rows or not factors:
        return None
    cut = complete([layouts[row] for row in rows])
    if cut.layouts[0].shape[0] < 2 or cut.layouts[0].shape[1] < 1:
        return None
    members: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(rows):
        members.setdefault(tuple(choices[row][factor] for factor in factors), []).append(i)
    if len(members) < 2:
        return None
    table = CellTable(
        factors=factors,
        cells=tuple(members),
        rows=tuple(tuple(rows[i] for i in at) for at in members.values()),
        values=np.stack([np.mean([cut.layouts[i] for i in at], axis=0) for at in members.values()]),
    )
    groups, inseparable = _groups(table)
    interactions, tested = _interactions(table)
    return FactorEffects(
        factors=factors,
        groups=groups,
        inseparable=inseparable,
        interactions=interactions,
        tested=tested,
        left_out=left_out,
        dropped_scenes=cut.dropped_scenes,
    )


def _left_out(
    layouts: Mapping[str, Floats], choices: Mapping[str, Choices], factors: Sequence[str]
) -> Mapping[str, str]:
    seeds = {row: np.atleast_1d(np.isfinite(values).any(axis=0)) for row, values in layouts.items()}
    measured = [own for own in seeds.values() if own.any()]
    # A run may do a seed at a time: one row that is ahead leaves no other out.
    wanted: npt.NDArray[np.bool_] = np.mean(measured, axis=0) > 0.5 if measured else np.zeros(1, dtype=np.bool_)
    found = {}
    for row in layouts:
        own = choices.get(row, {})
        if absent := [factor for factor in factors if factor not in own]:
            found[row] = "says nothing of what it is made of" if not own else f"has no {', '.join(absent)}"
        elif not seeds[row].any():
            found[row] = "has no values"
        elif not seeds[row][wanted].all():
            found[row] = "lacks a seed that most rows have"
    return found


def _groups(table: CellTable) -> tuple[tuple[LevelGroup, ...], tuple[Inseparable, ...]]:
    design = Design([MEAN, *(((f,), (level,)) for f in range(len(table.factors)) for level in table.levels(f))], table)
    classes = [_classes(table, design, f) for f in range(len(table.factors))]
    found: dict[tuple[int, ...], list[int]] = {}
    for i, cell in enumerate(table.cells):
        found.setdefault(tuple(classes[f][cell[f]] for f in range(len(cell))), []).append(i)
    pairs = [
        (f, a, b, weights)
        for f in range(len(table.factors))
        for b, a in combinations(table.levels(f), 2)
        if (weights := design.weights({((f,), (a,)): 1.0, ((f,), (b,)): -1.0})) is not None
    ]
    intervals = [table.interval(weights) for *_, weights in pairs]
    adjusted = holm([interval.p for interval in intervals])
    contrasts = [
        LevelContrast(factor=table.factors[f], a=a, b=b, interval=interval, p_adjusted=p, note=_note(table, f, a, b))
        for (f, a, b, _), interval, p in zip(pairs, intervals, adjusted, strict=True)
    ]
    groups = [_group(table, design, cells, contrasts) for cells in found.values() if len(cells) > 1]
    apart = [one for f in range(len(table.factors)) for one in _inseparable(table, f, classes[f])]
    return tuple(groups), tuple(apart)


def _classes(table: CellTable, design: Design, factor: int) -> dict[str, int]:
    """Level -> number of its class: levels of one class can be compared. That is an equivalence."""
    found: dict[str, int] = {}
    for level in table.levels(factor):
        same = (
            known
            for known in found
            if design.weights({((factor,), (level,)): 1.0, ((factor,), (known,)): -1.0}) is not None
        )
        first = next(same, None)
        found[level] = len(set(found.values())) if first is None else found[first]
    return found


def _group(table: CellTable, design: Design, cells: Sequence[int], contrasts: Sequence[LevelContrast]) -> LevelGroup:
    levels = {f: table.levels(f, cells) for f in range(len(table.factors))}
    means = []
    for f, own in levels.items():
        for level in own if len(own) > 1 else ():
            wanted = {MEAN: 1.0, ((f,), (level,)): 1.0}
            wanted |= {((g,), (one,)): 1.0 / len(of) for g, of in levels.items() if g != f for one in of}
            weights = design.weights(wanted)
            if weights is not None:
                rows = tuple(row for i in cells if table.cells[i][f] == level for row in table.rows[i])
                means.append(
                    LevelMean(factor=table.factors[f], level=level, rows=rows, interval=table.interval(weights))
                )
    named = {table.factors[f]: own for f, own in levels.items()}
    return LevelGroup(
        rows=tuple(row for i in cells for row in table.rows[i]),
        levels=named,
        means=tuple(means),
        contrasts=tuple(one for one in contrasts if {one.a, one.b} <= set(named[one.factor])),
    )


def _note(table: CellTable, factor: int, a: str, b: str) -> str:
    """Other factors, if they vary, of which the two levels were seen with one level in common, or with none."""
    found = []
    for other in range(len(table.factors)):
        if other == factor or len(table.levels(other)) < 2:
            continue
        both = {table.cells[i][other] for i in table.holding(factor, a)} & {
            table.cells[i][other] for i in table.holding(factor, b)
        }
        if len(both) < 2:
            name = table.factors[other]
            found.append(f"together only with {name} {both.pop()}" if both else f"with no {name} in common")
    return ", ".join(found)


def _inseparable(table: CellTable, factor: int, classes: Mapping[str, int]) -> list[Inseparable]:
    of: dict[int, list[str]] = {}
    for level, number in classes.items():
        of.setdefault(number, []).append(level)
    return [
        Inseparable(
            factor=table.factors[factor],
            one=tuple(one),
            other=tuple(other),
            reason=_why(table, factor, one)
            or _why(table, factor, other)
            or "they share no level of another factor through which they could be compared",
        )
        for one, other in combinations(of.values(), 2)
    ]


def _why(table: CellTable, factor: int, levels: Sequence[str]) -> str:
    """The level of another factor that is there exactly where these levels are; empty: there is none."""
    cells = frozenset[int]().union(*(table.holding(factor, level) for level in levels))
    for other in range(len(table.factors)):
        for level in table.levels(other) if other != factor else ():
            if table.holding(other, level) == cells:
                return f"{', '.join(levels)} only with {table.factors[other]} {level}, and that with nothing else"
    return ""


def _interactions(table: CellTable) -> tuple[tuple[Interaction, ...], int]:
    found: list[tuple[int, int, tuple[str, str, str, str], Floats]] = []
    for f, g in combinations(range(len(table.factors)), 2):
        both = dict.fromkeys(((f, g), (cell[f], cell[g])) for cell in table.cells)
        rest = [((h,), (level,)) for h in range(len(table.factors)) if h not in (f, g) for level in table.levels(h)]
        design = Design([*both, *rest], table)
        for a, b in combinations(table.levels(f), 2):
            for c, d in combinations(table.levels(g), 2):
                signs = {(a, c): 1.0, (a, d): -1.0, (b, c): -1.0, (b, d): 1.0}
                weights = design.weights({((f, g), cell): sign for cell, sign in signs.items()})
                if weights is not None:
                    found.append((f, g, (a, b, c, d), weights))
    if not found:
        return (), 0
    level = 1 - (1 - LEVEL) / len(found)
    intervals = [table.interval(weights, level) for *_, weights in found]
    adjusted = holm([interval.p for interval in intervals])
    largest: dict[tuple[int, int], Interaction] = {}
    for (f, g, (a, b, c, d), weights), interval, p in zip(found, intervals, adjusted, strict=True):
        known = largest.get((f, g))
        if known is None or abs(interval.mean) > known.interval.mean:
            turned = interval.mean < 0
            largest[f, g] = Interaction(
                factors=(table.factors[f], table.factors[g]),
                a=b if turned else a,
                b=a if turned else b,
                c=c,
                d=d,
                interval=table.interval(-weights, level) if turned else interval,
                p_adjusted=p,
            )
    return tuple(sorted(largest.values(), key=lambda one: -one.interval.mean)), len(found)
