"""Filters of the page by table, by axis and by seed: radio buttons and style rules, without scripts.

The mark of a row (`macros.j2`: name) has classes for its tables and its axis values. For each choice a rule hides every
line and picture whose mark has not the chosen class. Lines of one seed have a class themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.analysis import Analysis

TABLE, SEED = "Table", "Seed"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One question: which table, which value of an axis, which seed."""

    key: str
    name: str
    choices: Sequence[tuple[str, str]]
    """(class, label), without the choice that shows everything."""


def filters(analysis: Analysis, seeds: Sequence[int]) -> list[Filter]:
    """The filters that have something to choose between."""
    found = [Filter(key="t", name=TABLE, choices=[(f"t{i}", name) for name, i in _tables(analysis).items()])]
    for i, (axis, values) in enumerate(_axes(analysis).items()):
        choices = [(f"a{i}-{j}", value) for value, j in values.items()]
        found.append(Filter(key=f"a{i}", name=axis, choices=choices))
    found.append(Filter(key="s", name=SEED, choices=[(f"s{i}", str(seed)) for i, seed in enumerate(seeds)]))
    return [one for one in found if len(one.choices) > 1]


def classes(analysis: Analysis) -> Mapping[str, str]:
    """Label of a row -> the classes of its mark: its tables, and its axis values."""
    tables, axes = _tables(analysis), list(_axes(analysis).items())
    within: dict[str, list[str]] = {row.label: [] for row in analysis.rows}
    for name, table in analysis.tables.items():
        for row in table.names:
            within.setdefault(row, []).append(f"t{tables[name.partition('/')[0]]}")
    for row, own in within.items():
        values = _values(row)
        own += [f"a{i}-{known[values[axis]]}" for i, (axis, known) in enumerate(axes) if axis in values]
    return {row: " ".join(own) for row, own in within.items()}


def table_classes(analysis: Analysis) -> Mapping[str, str]:
    """Name of a table -> the classes of what is about it alone."""
    tables, axes = _tables(analysis), list(_axes(analysis).items())
    found = {}
    for name in analysis.tables:
        values = _values(name)
        own = [f"a{i}-{known[values[axis]]}" for i, (axis, known) in enumerate(axes) if axis in values]
        found[name] = " ".join(["of", f"t{tables[name.partition('/')[0]]}", *own])
    return found


def rules(found: Iterable[Filter]) -> Markup:
    """A style rule for each choice."""
    lines = []
    for one in found:
        for css, _ in one.choices:
            chosen = f"body:has(#choice-{css}:checked)"
            if one.key == "s":
                lines.append(f"{chosen} .seed:not(.{css}) {{ display: none; }}")
                continue
            other = f":not(.{css}, .reference)" if one.key == "t" else f":not(.{css})"
            hidden = (
                f"tr:has(> th:first-child > .dot{other})",
                f".strip:has(.dot{other})",
                f".of:not(.{css})",
            )
            lines += [f"{chosen} {what} {{ display: none; }}" for what in hidden]
    return Markup("\n".join(lines))


def _tables(analysis: Analysis) -> dict[str, int]:
    """The matrix's tables, without axis values, by place."""
    return {name: i for i, name in enumerate(dict.fromkeys(name.partition("/")[0] for name in analysis.tables))}


def _axes(analysis: Analysis) -> dict[str, dict[str, int]]:
    """Axis -> value -> place, as rows have them."""
    found: dict[str, dict[str, int]] = {}
    for row in analysis.rows:
        for axis, value in _values(row.label).items():
            known = found.setdefault(axis, {})
            known.setdefault(value, len(known))
    return found


def _values(label: str) -> dict[str, str]:
    """Axis values at the end of a label: `ROW/KEY=VALUE/...`."""
    return {axis: value for part in label.split("/")[1:] for axis, _, value in [part.partition("=")]}
