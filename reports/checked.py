"""Checks of case values before anything is computed from them, the same for every source: store, folder or file.

A value that contradicts the others is refused, and not left out: a mean without it would be that of other cases.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.columns import CodedColumn, Columns, Ints
from reports.input import CaseValues, ResultLine
from reports.instruments import is_scored
from reports.spec import ReportSpec
from reports.statistics.panel import POOLED, row_label

LARGEST = 1e60
"""Size that values stay below: degrees of freedom need fourth powers of values, which end at 1e308."""
SHOWN = 12
"""Names that an error lists; the others are counted."""
Place = Callable[[int], str]
"""Index of a value -> where it stands, `FILE:LINE`; empty where there is no file."""


def check(given: CaseValues, values: Columns) -> None:
    """Check the values of a study (`values`) against each other, its rows and its seeds.

    Raises:
        ValueError: as of `check_values`.
    """
    check_values(values, spec=given.spec, rows=[info.name for info in given.rows], seeds=set(given.seeds))


def check_values(
    values: Columns,
    *,
    spec: ReportSpec | None = None,
    rows: Collection[str] | None = None,
    seeds: Collection[int] | None = None,
    place: Place = lambda _: "",
) -> None:
    """Check values against each other, and against rows and seeds where these are known.

    Args:
        values: in the order of their source.
        spec: says which metrics several instruments score, each with a unit of its own, and which direction is better.
        rows: those that there may be; None: any.
        seeds: those that there may be; None: any.
        place: where a value stands.

    Raises:
        ValueError: a value that is not finite or not smaller than `LARGEST`, an unknown row or seed, two units or
            directions of one metric, two values of one case, or two rows that share no case of a branch. The message
            names the first one, and how many there are.
    """
    if not len(values):
        return
    columns = _Checked(values, spec or ReportSpec())
    found = [
        *_numbers(columns),
        *_unknown("row", columns, rows),
        *_unknown("seed", columns, seeds),
        *_mixed(columns),
        *_declared_otherwise(columns),
        *_doubled(columns),
        *_disjoint(columns),
    ]
    if not found:
        return
    first = min(found, key=lambda problem: problem.at)
    others = sum(problem.count for problem in found) - 1
    where, also = place(first.at), "" if first.other is None else place(first.other)
    message = first.text.format(also=f"in {also}" if also else "in another value")
    more = f"; {others} more {'value is' if others == 1 else 'values are'} refused" if others else ""
    raise ValueError(f"{where}: {message}{more}" if where else f"{message}{more}")


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """Why values are refused."""

    at: int
    """Index of the first one."""
    text: str
    """With `{also}` for the place of `other`."""
    count: int = 1
    other: int | None = None


class _Checked:
    """The values, and what their checks have in common."""

    def __init__(self, values: Columns, spec: ReportSpec) -> None:
        self.values = values
        self.spec = spec
        self.instrument: Ints = np.zeros(len(values), np.int64)
        """Of a value of an instrument its unit, counted from 1; else 0."""
        of = spec.instruments
        if of is not None:
            names, at = values.distinct("metric", "unit")
            scored = np.array([is_scored(of, metric, unit) for metric, unit in names])
            self.instrument[scored[at]] = values.unit.at[scored[at]] + 1

    def with_instrument(self, *columns: str) -> Ints:
        """One number for each combination of names in these columns, and of instruments."""
        found: Ints = self.values.places(*columns) * (len(self.values.unit.names) + 1) + self.instrument
        return found

    def line(self, at: int) -> ResultLine:
        """One value."""
        return self.values.line(at)

    def name(self, at: int) -> str:
        """`branch/metric` of a value."""
        line = self.values.line(at)
        return f"{line.branch}/{line.metric}"


def _first_of(codes: Ints) -> list[tuple[int, int]]:
    """(code, where it occurs first)."""
    distinct, first = np.unique(codes, return_index=True)
    return [(int(code), int(at)) for code, at in zip(distinct, first, strict=True)]


def _numbers(columns: _Checked) -> Iterator[_Problem]:
    finite = np.isfinite(columns.values.value)
    with np.errstate(invalid="ignore"):
        large = finite & (np.abs(columns.values.value) >= LARGEST)
    for wrong, allowed in (
        (~finite, "a finite number; leave the line out where a value is missing"),
        (large, f"less than {LARGEST:g} in size, so that intervals can be computed; use another unit"),
    ):
        if wrong.any():
            at = int(wrong.argmax())
            v = columns.line(at)
            said = f"{columns.name(at)} of row {v.row!r}, seed {v.seed}, case {v.case!r} is {v.value!r}"
            yield _Problem(at=at, count=int(wrong.sum()), text=_plain(f"{said}; allowed: {allowed}"))


def _unknown(kind: str, columns: _Checked, allowed: Collection[Hashable] | None) -> Iterator[_Problem]:
    if allowed is None:
        return
    column = columns.values.row if kind == "row" else columns.values.seed
    known = set(allowed)
    wrong = column.is_in([name for name in column.names if name not in known])
    if wrong.any():
        at = int(wrong.argmax())
        name = getattr(columns.line(at), kind)
        text = (
            f"{kind} {name!r} is none of this study; allowed: {_listed(list(allowed))}; correct it, or add the {kind}"
        )
        yield _Problem(at=at, count=int(wrong.sum()), text=_plain(text))


def _mixed(columns: _Checked) -> Iterator[_Problem]:
    """Two units, or two directions, of one metric; instruments have a unit each."""
    measure = columns.with_instrument("branch", "metric")
    for kind in ("unit", "better"):
        first: dict[int, int] = {}
        for at in sorted(at for _, at in _first_of(columns.with_instrument("branch", "metric", kind))):
            before = first.setdefault(int(measure[at]), at)
            if before == at:
                continue
            here, there = (getattr(columns.line(i), kind) for i in (at, before))
            text = _plain(f"{columns.name(at)} has {kind} {here!r}, and {there!r} ") + "{also}"
            word, hint = ("unit", "convert the values") if kind == "unit" else ("direction", "correct it")
            yield _Problem(
                at=at, other=before, text=f"{text}; allowed: one {word} of a metric; {hint}, or give it another name"
            )


def _declared_otherwise(columns: _Checked) -> Iterator[_Problem]:
    """A direction that contradicts what the study declares of a score."""
    declared = {
        f"{branch.name}/{part.metric}": part.better
        for branch in columns.spec.branches
        for part in (*branch.score, *branch.otherwise)
        if not branch.group
    }
    for _, at in _first_of(columns.values.places("branch", "metric")) if declared else ():
        name, better = columns.name(at), columns.line(at).better
        if declared.get(name, better) != better:
            yield _Problem(
                at=at,
                text=_plain(
                    f"{name} has better {better!r}, and the study declares {declared[name]!r} (ReportSpec.branches); "
                    "allowed: one direction; correct the one that is wrong"
                ),
            )


def _doubled(columns: _Checked) -> Iterator[_Problem]:
    key = columns.with_instrument("row", "axes", "seed", "branch", "case", "metric")
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    if again.size:
        here = again[order[again + 1].argmin()]
        at, before = int(order[here + 1]), int(order[here])
        v = columns.line(at)
        said = f"two values of {columns.name(at)} for row {v.row!r}, seed {v.seed}, case {v.case!r}: {v.value!r} here, "
        text = _plain(f"{said}{columns.line(before).value!r} ") + "{also}"
        yield _Problem(
            at=at, other=before, count=int(again.size), text=f"{text}; a case is measured once; remove one of them"
        )


def _disjoint(columns: _Checked) -> Iterator[_Problem]:
    """Rows that are measured on other cases than another row of the branch: their means say nothing about each other.

    Over all metrics of a branch: in one of them, values may be missing.
    """
    values = columns.values
    group = values.places("axes", "branch", "row")
    cases, seeds = _names_of(group, values.case), _names_of(group, values.seed)
    first = dict(_first_of(group))
    known: dict[tuple[int, int], dict[tuple[frozenset[str], frozenset[int]], int]] = {}
    for code in sorted(first, key=lambda code: first[code]):
        at, own = first[code], (cases[code] - {POOLED}, seeds[code])
        others = known.setdefault((int(values.axes.at[at]), int(values.branch.at[at])), {})
        if not own[0] or own in others:
            continue
        for theirs, before in others.items():
            # Seeds may have cases of their own: then rows of other seeds share none as long as results are missing.
            if own[0].isdisjoint(theirs[0]) and not own[1].isdisjoint(theirs[1]):
                names = [row_label(columns.line(i).row, columns.line(i).axes) for i in (at, before)]
                listed = [_listed(sorted(of), 2) for of, _ in (own, theirs)]
                text = (
                    f"{columns.line(at).branch}: row {names[0]!r} shares no case with row {names[1]!r}: "
                    f"{listed[0]} and {listed[1]}; allowed: rows that are measured on the same cases; "
                    "measure them on one set of cases, or report them apart"
                )
                yield _Problem(at=at, other=before, text=_plain(text))
                return
        others[own] = at


def _names_of(group: Ints, column: CodedColumn) -> dict[int, frozenset[Any]]:
    """Group -> the names that its values have in a column."""
    pairs = np.unique(group * len(column.names) + column.at)
    found: dict[int, set[Any]] = {}
    for code, name in zip((pairs // len(column.names)).tolist(), (pairs % len(column.names)).tolist(), strict=True):
        found.setdefault(code, set()).add(column.names[name])
    return {code: frozenset(names) for code, names in found.items()}


def _listed(names: Sequence[Hashable], shown: int = SHOWN) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(map(str, names[:shown]))}{more}"


def _plain(text: str) -> str:
    """Text that `str.format` leaves as it is."""
    return text.replace("{", "{{").replace("}", "}}")
