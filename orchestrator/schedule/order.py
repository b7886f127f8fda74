"""Order: which parts of a study are to be finished first (`run --first`). Pure."""

from collections.abc import Callable, Mapping
from typing import Literal

from orchestrator.plan.job import Plan
from orchestrator.spec.cell import Cell

First = Literal["row", "seed", "comparison"]

FIRST: Mapping[First, str] = {
    "row": "row after row, with all its seeds",
    "seed": "seed after seed, with all rows",
    "comparison": "table after table, seed after seed, so that rows can be compared early",
}


def turns(plan: Plan, first: First) -> dict[str, int]:
    """Job id -> its turn, 0 first. A job of several cells has the earliest turn of them."""
    turn_of = _turn_of(plan, first)
    turn_of_cell = {cell.id: turn_of(cell) for cell in plan.cells}
    numbers = {turn: n for n, turn in enumerate(sorted(set(turn_of_cell.values())))}
    return {
        job.id: min((numbers[turn_of_cell[cell]] for cell in job.cells if cell in turn_of_cell), default=0)
        for job in plan.jobs.values()
    }


def _turn_of(plan: Plan, first: First) -> Callable[[Cell], tuple[int, ...]]:
    rows = {row: n for n, row in enumerate(dict.fromkeys(cell.row for cell in plan.cells))}
    if first == "row":
        return lambda cell: (rows[cell.row],)
    seeds = {seed: n for n, seed in enumerate(dict.fromkeys(cell.seed for cell in plan.cells))}
    if first == "seed":
        return lambda cell: (seeds[cell.seed],)
    tables: dict[str, int] = {}
    for n, members in enumerate(plan.tables.values()):
        for row in members:
            tables.setdefault(row, n)
    return lambda cell: (tables.get(cell.row, len(plan.tables)), seeds[cell.seed])
