"""Gaps: what excluded cells leave out of the comparisons of a profile, as warnings of `plan`.

Rows are compared in pairs of cells with the same axis values and seed.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.plan.job import Plan
from orchestrator.spec.cell import Cell, ExcludedCell
from orchestrator.wording import counted

SHOWN = 3
"""Pairs of rows of one table that are named."""


def gaps(plan: Plan) -> list[str]:
    """Rows and axis values without a cell in this profile, reference rows without some, and rows that share none."""
    return [*_without_cells(plan), *_references(plan), *_uncompared(plan)] if plan.excluded else []


def _without_cells(plan: Plan) -> Iterator[str]:
    rows = {cell.row for cell in plan.cells}
    for row in dict.fromkeys(one.row for one in plan.excluded):
        if row not in rows:
            yield f"row {row} has no cell in profile {plan.profile}"
    values = {label for cell in plan.cells for label in cell.axes}
    for name, text in dict.fromkeys(label for one in plan.excluded for label in one.axes):
        if (name, text) not in values:
            yield f"{name}={text} has no cell in profile {plan.profile}"


def _references(plan: Plan) -> Iterator[str]:
    """Reference rows that are excluded where other rows have cells."""
    references = {cell.row for cell in plan.cells if cell.reference}
    others = {_place(cell) for cell in plan.cells if not cell.reference}
    for row in sorted(references):
        lost = [one for one in plan.excluded if one.row == row and _place(one) in others]
        if lost:
            places = counted(len(lost), "place")
            yield f"reference row {row} is excluded in {places} where other rows have cells, as {lost[0].id}"


def _uncompared(plan: Plan) -> Iterator[str]:
    places: dict[str, set[object]] = {}
    for cell in plan.cells:
        if not cell.reference:
            places.setdefault(cell.row, set()).add(_place(cell))
    tables: dict[str, Sequence[str]] = dict(plan.tables) or {"all rows": list(places)}
    for table, rows in tables.items():
        pairs = list(_disjoint([row for row in rows if row in places], places))
        if pairs:
            named = ", ".join(f"{a} and {b}" for a, b in pairs[:SHOWN])
            more = f" and {len(pairs) - SHOWN} more pairs" if len(pairs) > SHOWN else ""
            why = "they have no cell with the same axis values and seed"
            yield f"table {table} does not compare {named}{more}: {why}"


def _disjoint(rows: Iterable[str], places: dict[str, set[object]]) -> Iterator[tuple[str, str]]:
    for a, b in itertools.combinations(rows, 2):
        if places[a].isdisjoint(places[b]):
            yield a, b


def _place(cell: Cell | ExcludedCell) -> object:
    return cell.axes, cell.seed
