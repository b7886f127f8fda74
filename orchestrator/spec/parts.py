"""The parts of matrix.yaml that have names: rows, axes, tables, deviations, profiles."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import yaml

from orchestrator.spec.cell import Deviation
from orchestrator.spec.limits import LONGEST_NAME
from orchestrator.spec.lines import Place, entries, kind_of, listed, nearest, place_of, read_text, refuse
from orchestrator.spec.schema import Axis, Profile, resources_of
from orchestrator.spec.typed import Reader, build, hint_at, hints_of, leaves_of, required
from workloads.contract.fields import Natural
from workloads.contract.rows import Row, RowError, row_from
from workloads.contract.workload import Workload

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def named(reader: Reader, node: yaml.Node, key: str, read: Callable[[Reader, yaml.Node, str], T]) -> dict[str, T]:
    """A mapping of names to what `read` makes of each value.

    Raises:
        MatrixError: a name that no path or label can hold, or what `read` refuses.
    """
    found: dict[str, T] = {}
    for name, child, place in entries(node, reader.source, key):
        check_name(name, place, f"{key}.{name}")
        reader.note(f"{key}.{name}", place)
        found[name] = read(reader, child, f"{key}.{name}")
    return found


def check_name(name: str, place: Place, key: str) -> None:
    """Refuse a name that no path or label can hold."""
    if not NAME.fullmatch(name):
        refuse(place, key, f"is named {name!r}; allowed: letters, digits, '.', '_' and '-', not at the start")
    if len(name) > LONGEST_NAME:
        refuse(place, key, f"has a name of {len(name)} characters; allowed: {LONGEST_NAME}")


def row(reader: Reader, node: yaml.Node, key: str, workload: Workload) -> Row:
    """A row of the matrix.

    Raises:
        MatrixError: an unknown family or parameter, or a combination that cannot be.
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
            refuse(where, f"{key}.{name}", f"is no parameter of {family}{nearest(name, hints)}{listed(hints)}")
        values[name] = reader.value(child, hints[name], f"{key}.{name}", where)
    absent = [name for name in required(kind) if name not in values]
    if absent:
        refuse(place, key, f"lacks a parameter{listed(absent)}")
    try:
        return row_from(families, values)
    except RowError as error:
        refuse(nodes[error.key][1] if error.key in nodes else place, key, f"cannot be: {error}")
    except Exception as error:  # whatever a check of the family's raises
        refuse(place, key, f"cannot be: {type(error).__name__}: {error}")


def axis(reader: Reader, node: yaml.Node, key: str, workload: Workload) -> Axis:
    """An axis: the key of a control and its values.

    Raises:
        MatrixError: a key that is no control, or a value of another type.
    """
    place = place_of(node, reader.source)
    nodes = {}
    for name, child, where in entries(node, reader.source, key):
        if name not in ("key", "values"):
            refuse(where, f"{key}.{name}", f"is unknown{nearest(name, ('key', 'values'))}{listed(('key', 'values'))}")
        reader.note(f"{key}.{name}", where)
        nodes[name] = child
    for name in ("key", "values"):
        if name not in nodes:
            refuse(place, f"{key}.{name}", "is missing; write {key: controls.SECTION.KEY, values: [a, b]}")
    where = place_of(nodes["key"], reader.source)
    path = read_text(nodes["key"], where, f"{key}.key")
    hint = _control_hint(path, where, f"{key}.key", workload)
    values = axis_values(reader, nodes["values"], hint, f"{key}.values", place_of(nodes["values"], reader.source))
    return Axis(key=path, values=values)


def _control_hint(path: str, place: Place, key: str, workload: Workload) -> Any:
    """The type of a control or a branch's key; anything else is refused."""
    top, _, rest = path.partition(".")
    sections: dict[str, type] = {"controls": workload.controls, "branches": workload.branches}
    hint = hint_at(sections[top], rest) if top in sections and rest else None
    if hint is None:
        leaves = leaves_of(workload.controls, "controls") + leaves_of(workload.branches, "branches")
        of_row = "; a row's parameters are not varied by axes, write another row" if top == workload.rows_key else ""
        refuse(place, key, f"is {path!r}, which is no control{of_row}{nearest(path, leaves)}; allowed: full paths")
    return hint


