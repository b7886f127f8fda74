"""Case values as columns: what is done for every value is done for whole arrays, as there may be millions.

A name stands as its place among the sorted names of its column, so that places sort as names do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reports.input import ResultLine

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class MeasureOfCase(NamedTuple):
    """What a value is of, without its cell."""

    branch: str
    case: str
    metric: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class CodedColumn:
    """Names, or seeds, of every value."""

    names: tuple[Any, ...]
    """Distinct and sorted; some may be those of no value."""
    at: npt.NDArray[np.int32]
    """Place among `names`, (values,)."""

    def is_in(self, names: Sequence[Any]) -> Bools:
        """Whether the name of each value is one of these, (values,)."""
        chosen: Bools = np.array([name in names for name in self.names], dtype=np.bool_)
        return chosen[self.at] if self.names else np.zeros(0, np.bool_)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Case values, an entry of each column for each."""

    row: CodedColumn
    seed: CodedColumn
    axes: CodedColumn
    branch: CodedColumn
    case: CodedColumn
    metric: CodedColumn
    unit: CodedColumn
    better: CodedColumn
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """How many values."""
        return len(self.value)

    def of(self, chosen: npt.NDArray[Any]) -> "Columns":
        """Some of the values: by a mask, or in an order of places."""
        parts = {name: CodedColumn(names=column.names, at=column.at[chosen]) for name, column in self._named().items()}
        return Columns(**parts, value=self.value[chosen])

    def order(self) -> Ints:
        """Places of the values by row, axes, seed, branch, case, metric, unit; equal ones stay in their order."""
        key = self.places("row", "axes", "seed", "branch", "case", "metric", "unit")
        return np.argsort(key, kind="stable")

    def in_order(self) -> "Columns":
        """The values in that order."""
        return self.of(self.order())

    def places(self, *columns: str) -> Ints:
        """One number for each combination of names in these columns, which sorts as they do, (values,)."""
        named = self._named()

        def with_next(found: Ints, name: str) -> Ints:
            joined: Ints = found * len(named[name].names) + named[name].at
            # Before they outgrow 63 bits, the combinations that exist are numbered anew.
            return joined if joined.max(initial=0) < 1 << 40 else np.unique(joined, return_inverse=True)[1]

        return reduce(with_next, columns, np.zeros(len(self), np.int64))

    def distinct(self, *columns: str) -> tuple[list[tuple[Any, ...]], Ints]:
        """The distinct combinations of names in these columns, sorted, and the place of each value among them."""
        _, first, at = np.unique(self.places(*columns), return_index=True, return_inverse=True)
        named = self._named()
        parts = [[named[name].names[i] for i in named[name].at[first].tolist()] for name in columns]
        return list(zip(*parts, strict=True)), at

    def line(self, i: int) -> ResultLine:
        """One of the values."""
        parts = {name: column.names[column.at[i]] for name, column in self._named().items()}
        return ResultLine(**parts, value=float(self.value[i]))

    def renamed(self, rule: Callable[[MeasureOfCase], tuple[str, str]]) -> "Columns":
        """The values under other names: `rule` returns case and metric, and is asked once for each distinct measure."""
        found, at = self.distinct(*MeasureOfCase._fields)
        measures = [MeasureOfCase(*one) for one in found]
        renamed = [rule(one) for one in measures]
        if all(new == (old.case, old.metric) for new, old in zip(renamed, measures, strict=True)):
            return self
        case, metric = (_column([one[i] for one in renamed]) for i in range(2))
        return replace(self, case=replace(case, at=case.at[at]), metric=replace(metric, at=metric.at[at]))

    def _named(self) -> dict[str, CodedColumn]:
        return {name: column for name, column in vars(self).items() if isinstance(column, CodedColumn)}


def columns(lines: Sequence[ResultLine]) -> Columns:
    """The columns of these values, in their order."""
    names = ("row", "seed", "axes", "branch", "case", "metric", "unit", "better")
    parts = {name: _column(list(map(attrgetter(name), lines))) for name in names}
    return Columns(**parts, value=np.fromiter(map(attrgetter("value"), lines), np.float64, len(lines)))


def _column(values: list[Any]) -> CodedColumn:
    names = tuple(sorted(set(values)))
    place = {name: i for i, name in enumerate(names)}
    return CodedColumn(names=names, at=np.fromiter(map(place.__getitem__, values), np.int32, len(values)))
