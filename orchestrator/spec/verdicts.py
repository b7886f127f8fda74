"""Control checks after a run: that the records of compared cells agree. They only report, as finished cells are kept.

Records are those of `result.json` and of commit records: step (`train`, `evaluate/loop`) -> cell id -> record -> value.
Pure functions.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from orchestrator.spec.canonical import canonical
from orchestrator.spec.cell import Cell, Deviation
from orchestrator.spec.controls import compared_cells
from orchestrator.spec.read_inputs import SHOWN, Records, inputs_line, short
from orchestrator.wording import counted, shortened
from workloads.contract.fields import value_at
from workloads.contract.rows import row_from
from workloads.contract.stage import CountCheck, RecordCheck, StageSpec
from workloads.contract.workload import Workload

EXECUTION = ("versions", "device_kind", "threads", "world_size", "micro_batch", "numerics", "code")
"""Records of how a job ran; where they differ, results may differ in the last bits. `code`: digest of the
code that ran, as in the commit record; code that changes the meaning of a result has another revision, and so another
job."""

BY_SETTING = ("versions", "numerics")
"""Those that hold settings by name: of them, only the settings that differ are told."""

ITEMS = "items"
"""Digest of the items of a job, of its commit record."""
PLANNED_ITEMS = "planned_items"
"""Digest of those that its plan gives it."""

UNSET = "unset"


def verdicts(workload: Workload, cells: Sequence[Cell], recorded: Mapping[str, Records]) -> list[dict[str, Any]]:
    """The checks after a run; `recorded`: by step, as in `Workload.steps`.

    Compared are cells with the same axis values and seed that agree on what the record depends on: a deviation may have
    changed it, or the row declares another value.

    Returns `{"check", "verdict", "detail", "cells", "branch"}` for each check; `branch` is the one whose records it
    compares, empty where they stand for every branch. Verdicts: `violated`, an unequal record of
    `StageSpec.checks`; `mixed`, unequal execution, both with the cells that differ from the majority; `open`, with the
    cells that have no record yet; else `held`. Records of `StageSpec.counted` are not compared between cells, but with
    their bound: `violated` lists the cells above it. `items` is `violated` where a job has made other items than its
    plan gives it: other cases. `inputs`: see `read_inputs`. Execution of other stages than `Workload.checked` has a
    line only where it is mixed.
    """
    found: list[dict[str, Any]] = []
    execution: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    declared = _Declared(workload)
    for stage, branch, step in workload.steps:
        if not stage.tracked:
            continue
        asked = [cell for cell in cells if branch is None or branch in cell.branches]
        records, whole = recorded.get(step, {}), stage is workload.checked
        lines = [_checked(check, asked, records, workload, declared) for check in stage.checks] if asked else []
        if any(PLANNED_ITEMS in records.get(cell.id, {}) for cell in asked):
            planned = {cell.id: records.get(cell.id, {}).get(PLANNED_ITEMS) for cell in asked}
            lines.append(_as_declared(ITEMS, planned, records, "planned"))
        found += [_named(line, step, whole=whole) for line in lines if line is not None]
        if whole or records:
            ran = (_executed(one, list(compared_cells(asked).values()), records) for one in _execution(stage))
            execution += [_named(one, step, whole=whole) for one in ran if whole or one["verdict"] == "mixed"]
        counts += [
            _named(_counted(workload, check, asked, records), step, whole=whole) for check in stage.counted if asked
        ]
    return [*found, {**inputs_line(cells, recorded), "branch": ""}, *execution, *counts]


def declared_differences(
    workload: Workload, cells: Sequence[Cell], deviations: Sequence[Deviation]
) -> list[dict[str, Any]]:
    """What rows declare otherwise than most rows do (`RecordCheck.declared`), in the form of deviations.

    Without a majority, every row is listed. What `deviations` gives a reason for is not listed again.
    """
    declared = _Declared(workload)
    listed = {(deviation.key, row) for deviation in deviations for row in deviation.rows}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    names = {name: why for stage in workload.stages for check in stage.checks for name, why in check.declared.items()}
    for name, why in names.items():
        for group in compared_cells(cells).values():
            values = {cell.row: value for cell in group if (value := declared.of(cell, name)) is not None}
            counts = Counter(map(canonical, values.values())).most_common(2)
            usual = None if len(counts) < 2 or counts[0][1] == counts[1][1] else counts[0][0]
            for row, value in values.items():
                text = canonical(value)
                if len(counts) < 2 or text == usual or (f"{workload.rows_key}.{name}", row) in listed:
                    continue
                than = "" if usual is None else f", {short(usual)} in most rows"
                line = {"key": name, "rows": [], "reason": f"{short(text)}{than}: {why}", "value": value}
                rows = found.setdefault((name, line["reason"]), line)["rows"]
                if row not in rows:
                    rows.append(row)
    return list(found.values())


class _Declared:
    """What rows declare (`Row.declared`), worked out once for each row and sections."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._known: dict[tuple[int, int], Mapping[str, Any]] = {}

    def of(self, cell: Cell, name: str) -> Any:
        """The value of a cell's row; None: it takes no part."""
        key = (id(cell.trained), id(cell.controls))
        if key not in self._known:
            self._known[key] = row_from(self._workload.family, cell.trained).declared(cell.controls)
        return self._known[key].get(name, UNSET)


def _named(line: dict[str, Any], step: str, *, whole: bool) -> dict[str, Any]:
    """The line of a check with the step that its records are of, and the branch of that step."""
    named = line["check"] if whole and "/" not in step else f"{line['check']} of {step}"
    return {**line, "check": named, "branch": step.partition("/")[2]}