def axis_values(reader: Reader, node: yaml.Node, hint: Any, key: str, place: Place) -> tuple[Any, ...]:
    """The values of an axis, each of its key's type.

    Raises:
        MatrixError: no list, an empty one, a wrong type, a value twice, or one that no label can hold.
    """
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        problem = "is empty" if isinstance(node, yaml.SequenceNode) else f"is {kind_of(node)}"
        refuse(place, key, f"{problem}; allowed: a list of at least one value")
    values = [
        tuple(value) if isinstance(value, list) else value
        for value in (reader.value(child, hint, f"{key}[{i}]", place) for i, child in enumerate(node.value))
    ]
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            refuse(place, key, f"holds {value!r} twice; leave one of them")
        seen.add(value)
        if isinstance(value, str) and re.search(r"[/;=\n]", value):
            refuse(place, key, f"holds {value!r}; a value that names cells has no '/', ';', '=' or line break")
    return tuple(values)


def check_axes(axes: Mapping[str, Axis], reader: Reader) -> None:
    """Refuse two axes of one key."""
    names: dict[str, str] = {}
    for name, axis in axes.items():
        if axis.key in names:
            place = Place(reader.source, reader.places[f"axes.{name}.key"])
            refuse(place, f"axes.{name}.key", f"is {axis.key}, as in axes.{names[axis.key]}; leave one of them")
        names[axis.key] = name


def rows_of(reader: Reader, node: yaml.Node, key: str, rows: Mapping[str, Row]) -> tuple[str, ...]:
    """A list of rows that exist.

    Raises:
        MatrixError: an unknown or doubled row, or none.
    """
    place = place_of(node, reader.source)
    names = reader.value(node, tuple[str, ...], key, place)
    if not names:
        refuse(place, key, f"names no row{listed(rows)}")
    seen: set[str] = set()
    for name in names:
        if name not in rows:
            refuse(place, key, f"names {name!r}, which is no row{nearest(name, rows)}{listed(rows)}")
        if name in seen:
            refuse(place, key, f"names {name!r} twice; leave one of them")
        seen.add(name)
    return tuple(names)


def ranked(reader: Reader, node: yaml.Node, key: str, rows: Mapping[str, Row]) -> tuple[str, ...]:
    """The rows of a table, which are ranked together.

    Raises:
        MatrixError: as `rows_of`, or a row that shows known frames: ceiling and floor take no rank.
    """
    names = rows_of(reader, node, key, rows)
    for name in names:
        if rows[name].reference:
            refuse(
                place_of(node, reader.source),
                key,
                f"names {name!r}, of family {rows[name].family}, which takes no rank; leave it out: the report shows "
                "it beside every table",
            )
    return names


def seeds(reader: Reader, node: yaml.Node, key: str) -> tuple[int, ...]:
    """A list of seeds."""
    place = place_of(node, reader.source)
    return checked_seeds(reader.value(node, tuple[Natural, ...], key, place), place, key)


def checked_seeds(seeds: Sequence[int], place: Place, key: str) -> tuple[int, ...]:
    """`seeds` if there is at least one and none stands twice.

    Raises:
        MatrixError: otherwise.
    """
    if not seeds:
        refuse(place, key, "is empty; allowed: at least one seed, such as [0]")
    if len(set(seeds)) < len(seeds):
        refuse(place, key, f"is {list(seeds)}, with a seed twice; leave one of them")
    return tuple(seeds)


