"""Rows, axes, tables, deviations and profiles of matrix.yaml: reads and validates each."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import yaml

from orchestrator.spec.branches import refuse_null
from orchestrator.spec.cell import Deviation
from orchestrator.spec.limits import LONGEST_NAME
from orchestrator.spec.lines import Place, entries, kind_of, listed, nearest, place_of, read_text, refuse
from orchestrator.spec.patterns import rows_of_patterns
from orchestrator.spec.schema import Axis, Profile, completed, resources_of
from orchestrator.spec.typed import Reader, build, hint_at, hints_of, leaves_of, required
from workloads.contract.fields import Natural, row_choice, section_kinds
from workloads.contract.rows import Row, RowError, row_from
from workloads.contract.workload import Workload

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def named(reader: Reader, node: yaml.Node, key: str, read: Callable[[Reader, yaml.Node, str], T]) -> dict[str, T]:
    """A mapping of names, each value read by `read`.

    Raises:
        MatrixError: a name that cannot be part of a path or label, or a value that `read` refuses.
    """
    found: dict[str, T] = {}
    for name, child, place in entries(node, reader.source, key):
        check_name(name, place, f"{key}.{name}")
        reader.note(f"{key}.{name}", place)
        found[name] = read(reader, child, f"{key}.{name}")
    return found


def check_name(name: str, place: Place, key: str) -> None:
    """Refuse a name that cannot be part of a path or label."""
    if not NAME.fullmatch(name):
        refuse(place, key, f"is named {name!r}; allowed: letters, digits, '.', '_', '-'; the first a letter or digit")
    if len(name) > LONGEST_NAME:
        refuse(place, key, f"has a name of {len(name)} characters; allowed: {LONGEST_NAME}")


def fields_of(
    reader: Reader, node: yaml.Node, key: str, allowed: Sequence[str], required: Sequence[str], example: str
) -> dict[str, yaml.Node]:
    """The values of a mapping by name.

    Raises:
        MatrixError: an unknown key, or a required one that is missing; the message then says to write `example`.
    """
    found: dict[str, yaml.Node] = {}
    for name, child, place in entries(node, reader.source, key):
        if name not in allowed:
            refuse(place, f"{key}.{name}", f"is unknown{nearest(name, allowed)}{listed(allowed)}")
        reader.note(f"{key}.{name}", place)
        found[name] = child
    for name in required:
        if name not in found:
            refuse(place_of(node, reader.source), f"{key}.{name}", f"is missing; write {example}")
    return found


def row(reader: Reader, node: yaml.Node, key: str, workload: Workload) -> Row:
    """A row of the matrix.

    Raises:
        MatrixError: an unknown family or parameter, or a combination of parameters that the family refuses.
    """
    place = place_of(node, reader.source)
    families = workload.family
    nodes = {name: (child, where) for name, child, where in entries(node, reader.source, key)}
    if "family" not in nodes:
        refuse(place, f"{key}.family", f"is missing{listed(families)}")
    family_node, where = nodes["family"]
    family = read_text(family_node, where, f"{key}.family")
    if family not in families:
        refuse(where, f"{key}.family", f"is {family!r}{nearest(family, families)}{listed(families)}")
    kind: Any = families[family]
    hints = hints_of(kind)
    values: dict[str, Any] = {"family": family}
    for name, (child, where) in nodes.items():
        if name == "family":
            continue
        if name not in hints:
            refuse(where, f"{key}.{name}", f"is not a parameter of {family}{nearest(name, hints)}{listed(hints)}")
        values[name] = reader.value(child, hints[name], f"{key}.{name}", where)
    absent = [name for name in required(kind) if name not in values]
    if absent:
        refuse(place, key, f"is missing a parameter of {family}; not given: {', '.join(absent)}")
    try:
        return row_from(families, values)
    except RowError as error:
        refuse(nodes[error.key][1] if error.key in nodes else place, key, f"is not valid: {error}")
    except Exception as error:  # whatever a check of the family's raises
        refuse(place, key, f"is not valid: {type(error).__name__}: {error}")


def axis(reader: Reader, node: yaml.Node, key: str, workload: Workload) -> Axis:
    """An axis: the key of a control and its values.

    Raises:
        MatrixError: a key that is not a control, or a value of another type.
    """
    names = ("key", "values")
    nodes = fields_of(reader, node, key, names, names, "{key: controls.SECTION.KEY, values: [a, b]}")
    where = place_of(nodes["key"], reader.source)
    path = read_text(nodes["key"], where, f"{key}.key")
    hint = _control_hint(path, where, f"{key}.key", workload)
    top, _, rest = path.partition(".")
    if top == "branches" and row_choice(section_kinds(workload.branches)[rest.partition(".")[0]]) == path.split(".")[2]:
        refuse(where, f"{key}.key", f"is {path}, which chooses rows and changes no result; allowed: another key")
    values = axis_values(reader, nodes["values"], hint, f"{key}.values", place_of(nodes["values"], reader.source))
    return Axis(key=path, values=values)


def _control_hint(path: str, place: Place, key: str, workload: Workload) -> Any:
    """The type of a key of the controls or branches; any other key is refused."""
    hint = control_hint(path, workload)
    if hint is None:
        leaves = leaves_of(workload.controls, "controls") + leaves_of(workload.branches, "branches")
        top = path.partition(".")[0]
        of_row = "; to vary a parameter of a row, write another row" if top == workload.rows_key else ""
        refuse(place, key, f"is {path!r}, which is not a control{of_row}{nearest(path, leaves)}; allowed: full paths")
    return hint


def control_hint(path: str, workload: Workload) -> Any:
    """The type of a key of the controls or branches; None for any other key."""
    top, _, rest = path.partition(".")
    sections: dict[str, type] = {"controls": workload.controls, "branches": workload.branches}
    return hint_at(sections[top], rest) if top in sections and rest else None


def axis_values(reader: Reader, node: yaml.Node, hint: Any, key: str, place: Place) -> tuple[Any, ...]:
    """The values of an axis, each of its key's type.

    Raises:
        MatrixError: not a list, an empty list, a wrong type, a repeated value, or one that cannot be part of a label.
    """
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        problem = "is empty" if isinstance(node, yaml.SequenceNode) else f"is {kind_of(node)}"
        refuse(place, key, f"{problem}; allowed: a list with at least one value")
    values = [
        tuple(value) if isinstance(value, list) else value
        for value in (reader.value(child, hint, f"{key}[{i}]", place) for i, child in enumerate(node.value))
    ]
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            refuse(place, key, f"contains {value!r} twice; remove one")
        seen.add(value)
        if isinstance(value, str) and re.search(r"[/;=\n]", value):
            refuse(place, key, f"contains {value!r}; values become part of labels: no '/', ';', '=' or line break")
    return tuple(values)


def check_axes(axes: Mapping[str, Axis], reader: Reader) -> None:
    """Refuse two axes with the same key."""
    names: dict[str, str] = {}
    for name, axis in axes.items():
        if axis.key in names:
            place = Place(reader.source, reader.places[f"axes.{name}.key"])
            refuse(place, f"axes.{name}.key", f"is {axis.key}, the key of axis {names[axis.key]} too; remove one")
        names[axis.key] = name


def rows_of(reader: Reader, node: yaml.Node, key: str, rows: Mapping[str, Row]) -> tuple[str, ...]:
    """A list of existing rows.

    Raises:
        MatrixError: an unknown or repeated row, or an empty list.
    """
    place = place_of(node, reader.source)
    names = reader.value(node, tuple[str, ...], key, place)
    if not names:
        refuse(place, key, f"lists no row{listed(rows)}")
    seen: set[str] = set()
    for name in names:
        if name not in rows:
            refuse(place, key, f"lists {name!r}, which is not a row{nearest(name, rows)}{listed(rows)}")
        if name in seen:
            refuse(place, key, f"lists {name!r} twice; remove one")
        seen.add(name)
    return tuple(names)


def ranked(reader: Reader, node: yaml.Node, key: str, rows: Mapping[str, Row]) -> tuple[str, ...]:
    """The rows of a table, which are ranked together.

    Raises:
        MatrixError: as `rows_of`, or a reference row, which is not ranked.
    """
    names = rows_of(reader, node, key, rows)
    for name in names:
        if rows[name].reference:
            refuse(
                place_of(node, reader.source),
                key,
                f"lists {name!r}, a reference row, which is not ranked; remove it, every table shows it anyway",
            )
    return names


def seeds(reader: Reader, node: yaml.Node, key: str) -> tuple[int, ...]:
    """A list of seeds."""
    place = place_of(node, reader.source)
    return checked_seeds(reader.value(node, tuple[Natural, ...], key, place), place, key)


def checked_seeds(seeds: Sequence[int], place: Place, key: str) -> tuple[int, ...]:
    """`seeds` as a tuple.

    Raises:
        MatrixError: none, or one twice.
    """
    if not seeds:
        refuse(place, key, "is empty; allowed: at least one seed, such as [0]")
    if len(set(seeds)) < len(seeds):
        refuse(place, key, f"is {list(seeds)}, which contains a seed twice; remove one")
    return tuple(seeds)


def deviations(
    reader: Reader, node: yaml.Node, rows: Mapping[str, Row], axes: Mapping[str, Axis], workload: Workload
) -> tuple[Deviation, ...]:
    """The intended differences between rows.

    Raises:
        MatrixError: a key that is neither a control nor a declared parameter, a missing value or reason, or the same
            key twice for a row.
    """
    if not isinstance(node, yaml.SequenceNode):
        place = place_of(node, reader.source)
        refuse(place, "deviations", f"is {kind_of(node)}; allowed: a list, [] for none")
    found: list[Deviation] = []
    for i, child in enumerate(node.value):
        deviation = _deviation(reader, child, f"deviations[{i}]", rows, axes, workload)
        for other in found:
            twice = set(other.rows) & set(deviation.rows)
            if other.key == deviation.key and twice:
                refuse(
                    place_of(child, reader.source),
                    f"deviations[{i}]",
                    f"is the second one with {deviation.key} for {', '.join(sorted(twice))}; remove one",
                )
        found.append(deviation)
    return tuple(found)


def deviation_keys(workload: Workload) -> tuple[str, ...]:
    """Parameters of rows that need a deviation with the reason when they are set, as keys of deviations."""
    names = (name for kind in workload.families for name in kind.deviating())
    return tuple(dict.fromkeys(f"{workload.rows_key}.{name}" for name in names))


def _deviation(
    reader: Reader, node: yaml.Node, key: str, known: Mapping[str, Row], axes: Mapping[str, Axis], workload: Workload
) -> Deviation:
    names, place = ("key", "rows", "reason", "value"), place_of(node, reader.source)
    nodes = fields_of(reader, node, key, names, names[:3], "{key: ..., rows: [...], reason: ...}")
    where = place_of(nodes["key"], reader.source)
    path = read_text(nodes["key"], where, f"{key}.key")
    rows = rows_of(reader, nodes["rows"], f"{key}.rows", known)
    reason = read_text(nodes["reason"], place_of(nodes["reason"], reader.source), f"{key}.reason")
    if not reason.strip():
        refuse(place, f"{key}.reason", "is empty; write why the rows may differ; every report prints it")
    of_rows = deviation_keys(workload)
    if path in of_rows:
        parameter = path.removeprefix(f"{workload.rows_key}.")
        idle = [row for row in rows if parameter not in known[row].deviating() or not getattr(known[row], parameter)]
        if idle:
            refuse(place, f"{key}.rows", f"lists {idle[0]!r}, which does not set {parameter}")
        if "value" in nodes:
            refuse(place, f"{key}.value", f"is not allowed with key {path}; the row itself sets {parameter}")
        return Deviation(key=path, rows=rows, reason=reason)
    if not path.startswith("controls."):
        near = nearest(path, [*of_rows, *leaves_of(workload.controls, "controls")])
        allowed_keys = ", ".join([*of_rows, "the full path of a control"])
        refuse(where, f"{key}.key", f"is {path!r}{near}; allowed: {allowed_keys}")
    hint = _control_hint(path, where, f"{key}.key", workload)
    for name, axis in axes.items():
        if axis.key == path:
            refuse(where, f"{key}.key", f"is {path}, which is the key of axis {name}; remove the deviation or the axis")
    if "value" not in nodes:
        refuse(place, f"{key}.value", f"is missing; write the value of {path} in these rows")
    value = reader.value(nodes["value"], hint, f"{key}.value", place_of(nodes["value"], reader.source))
    return Deviation(key=path, rows=rows, reason=reason, value=value)


def profile(reader: Reader, node: yaml.Node, key: str, workload: Workload, rows: Mapping[str, Row]) -> Profile:
    """A profile: its rows, its changes to the base, and the resources of its stages.

    Raises:
        MatrixError: anything that is not valid, such as a pattern that matches none of `rows`.
    """
    resources, names = resources_of(workload), ("seeds", "rows", "controls", "branches", "resources")
    nodes = fields_of(reader, node, key, names, names[4:], f"a section with {', '.join(hints_of(resources))}")

    if "branches" in nodes:
        refuse_null(reader, nodes["branches"], f"{key}.branches", workload)

    def changes(name: str, cls: type) -> dict[str, Any]:
        return reader.section(nodes[name], cls, f"{key}.{name}", partial=True) if name in nodes else {}

    needs = completed(workload, reader.section(nodes["resources"], resources, f"{key}.resources"))
    return Profile(
        seeds=seeds(reader, nodes["seeds"], f"{key}.seeds") if "seeds" in nodes else None,
        rows=profile_rows(reader, nodes["rows"], f"{key}.rows", rows) if "rows" in nodes else None,
        controls=changes("controls", workload.controls),
        branches=changes("branches", workload.branches),
        resources=build(resources, needs),
    )


def profile_rows(
    reader: Reader, node: yaml.Node, key: str, rows: Mapping[str, Row], place: Place | None = None
) -> tuple[str, ...]:
    """The rows of a profile, in file order, from a list of names, globs and `family:NAME`.

    Raises:
        MatrixError: not a list of texts, an empty one, or a pattern that is given twice or matches nothing.
    """
    place = place or place_of(node, reader.source)
    patterns = reader.value(node, tuple[str, ...], key, place)
    if not patterns:
        refuse(place, key, f"lists no row; write names, globs or family:NAME, or no key for all rows{listed(rows)}")
    assert isinstance(node, yaml.SequenceNode)  # the reader has refused anything else
    places = [place if place.line is None else place_of(child, reader.source) for child in node.value]
    return rows_of_patterns(list(zip(patterns, places, strict=True)), key, rows)
