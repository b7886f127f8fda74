"""Branches of matrix.yaml that may be off, and the rows that a branch is evaluated for.

A branch that its workload declares as optional (`NAME: Section | None = None`) is off where `branches` lacks it. A
profile, and above it the command line, switches it off with `null`, and on again with a mapping, `{}` for the values
below.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from orchestrator.spec.lines import Place, entries, is_null, refuse
from orchestrator.spec.patterns import known_rows
from orchestrator.spec.typed import Reader, refuse_incomplete
from workloads.contract.fields import optional_sections, row_choice, section_kinds
from workloads.contract.rows import Row
from workloads.contract.workload import Workload

Sections = Mapping[str, Mapping[str, Any]]


def merged_branches(base: Sections, *layers: Mapping[str, Mapping[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """The branches that are on, with the changes of each layer in turn; None in a layer: off from there."""
    values = {name: dict(section) for name, section in base.items()}
    on = dict.fromkeys(base, True)
    for layer in layers:
        for name, changes in layer.items():
            on[name] = changes is not None
            values.setdefault(name, {}).update(changes or {})
    return {name: section for name, section in values.items() if on[name]}


def refuse_null(reader: Reader, node: yaml.Node, key: str, workload: Workload) -> None:
    """Refuse null for a branch that is always on.

    Raises:
        MatrixError: with the branches that may be off.
    """
    optional, kinds = optional_sections(workload.branches), section_kinds(workload.branches)
    for name, child, place in entries(node, reader.source, key):
        if is_null(child) and name in kinds and name not in optional:
            may = f"only {', '.join(n for n in kinds if n in optional)} may be off" if optional else "none may be off"
            refuse(place, f"{key}.{name}", f"is null, but {name} is a branch that is always on; {may}")


def check_branches(
    workload: Workload, branches: Sections, rows: Mapping[str, Row], places: Mapping[str, str], where: str, source: str
) -> None:
    """Refuse a branch that lacks a key, or that chooses rows that are not there.

    Args:
        workload: of the matrix.
        branches: those that are on, plain.
        rows: of the matrix.
        places: dotted key -> where it is written.
        where: ` (profile NAME)`, or empty.
        source: the file, for a key that is nowhere.
    """
    for name, kind in section_kinds(workload.branches).items():
        if name not in branches:
            continue
        key = f"branches.{name}"
        below = (place for known, place in places.items() if known.startswith(f"{key}."))
        place = places.get(key) or next(below, source)
        refuse_incomplete(branches[name], kind, place, key, f", and the branch is on{where}")
        choice = row_choice(kind)
        if choice is not None:
            chosen_rows(branches[name][choice], rows, places.get(f"{key}.{choice}", source), f"{key}.{choice}")


def chosen_rows(patterns: Sequence[str], rows: Mapping[str, Row], place: Place | str, key: str) -> frozenset[str]:
    """The rows that names, globs and `family:NAME` choose.

    Raises:
        MatrixError: one that matches no row.
    """
    return frozenset(row for pattern in patterns for row in known_rows(pattern, place, key, rows))
