"""Patterns of names: globs, lists of them with commas, and for rows `family:NAME`."""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.spec.lines import Place, listed, nearest, refuse
from workloads.contract.rows import Row

FAMILY = "family:"
"""Begins a pattern for all rows of a family."""


def is_glob(text: str) -> bool:
    """Whether a name is a glob."""
    return any(mark in text for mark in "*?[")


def split_names(texts: Iterable[str]) -> list[str]:
    """The names of texts that may each be a list with commas."""
    return [part.strip() for text in texts for part in text.split(",")]


def matching_rows(pattern: str, family_of: Mapping[str, str]) -> list[str]:
    """The rows that a name, a glob or `family:NAME` matches, in file order; `family_of`: row -> its family."""
    if pattern.startswith(FAMILY):
        family = pattern.removeprefix(FAMILY)
        return [row for row, its in family_of.items() if its == family]
    return fnmatch.filter(family_of, pattern)


def known_rows(pattern: str, place: Place | str, key: str, rows: Mapping[str, Row]) -> list[str]:
    """The rows of a matrix that a pattern matches, in file order.

    Raises:
        MatrixError: it matches none.
    """
    family_of = families_of(rows)
    found = matching_rows(pattern, family_of)
    if not found and pattern.startswith(FAMILY):
        family, known = pattern.removeprefix(FAMILY), dict.fromkeys(family_of.values())
        refuse(place, key, f"names no family of a row, {family!r}{nearest(family, known)}{listed(known)}")
    if not found:
        refuse(place, key, f"matches no row, {pattern!r}{nearest(pattern, rows)}{listed(rows)}")
    return found


def rows_of_patterns(patterns: Sequence[tuple[str, Place]], key: str, rows: Mapping[str, Row]) -> tuple[str, ...]:
    """The rows of a matrix that any of these patterns matches, in file order; each with the place where it is written.

    Raises:
        MatrixError: a pattern is given twice, or matches nothing.
    """
    found: dict[str, list[str]] = {}
    for pattern, place in patterns:
        if pattern in found:
            refuse(place, key, f"lists {pattern!r} twice; remove one")
        found[pattern] = known_rows(pattern, place, key, rows)
    return tuple(row for row in rows if any(row in matches for matches in found.values()))


def families_of(rows: Mapping[str, Row]) -> dict[str, str]:
    """Row -> its family, in file order."""
    return {name: row.family for name, row in rows.items()}