def _execution(stage: StageSpec) -> list[str]:
    """A stage without batches never records a micro-batch."""
    return [one for one in EXECUTION if one != "micro_batch" or stage.global_batch]


def _checked(
    check: RecordCheck, cells: Sequence[Cell], records: Records, workload: Workload, declared: _Declared
) -> dict[str, Any] | None:
    """The line of one check; None: it is not asked for."""
    if check.optional and not any(check.record in record for record in records.values()):
        return None
    if not check.declared:
        return _compared(check.record, "violated", _comparable(cells, check, workload.row_controls), records)
    values = {cell.id: [declared.of(cell, name) for name in check.declared] for cell in cells}
    silent = [cell for cell in cells if None in values[cell.id]]
    taking = [cell for cell in cells if None not in values[cell.id]]
    if check.record in check.declared:
        return _as_declared(check.record, {cell.id: declared.of(cell, check.record) for cell in taking}, records)
    groups = list(_comparable(taking, check, workload.row_controls, lambda cell: values[cell.id]))
    whole = _compared(check.record, "violated", groups, records)
    odd = [cell.id for cell in silent if records.get(cell.id, {}).get(check.record) is not None]
    if odd:
        detail = f"{shortened(odd, 3)} recorded one, and declared to have none"
        details = [detail] if whole["verdict"] != "violated" else [whole["detail"], detail]
        before = whole["cells"] if whole["verdict"] == "violated" else []
        return {**whole, "verdict": "violated", "detail": "; ".join(details), "cells": [*before, *odd]}
    if whole["verdict"] != "held":
        return whole
    counts = Counter(", ".join(map(str, values[cell.id])) for cell in taking)
    parts = [f"{text}: {counted(number, 'cell')}" for text, number in counts.most_common()]
    return {**whole, "detail": f"equal in the cells of the same {', '.join(check.declared)} ({'; '.join(parts)})"}


def _as_declared(
    check: str, declared: Mapping[str, Any], records: Records, verb: Literal["declared", "planned"] = "declared"
) -> dict[str, Any]:
    """Every row has recorded what it declares, or what is planned for it; `declared`: by cell id."""
    own = {cell: records.get(cell, {}).get(check) for cell in declared}
    odd = [cell for cell, value in own.items() if value is not None and canonical(value) != canonical(declared[cell])]
    if odd:
        shown = {
            cell: [short(one) if isinstance(one, str) else one for one in (own[cell], declared[cell])] for cell in odd
        }
        which = "which declares" if verb == "declared" else "for which the plan has"
        parts = (f"{found!r} in {cell}, {which} {wanted!r}" for cell, (found, wanted) in list(shown.items())[:SHOWN])
        more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        return {"check": check, "verdict": "violated", "detail": "; ".join(parts) + more, "cells": odd}
    missing = [cell for cell, value in own.items() if value is None]
    if missing or not own:
        detail = _without_record(missing, len(own), records)
        return {"check": check, "verdict": "open", "detail": detail, "cells": missing}
    return {"check": check, "verdict": "held", "detail": f"as {verb} in {counted(len(own), 'cell')}", "cells": []}


def _comparable(
    cells: Sequence[Cell],
    check: RecordCheck,
    row_controls: Sequence[str],
    declared: Callable[[Cell], Any] = lambda cell: None,
) -> Iterator[list[Cell]]:
    texts: dict[int, str] = {}
    groups: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        if id(cell.controls) not in texts:
            texts[id(cell.controls)] = canonical(_values_of(cell, check.depends, row_controls))
        groups[cell.axes, cell.seed, texts[id(cell.controls)], canonical(declared(cell))].append(cell)
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


def _compared(check: str, unequal: str, groups: Iterable[Sequence[Cell]], records: Records) -> dict[str, Any]:
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
        detail = _without_record(missing, total, records)
        return {"check": check, "verdict": "open", "detail": detail, "cells": missing}
    return {"check": check, "verdict": "held", "detail": f"equal in {counted(total, 'cell')}", "cells": []}


def _without_record(missing: Sequence[str], total: int, records: Records) -> str:
    """How many have none, and of how many the job is done nevertheless."""
    done = sum(cell in records for cell in missing)
    found = "the cell has no record yet" if total == 1 else f"{len(missing)} of {total} cells have no record yet"
    return f"{found}; {counted(done, 'cell')} without it, though the job is done" if done else found


def _executed(check: str, groups: Iterable[Sequence[Cell]], records: Records) -> dict[str, Any]:
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
        f"{short(text)} in {shortened(ids, 1)}"
        for text, ids in sorted(values.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return f"{where}: {', '.join(parts)}"


def _counted(workload: Workload, check: CountCheck, cells: Sequence[Cell], records: Records) -> dict[str, Any]:
    above: list[str] = []
    some: list[str] = []
    bounds: dict[str, None] = {}
    notes: list[str] = []
    missing: list[str] = []
    for cell in cells:
        count = records.get(cell.id, {}).get(check.record)
        if not isinstance(count, int):
            missing.append(cell.id)
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
        none = len(cells) - len(missing) - len(some)
        notes += [f"none in {'the other ' if some else ''}{none} cells", f"allowed in a cell: {' or '.join(bounds)}"]
    if missing:
        notes.append(_without_record(missing, len(cells), records))
    verdict = "violated" if above else "held" if bounds and not missing else "open"
    return {"check": check.what, "verdict": verdict, "detail": "; ".join(notes), "cells": above or some}
