"""Control checks: before a run, that compared cells differ only in their row. `verdicts.py` has those after it.

Pure functions; a plan in which more differs is refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from orchestrator.errors import ControlsError
from orchestrator.spec.canonical import axis_text
from orchestrator.spec.cell import Cell, Deviation
from workloads.contract.workload import Workload


def check_controls(workload: Workload, cells: Sequence[Cell], deviations: Sequence[Deviation]) -> None:
    """Refuse a plan in which cells with the same axis values and seed differ in more than their row.

    Raises:
        ControlsError: two cells differ in a control or a branch, or a row sets a parameter that needs a reason, and
            no deviation gives it.
    """
    listed = {(deviation.key, row) for deviation in deviations for row in deviation.rows}
    deviating = {row for _, row in listed}
    for cell in {cell.row: cell for cell in reversed(cells)}.values():
        _check_row(workload, cell, listed)
    # Cells that share their sections cannot differ, so each combination of sections is compared once.
    flat: dict[int, dict[str, Any]] = {}
    row_controls = frozenset(f"controls.{key}" for key in workload.row_controls)
    compared: set[frozenset[tuple[int, int, str]]] = set()
    for group in compared_cells(cells).values():
        tokens: dict[tuple[int, int, str], Cell] = {}
        for cell in group:
            own = cell.row if cell.row in deviating else ""
            tokens.setdefault((id(cell.controls), id(cell.branches), own), cell)
        if frozenset(tokens) not in compared:
            compared.add(frozenset(tokens))
            _check_group(list(tokens.values()), listed, flat, row_controls)


def _check_row(workload: Workload, cell: Cell, listed: set[tuple[str, str]]) -> None:
    """A row gives the reason for what needs one, and is evaluated as it was trained."""
    reasoned = workload.family[cell.family].deviating()
    for parameter in reasoned:
        key = f"{workload.rows_key}.{parameter}"
        value = cell.evaluated.get(parameter) or cell.trained.get(parameter)
        if value and (key, cell.row) not in listed:
            raise ControlsError(
                f"cell {cell.id}: row {cell.row} sets {parameter}: {axis_text(value)}, and no deviation gives the "
                f'reason; add {{key: {key}, rows: [{cell.row}], reason: "..."}} under deviations'
            )
    if cell.reference:  # it has no training of its own
        return
    for parameter in sorted(cell.trained.keys() | cell.evaluated.keys()):
        trained, evaluated = (form.get(parameter, "absent") for form in (cell.trained, cell.evaluated))
        if trained != evaluated and parameter not in reasoned:
            raise ControlsError(
                f"cell {cell.id}: row {cell.row} is trained with {parameter}: {axis_text(trained)} and evaluated with "
                f"{parameter}: {axis_text(evaluated)}; a row is evaluated as it was trained, but for parameters in "
                f"`needs_deviation` of its family, whose reason stands under deviations"
            )


def _check_group(
    group: Sequence[Cell], listed: set[tuple[str, str]], flat: dict[int, dict[str, Any]], row_controls: frozenset[str]
) -> None:
    expected: dict[str, tuple[Any, Cell]] = {}
    for cell in group:
        for key, value in _leaves(cell, flat):
            if (key, cell.row) in listed:
                continue
            reference = expected.setdefault(key, (value, cell))
            if reference[0] != value:
                _refuse(key, reference[1], reference[0], cell, value)
    # A key that only some of them have is a difference too, unless it is a row control or of a branch of the others.
    for place, cell in enumerate(group):
        own = dict(_leaves(cell, flat))
        for key in sorted(expected.keys() - own.keys() - row_controls):
            top, name, _ = key.split(".", 2)
            if (key, cell.row) in listed or (top == "branches" and name not in cell.branches):
                continue
            value, holder = expected[key]
            if any(holder is earlier for earlier in group[:place]):
                _refuse(key, holder, value, cell, "absent")
            _refuse(key, cell, "absent", holder, value)


def _refuse(key: str, a: Cell, value_a: Any, b: Cell, value_b: Any) -> NoReturn:
    remedy = f'add {{key: {key}, rows: [{b.row}], reason: "...", value: ...}} under deviations, or make it an axis'
    if not key.startswith("controls."):
        remedy = "branches are the same for all rows: make it an axis"
    raise ControlsError(
        f"cells {a.id} and {b.id} differ in {key} ({value_a!r} and {value_b!r}), and no deviation gives the reason; "
        f"{remedy}"
    )


def _leaves(cell: Cell, flat: dict[int, dict[str, Any]]) -> Iterable[tuple[str, Any]]:
    for top, sections in (("controls", cell.controls), ("branches", cell.branches)):
        for name, section in sections.items():
            if id(section) not in flat:
                flat[id(section)] = {f"{top}.{name}.{key}": value for key, value in section.items()}
            yield from flat[id(section)].items()


def compared_cells(cells: Sequence[Cell]) -> Mapping[tuple[Any, int], list[Cell]]:
    """The cells by axis values and seed: those of one group are compared."""
    groups: dict[tuple[Any, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.axes, cell.seed].append(cell)
    return groups
