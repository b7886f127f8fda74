"""Checks of case values before anything is computed from them, the same for every source: store, folder or file.

A value that contradicts the others is refused, and not left out: a mean without it would be that of other cases.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.input import CaseValues, ResultLine
from reports.instruments import is_scored
from reports.spec import ReportSpec
from reports.statistics.panel import row_label

Codes = npt.NDArray[np.int64]

LARGEST = 1e60
"""Size that values stay below: degrees of freedom need fourth powers of values, which end at 1e308."""
SHOWN = 12
"""Names that an error lists; the others are counted."""
MOST_CODES = 1 << 62
"""Combinations that fit into 64 bits."""

Place = Callable[[int], str]
"""Index of a value -> where it stands, `FILE:LINE`; empty where there is no file."""


def check(given: CaseValues) -> None:
    """Check the values of a study against each other, its rows and its seeds.

    Raises:
        ValueError: as of `check_values`.
    """
    rows, seeds = [info.name for info in given.rows], set(given.seeds)
    check_values(given.values, spec=given.spec, rows=rows, seeds=seeds)


def check_values(
    values: Sequence[ResultLine],
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
    if not values:
        return
    columns = _Columns(values, spec or ReportSpec())
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


class _Columns:
    """The values as arrays: every name a number, so that a million lines are checked in about a second."""

    def __init__(self, values: Sequence[ResultLine], spec: ReportSpec) -> None:
        self.values = values
        self.spec = spec
        self.row, self.rows = _coded([v.row for v in values])
        self.seed, self.seeds = _coded([v.seed for v in values])
        self.axes, self.axis_values = _coded([v.axes for v in values])
        self.branch, self.branches = _coded([v.branch for v in values])
        self.case, self.cases = _coded([v.case for v in values])
        self.metric, self.metrics = _coded([v.metric for v in values])
        self.unit, self.units = _coded([v.unit for v in values])
        self.better, self.directions = _coded([v.better for v in values])
        self.number = np.fromiter((v.value for v in values), np.float64, len(values))
        self.measure = _combined([self.branch, self.metric])
        """One number for each `branch/metric`."""
        self.instrument = self._instruments()
        """Of a value of an instrument its unit, counted from 1; else 0."""

    def _instruments(self) -> Codes:
        found: Codes = np.zeros(len(self.values), np.int64)
        of = self.spec.instruments
        if of is not None:
            for _, at in _first_of(_combined([self.metric, self.unit])):
                if is_scored(of, self.values[at]):
                    same = (self.metric == self.metric[at]) & (self.unit == self.unit[at])
                    found[same] = self.unit[at] + 1
        return found

    def name(self, at: int) -> str:
        """`branch/metric` of a value."""
        return f"{self.values[at].branch}/{self.values[at].metric}"


def _coded(column: Sequence[Hashable]) -> tuple[Codes, list[Hashable]]:
    """Numbers of the distinct entries, by their first occurrence, and these entries."""
    known: dict[Hashable, int] = {}
    codes = np.fromiter((known.setdefault(entry, len(known)) for entry in column), np.int64, len(column))
    return codes, list(known)


def _combined(columns: Sequence[Codes]) -> Codes:
    """One number for each combination of numbers."""
    found, size = columns[0], int(columns[0].max()) + 1
    for column in columns[1:]:
        width = int(column.max()) + 1
        if size * width >= MOST_CODES:
            found = np.unique(found, return_inverse=True)[1].astype(np.int64)
            size = int(found.max()) + 1
        found, size = found * width + column, size * width
    return found


def _first_of(codes: Codes) -> list[tuple[int, int]]:
    """(code, where it occurs first)."""
    distinct, first = np.unique(codes, return_index=True)
    return [(int(code), int(at)) for code, at in zip(distinct, first, strict=True)]


def _numbers(columns: _Columns) -> Iterator[_Problem]:
    finite = np.isfinite(columns.number)
    with np.errstate(invalid="ignore"):
        large = finite & (np.abs(columns.number) >= LARGEST)
    for wrong, allowed in (
        (~finite, "a finite number; leave the line out where a value is missing"),
        (large, f"less than {LARGEST:g} in size, so that intervals can be computed; use another unit"),
    ):
        if wrong.any():
            at = int(wrong.argmax())
            v = columns.values[at]
            said = f"{columns.name(at)} of row {v.row!r}, seed {v.seed}, case {v.case!r} is {v.value!r}"
            yield _Problem(at=at, count=int(wrong.sum()), text=_plain(f"{said}; allowed: {allowed}"))


def _unknown(kind: str, columns: _Columns, allowed: Collection[Hashable] | None) -> Iterator[_Problem]:
    if allowed is None:
        return
    codes, names = (columns.row, columns.rows) if kind == "row" else (columns.seed, columns.seeds)
    known = set(allowed)
    unknown = [code for code, name in enumerate(names) if name not in known]
    if unknown:
        wrong = np.isin(codes, unknown)
        at = int(wrong.argmax())
        name = names[int(codes[at])]
        text = (
            f"{kind} {name!r} is none of this study; allowed: {_listed(list(allowed))}; correct it, or add the {kind}"
        )
        yield _Problem(at=at, count=int(wrong.sum()), text=_plain(text))


def _mixed(columns: _Columns) -> Iterator[_Problem]:
    """Two units, or two directions, of one metric; instruments have a unit each."""
    for kind, codes in (("unit", columns.unit), ("better", columns.better)):
        first: dict[tuple[int, int], int] = {}
        for _, at in sorted(_first_of(_combined([columns.measure, columns.instrument, codes])), key=lambda one: one[1]):
            key = (int(columns.measure[at]), int(columns.instrument[at]))
            before = first.setdefault(key, at)
            if before == at:
                continue
            here, there = (getattr(columns.values[i], kind) for i in (at, before))
            text = _plain(f"{columns.name(at)} has {kind} {here!r}, and {there!r} ") + "{also}"
            word, hint = ("unit", "convert the values") if kind == "unit" else ("direction", "correct it")
            yield _Problem(
                at=at, other=before, text=f"{text}; allowed: one {word} of a metric; {hint}, or give it another name"
            )


def _declared_otherwise(columns: _Columns) -> Iterator[_Problem]:
    """A direction that contradicts what the study declares of a score."""
    declared = {
        f"{branch.name}/{part.metric}": part.better
        for branch in columns.spec.branches
        for part in (*branch.score, *branch.otherwise)
        if not branch.group
    }
    for _, at in _first_of(columns.measure) if declared else ():
        name, better = columns.name(at), columns.values[at].better
        if declared.get(name, better) != better:
            yield _Problem(
                at=at,
                text=_plain(
                    f"{name} has better {better!r}, and the study declares {declared[name]!r} (ReportSpec.branches); "
                    "allowed: one direction; correct the one that is wrong"
                ),
            )


def _doubled(columns: _Columns) -> Iterator[_Problem]:
    key = _combined([columns.row, columns.axes, columns.seed, columns.measure, columns.case, columns.instrument])
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    if again.size:
        here = again[order[again + 1].argmin()]
        at, before = int(order[here + 1]), int(order[here])
        v = columns.values[at]
        said = f"two values of {columns.name(at)} for row {v.row!r}, seed {v.seed}, case {v.case!r}: {v.value!r} here, "
        text = _plain(f"{said}{columns.values[before].value!r} ") + "{also}"
        yield _Problem(
            at=at, other=before, count=int(again.size), text=f"{text}; a case is measured once; remove one of them"
        )


def _disjoint(columns: _Columns) -> Iterator[_Problem]:
    """Rows that are measured on other cases than another row of the branch: their means say nothing about each other.

    Over all metrics of a branch: in one of them, values may be missing.
    """
    group = _combined([columns.axes, columns.branch, columns.row])
    pairs = np.unique(np.stack([group, columns.case]), axis=1)
    groups, starts = np.unique(pairs[0], return_index=True)
    cases = [frozenset(part.tolist()) for part in np.split(pairs[1], starts[1:])]
    first = dict(_first_of(group))
    distinct: dict[tuple[int, int], dict[frozenset[int], int]] = {}
    for code, own in sorted(zip(groups.tolist(), cases, strict=True), key=lambda one: first[one[0]]):
        at = first[code]
        others = distinct.setdefault((int(columns.axes[at]), int(columns.branch[at])), {})
        if own in others:
            continue
        for theirs, before in others.items():
            if own.isdisjoint(theirs):
                names = [row_label(columns.values[i].row, columns.values[i].axes) for i in (at, before)]
                listed = [_listed([columns.cases[i] for i in sorted(of)], 2) for of in (own, theirs)]
                text = (
                    f"{columns.values[at].branch}: row {names[0]!r} shares no case with row {names[1]!r}: "
                    f"{listed[0]} and {listed[1]}; allowed: rows that are measured on the same cases; "
                    "measure them on one set of cases, or report them apart"
                )
                yield _Problem(at=at, other=before, text=_plain(text))
                return
        others[own] = at


def _listed(names: Sequence[Hashable], shown: int = SHOWN) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(map(str, names[:shown]))}{more}"


def _plain(text: str) -> str:
    """Text that `str.format` leaves as it is."""
    return text.replace("{", "{{").replace("}", "}}")
