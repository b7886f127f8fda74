"""Control checks: before a run that compared cells differ only in their row, after it that their records agree.

Both are pure functions. The check before a run refuses the plan; the one after it only reports, since finished cells
are kept.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from orchestrator.errors import ControlsError
from orchestrator.spec.canonical import canonical
from orchestrator.spec.cell import Cell, Deviation
from orchestrator.wording import counted, shortened
from workloads.contract.fields import value_at
from workloads.contract.workload import CountCheck, Workload

EXECUTION = ("versions", "device_kind", "threads", "world_size", "micro_batch", "numerics")
"""Records of how a job ran; where they differ, results may differ in the last bits."""

BY_SETTING = ("versions", "numerics")
"""Those that hold settings by name: of them, only the settings that differ are told."""

UNSET = "unset"

DIGEST_DIGITS = 64
"""Hex digits of a sha256."""


def check_controls(workload: Workload, cells: Sequence[Cell], deviations: Sequence[Deviation]) -> None:
    """Refuse a plan in which cells with the same axis values and seed differ in more than their row.

    Raises:
        ControlsError: two cells differ in a control or a branch, or a row sets a parameter that needs a reason, and
            no deviation gives it.
    """
    listed = {(deviation.key, row) for deviation in deviations for row in deviation.rows}
    deviating = {row for _, row in listed}
    for cell in {cell.row: cell for cell in reversed(cells)}.values():
        for parameter in workload.family[cell.family].needs_deviation:
            key = f"{workload.rows_key}.{parameter}"
            if cell.evaluated.get(parameter) and (key, cell.row) not in listed:
                raise ControlsError(
                    f"cell {cell.id}: row {cell.row} sets {parameter}: true, and no deviation gives the reason; add "
                    f'{{key: {key}, rows: [{cell.row}], reason: "..."}} under deviations'
                )
    # Cells that share their sections cannot differ, so each combination of sections is compared once.
    flat: dict[int, dict[str, Any]] = {}
    row_controls = frozenset(f"controls.{key}" for key in workload.row_controls)
    compared: set[frozenset[tuple[int, int, str]]] = set()
    for group in _groups(cells).values():
        tokens: dict[tuple[int, int, str], Cell] = {}
        for cell in group:
            own = cell.row if cell.row in deviating else ""
            tokens.setdefault((id(cell.controls), id(cell.branches), own), cell)
        if frozenset(tokens) not in compared:
            compared.add(frozenset(tokens))
            _check_group(list(tokens.values()), listed, flat, row_controls)


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
        _check_absent(cell, group[0], flat, listed, row_controls)


def _refuse(key: str, a: Cell, value_a: Any, b: Cell, value_b: Any) -> NoReturn:
    remedy = f'add {{key: {key}, rows: [{b.row}], reason: "...", value: ...}} under deviations, or make it an axis'
    if not key.startswith("controls."):
        remedy = "branches are the same for all rows: make it an axis"
    raise ControlsError(
        f"cells {a.id} and {b.id} differ in {key} ({value_a!r} and {value_b!r}), and no deviation gives the reason; "
        f"{remedy}"
    )


def _check_absent(
    cell: Cell,
    first: Cell,
    flat: dict[int, dict[str, Any]],
    listed: set[tuple[str, str]],
    row_controls: frozenset[str],
) -> None:
    """A key that only one of two cells has is a difference too, unless it is a row control or of a branch of one."""
    own, other = dict(_leaves(cell, flat)), dict(_leaves(first, flat))
    of_one = tuple(f"branches.{name}." for name in cell.branches.keys() ^ first.branches.keys())
    for key in sorted((own.keys() ^ other.keys()) - row_controls):
        if not key.startswith(of_one) and (key, cell.row) not in listed and (key, first.row) not in listed:
            _refuse(key, first, other.get(key, "absent"), cell, own.get(key, "absent"))


def _leaves(cell: Cell, flat: dict[int, dict[str, Any]]) -> Iterable[tuple[str, Any]]:
    for top, sections in (("controls", cell.controls), ("branches", cell.branches)):
        for name, section in sections.items():
            if id(section) not in flat:
                flat[id(section)] = {f"{top}.{name}.{key}": value for key, value in section.items()}
            yield from flat[id(section)].items()


def _groups(cells: Sequence[Cell]) -> Mapping[tuple[Any, int], list[Cell]]:
    groups: dict[tuple[Any, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.axes, cell.seed].append(cell)
    return groups


def verdicts(
    workload: Workload,
    cells: Sequence[Cell],
    records: Mapping[str, Mapping[str, Any]],
    others: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The checks after a run, over the `records` of the checked stage's jobs, by cell id.

    `others` are those of other jobs of the cells, by name (`evaluate/loop`): of their execution, what differs is told.

    Compared are cells with the same axis values and seed that agree on what the record depends on: a deviation may have
    changed it.

    Returns `{"check", "verdict", "detail", "cells"}` for each check. Verdicts: `violated`, an unequal record of
    `StageSpec.checks`; `mixed`, unequal execution, both with the cells that differ from the majority; `open`, with the
    cells that have no record yet; else `held`. Records of `StageSpec.counted` are not compared between cells, but with
    their bound: `violated` lists the cells above it.
    """
    stage = workload.checked
    found = [
        _compared(check.record, "violated", _comparable(cells, check.depends, workload.row_controls), records)
        for check in (stage.checks if stage else ())
    ]
    groups = list(_groups(cells).values())
    # A stage without batches never records a micro-batch.
    execution = [one for one in EXECUTION if one != "micro_batch" or stage is None or stage.global_batch]
    found += [_executed(check, groups, records) for check in execution]
    for name, theirs in others.items():
        compared = (_executed(check, groups, theirs) for check in EXECUTION)
        found += [{**one, "check": f"{one['check']} of {name}"} for one in compared if one["verdict"] == "mixed"]
    found += [_counted(workload, check, cells, records) for check in (stage.counted if stage else ())]
    return found