def deviations(
    reader: Reader, node: yaml.Node, rows: Mapping[str, Row], axes: Mapping[str, Axis], workload: Workload
) -> tuple[Deviation, ...]:
    """The wanted differences between rows.

    Raises:
        MatrixError: a key that explains nothing, a missing value or reason, or a key twice for a row.
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
                    f"names {deviation.key} for {', '.join(sorted(twice))} again; leave one of them",
                )
        found.append(deviation)
    return tuple(found)


def declared_keys(workload: Workload) -> tuple[str, ...]:
    """The parameters of rows that need a reason where they are true, as keys of a deviation."""
    names = (name for kind in workload.families for name in kind.declared)
    return tuple(dict.fromkeys(f"{workload.rows_key}.{name}" for name in names))


def _deviation(
    reader: Reader, node: yaml.Node, key: str, known: Mapping[str, Row], axes: Mapping[str, Axis], workload: Workload
) -> Deviation:
    allowed = ("key", "rows", "reason", "value")
    place = place_of(node, reader.source)
    nodes = {}
    for name, child, where in entries(node, reader.source, key):
        if name not in allowed:
            refuse(where, f"{key}.{name}", f"is unknown{nearest(name, allowed)}{listed(allowed)}")
        nodes[name] = child
    for name in allowed[:3]:
        if name not in nodes:
            refuse(place, f"{key}.{name}", "is missing; write {key: ..., rows: [...], reason: ...}")
    where = place_of(nodes["key"], reader.source)
    path = read_text(nodes["key"], where, f"{key}.key")
    rows = rows_of(reader, nodes["rows"], f"{key}.rows", known)
    reason = read_text(nodes["reason"], place_of(nodes["reason"], reader.source), f"{key}.reason")
    if not reason.strip():
        refuse(place, f"{key}.reason", "is empty; say why the rows may differ, every report prints it")
    of_rows = declared_keys(workload)
    if path in of_rows:
        parameter = path.removeprefix(f"{workload.rows_key}.")
        idle = [row for row in rows if parameter not in known[row].declared or not getattr(known[row], parameter)]
        if idle:
            refuse(place, f"{key}.rows", f"names {idle[0]!r}, which has no {parameter}: true to explain")
        if "value" in nodes:
            refuse(place, f"{key}.value", f"has no meaning for {path}; the row itself says {parameter}: true")
        return Deviation(key=path, rows=rows, reason=reason)
    if not path.startswith("controls."):
        near = nearest(path, [*of_rows, *leaves_of(workload.controls, "controls")])
        allowed_keys = ", ".join([*of_rows, "the full path of a control"])
        refuse(where, f"{key}.key", f"is {path!r}{near}; allowed: {allowed_keys}")
    hint = _control_hint(path, where, f"{key}.key", workload)
    for name, axis in axes.items():
        if axis.key == path:
            refuse(where, f"{key}.key", f"is {path}, which is the axis {name}; a control is one or the other")
    if "value" not in nodes:
        refuse(place, f"{key}.value", f"is missing; write the value of {path} for these rows")
    value = reader.value(nodes["value"], hint, f"{key}.value", place_of(nodes["value"], reader.source))
    return Deviation(key=path, rows=rows, reason=reason, value=value)


def profile(reader: Reader, node: yaml.Node, key: str, workload: Workload) -> Profile:
    """A profile: what it changes, and what its stages need."""
    allowed = ("seeds", "controls", "branches", "resources")
    resources, nodes = resources_of(workload), {}
    for name, child, where in entries(node, reader.source, key):
        if name not in allowed:
            refuse(where, f"{key}.{name}", f"is unknown{nearest(name, allowed)}{listed(allowed)}")
        reader.note(f"{key}.{name}", where)
        nodes[name] = child
    if "resources" not in nodes:
        stages = ", ".join(hints_of(resources))
        refuse(place_of(node, reader.source), f"{key}.resources", f"is missing; a section with {stages}")

    def changes(name: str, cls: type) -> dict[str, Any]:
        return reader.section(nodes[name], cls, f"{key}.{name}", partial=True) if name in nodes else {}

    return Profile(
        seeds=seeds(reader, nodes["seeds"], f"{key}.seeds") if "seeds" in nodes else None,
        controls=changes("controls", workload.controls),
        branches=changes("branches", workload.branches),
        resources=build(resources, reader.section(nodes["resources"], resources, f"{key}.resources")),
    )
