"""The input of a report from a table alone: what a file with values says, and which of its values are absent."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports.comparable import VIOLATED
from reports.input import ControlsCertificate, Missing, ReportInput, ResultLine, RowInfo
from reports.results_csv import ValueTable
from reports.spec import ReportSpec
from reports.statistics.panel import row_label

ABSENT = "absent"
"""State of a cell without values in the table."""


def report_of_table(
    table: ValueTable,
    *,
    study: str,
    name: str,
    content: bytes,
    spec: ReportSpec | None = None,
    rows: Sequence[RowInfo] = (),
    tables: Mapping[str, Sequence[str]] | None = None,
) -> ReportInput:
    """The input of a report about the values of a file.

    Args:
        table: the values.
        study: its name, for the title.
        name: of the file, for the title and the notes.
        content: of the file, decompressed; the notes have its sha256.
        spec: how the study reports its results, which knows all rows of the file; None: the generic one.
        rows: what the study says of its rows; those that the file does not have are left out.
        tables: of the study; rows that the file does not have are left out.

    Raises:
        ValueError: the values contradict each other (`checked`); names file and line.
    """
    spec = spec or ReportSpec()
    values = _directed(table.values, spec) if "better" in table.absent else table.values
    table = replace(table, values=values)
    table.check(spec)
    names = list(dict.fromkeys(value.row for value in values))
    kept = {table: [row for row in members if row in names] for table, members in (tables or {}).items()}
    return ReportInput(
        study=study,
        profile=name,
        seeds=sorted({value.seed for value in values}),
        rows=_known(rows, names) or [_row(row, table.families) for row in names],
        values=values,
        missing=_absent(values, name),
        sections={},
        spec=spec,
        git="",
        tables={title: members for title, members in kept.items() if members},
        costs=(),
        strips=(),
        curves=(),
        controls=_controls(table, name),
        notes=_notes(table, name, content),
    )


def _known(rows: Sequence[RowInfo], names: Sequence[str]) -> list[RowInfo]:
    """The rows that the file has, in the order of the study."""
    there = [info for info in rows if info.name in names]
    return [info if info.alias_of in names else replace(info, alias_of=None) for info in there]


def _row(row: str, families: Mapping[str, str]) -> RowInfo:
    """A row of which only the file knows: without a family it has that of its name's first part."""
    return RowInfo(name=row, family=families.get(row) or row.partition("-")[0], alias_of=None)


def _controls(table: ValueTable, name: str) -> ControlsCertificate:
    """Which cells the file says to rest on a control that did not hold; it does not say on which."""
    found: dict[str, list[str]] = {}
    for row, axes, seed, branch in sorted(table.violated):
        found.setdefault(branch, []).append(f"{row_label(row, axes)}/s{seed}")
    return ControlsCertificate(
        verdicts=[
            {"check": "controls", "verdict": VIOLATED, "detail": f"as {name} says", "cells": cells, "branch": branch}
            for branch, cells in found.items()
        ]
    )


def _directed(values: Sequence[ResultLine], spec: ReportSpec) -> Sequence[ResultLine]:
    """The values of a file that says nothing about directions, with those that the study declares for its scores."""
    low = {
        (branch.name, part.metric)
        for branch in spec.branches
        for part in (*branch.score, *branch.otherwise)
        if part.better == "low"
    }
    if not low:
        return values
    return [replace(v, better="low") if (v.branch, v.metric) in low else v for v in values]


def _absent(values: Sequence[ResultLine], name: str) -> list[Missing]:
    """The rows × seeds × axes × branches that have no value, though the file has each of them."""
    there = {(v.row, v.axes, v.seed, v.branch) for v in values}
    rows = dict.fromkeys((v.row, v.axes) for v in values)
    seeds, branches = sorted({v.seed for v in values}), sorted({v.branch for v in values})
    return [
        Missing(row=row, seed=seed, axes=axes, branch=branch, state=ABSENT, reason=f"no line in {name}")
        for row, axes in rows
        for seed in seeds
        for branch in branches
        if (row, axes, seed, branch) not in there
    ]


def _notes(table: ValueTable, name: str, content: bytes) -> list[str]:
    digest = hashlib.sha256(content).hexdigest()
    notes = [
        f"Made from {name} alone (sha256 {digest[:12]}): what was held equal, what it cost and how it was trained are "
        "not known."
    ]
    said = {
        "better": "every metric counts as better when high, but for those whose direction the study declares",
        "case": "each value stands for a whole row and seed, so that there are no intervals over cases",
        "seed": "all values are of one seed",
    }
    notes += [f"{name} has no column {column}: {text}." for column, text in said.items() if column in table.absent]
    return notes