def _comparable(cells: Sequence[Cell], depends: Sequence[str], row_controls: Sequence[str]) -> Iterator[list[Cell]]:
    texts: dict[int, str] = {}
    groups: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        if id(cell.controls) not in texts:
            texts[id(cell.controls)] = canonical(_values_of(cell, depends, row_controls))
        groups[cell.axes, cell.seed, texts[id(cell.controls)]].append(cell)
    yield from groups.values()


def _values_of(cell: Cell, sections: Sequence[str], row_controls: Sequence[str]) -> dict[str, Any]:
    """The values of `sections` in a cell, without row controls."""
    values: dict[str, Any] = {}
    for section in sections:
        name, _, key = section.partition(".")
        for own, value in cell.controls[name].items():
            if key in ("", own) and f"{name}.{own}" not in row_controls:
                values[f"{name}.{own}"] = value
    return values


def _compared(
    check: str, unequal: str, groups: Iterable[Sequence[Cell]], records: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    missing: list[str] = []
    odd: list[str] = []
    details: list[str] = []
    total = 0
    for group in groups:
        total += len(group)
        values: dict[str, list[str]] = defaultdict(list)
        for cell in group:
            record = records.get(cell.id, {})
            if record.get(check) is None:
                missing.append(cell.id)
            else:
                values[canonical(record[check])].append(cell.id)
        if len(values) > 1:
            counts = Counter({text: len(ids) for text, ids in values.items()})
            (most, top), (_, second) = counts.most_common(2)
            # Without a majority, every cell of the group is listed.
            odd += [cell for text, ids in values.items() if top == second or text != most for cell in ids]
            details.append(_differences(group[0], values))
    if odd:
        return {"check": check, "verdict": unequal, "detail": "; ".join(details), "cells": odd}
    if missing or not total:
        detail = _without_record(len(missing), total)
        return {"check": check, "verdict": "open", "detail": detail, "cells": missing}
    return {"check": check, "verdict": "held", "detail": f"equal in {counted(total, 'cell')}", "cells": []}


def _without_record(missing: int, total: int) -> str:
    return "the cell has no record yet" if total == 1 else f"{missing} of {total} cells have no record yet"


def _executed(check: str, groups: Iterable[Sequence[Cell]], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How the jobs ran: one record, or every setting of it."""
    groups = list(groups)
    whole = _compared(check, "mixed", groups, records)
    if whole["verdict"] != "mixed" or check not in BY_SETTING:
        return whole
    flat = {cell: _settings(found[check]) for cell, found in records.items() if isinstance(found.get(check), Mapping)}
    names = sorted({name for settings in flat.values() for name in settings})
    full = {cell: {name: settings.get(name, UNSET) for name in names} for cell, settings in flat.items()}
    parts = {name: part for name in names if (part := _compared(name, "mixed", groups, full))["verdict"] == "mixed"}
    detail = "; ".join(f"{name}: {part['detail']}" for name, part in parts.items())
    odd = {cell: None for part in parts.values() for cell in part["cells"]}
    return {**whole, "detail": detail or whole["detail"], "cells": list(odd) or whole["cells"]}


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> value; those of a mapping inside are `environment.NAME`."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        inner = {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
        found |= {key: UNSET if one is None else one for key, one in inner.items()}
    return found


def _differences(cell: Cell, values: Mapping[str, Sequence[str]]) -> str:
    where = ", ".join((*(f"{name}={value}" for name, value in cell.axes), f"seed {cell.seed}"))
    parts = [
        f"{_short(text)} in {shortened(ids, 1)}"
        for text, ids in sorted(values.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return f"{where}: {', '.join(parts)}"


def _short(text: str) -> str:
    """A canonical value for display: digests are cut to twelve digits."""
    text = text.strip('"')
    return text[:12] if len(text) == DIGEST_DIGITS else text


def _counted(
    workload: Workload, check: CountCheck, cells: Sequence[Cell], records: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    above: list[str] = []
    some: list[str] = []
    bounds: dict[str, None] = {}
    notes: list[str] = []
    missing = 0
    for cell in cells:
        count = records.get(cell.id, {}).get(check.record)
        if not isinstance(count, int):
            missing += 1
            continue
        whole, share = (value_at(workload.controls, cell.controls, path) for path in (check.of, check.most))
        most = check.allowed(share, whole)
        bounds[f"{most} of {whole} ({check.most} {share:g})"] = None
        if count:
            some.append(cell.id)
            notes.append(f"{cell.id} {count} of {whole}" + (f", more than {most}" if count > most else ""))
        if count > most:
            above.append(cell.id)
    if bounds:
        none = len(cells) - missing - len(some)
        notes += [f"none in {'the other ' if some else ''}{none} cells", f"allowed in a cell: {' or '.join(bounds)}"]
    if missing:
        notes.append(_without_record(missing, len(cells)))
    verdict = "violated" if above else "held" if bounds and not missing else "open"
    return {"check": check.what, "verdict": verdict, "detail": "; ".join(notes), "cells": above or some}
