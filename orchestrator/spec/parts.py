"""The parts of matrix.yaml that have names: rows, axes, tables, deviations, profiles."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import yaml

from orchestrator.spec.cell import Deviation
from orchestrator.spec.limits import LONGEST_NAME
from orchestrator.spec.lines import Place, entries, kind_of, listed, nearest, place_of, read_text, refuse
from orchestrator.spec.schema import Axis, Branches, Controls, Natural, Profile, StageResources
from orchestrator.spec.typed import Reader, build, hint_at, hints_of, leaves_of
from workloads.study.rows import FAMILIES, Bound, Row, RowError, resolved, row_from

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

MASKED = "memory.masked"
"""The deviation that a row masked at generation needs."""


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


def row(reader: Reader, node: yaml.Node, key: str) -> Row:
    """A memory row.

    Raises:
        MatrixError: an unknown family or parameter, or a combination that cannot be.
    """
    place = place_of(node, reader.source)
    nodes = {name: (child, where) for name, child, where in entries(node, reader.source, key)}
    if "family" not in nodes:
        refuse(place, f"{key}.family", f"is missing{listed(FAMILIES)}")
    family_node, where = nodes["family"]
    family = read_text(family_node, where, f"{key}.family")
    if family not in FAMILIES:
        refuse(where, f"{key}.family", f"is {family!r}{nearest(family, FAMILIES)}{listed(FAMILIES)}")
    hints = hints_of(FAMILIES[family])
    values: dict[str, Any] = {"family": family}
    for name, (child, where) in nodes.items():
        if name == "family":
            continue
        if name not in hints:
            refuse(where, f"{key}.{name}", f"is no parameter of {family}{nearest(name, hints)}{listed(hints)}")
        values[name] = reader.value(child, hints[name], f"{key}.{name}", where)
    try:
        return row_from(values)
    except RowError as error:
        refuse(nodes[error.key][1] if error.key in nodes else place, key, f"cannot be: {error}")
    except TypeError:
        absent = [name for name in hints if name not in values]
        refuse(place, key, f"lacks a parameter{listed(absent)}")


def axis(reader: Reader, node: yaml.Node, key: str) -> Axis:
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
            refuse(place, f"{key}.{name}", "is missing; write {key: controls.action.site, values: [a, b]}")
    where = place_of(nodes["key"], reader.source)
    path = read_text(nodes["key"], where, f"{key}.key")
    hint = _control_hint(path, where, f"{key}.key")
    values = axis_values(reader, nodes["values"], hint, f"{key}.values", place_of(nodes["values"], reader.source))
    return Axis(key=path, values=values)


def _control_hint(path: str, place: Place, key: str) -> Any:
    """The type of a control or a branch's key; anything else is refused."""
    top, _, rest = path.partition(".")
    sections = {"controls": Controls, "branches": Branches}
    hint = hint_at(sections[top], rest) if top in sections and rest else None
    if hint is None:
        leaves = leaves_of(Controls, "controls") + leaves_of(Branches, "branches")
        memory = "; a row's parameters are not varied by axes, write another row" if top == "memory" else ""
        refuse(place, key, f"is {path!r}, which is no control{memory}{nearest(path, leaves)}; allowed: full paths")
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


def rows_of(reader: Reader, node: yaml.Node, key: str, memory: Mapping[str, Row]) -> tuple[str, ...]:
    """A list of rows that exist.

    Raises:
        MatrixError: an unknown or doubled row, or none.
    """
    place = place_of(node, reader.source)
    names = reader.value(node, tuple[str, ...], key, place)
    if not names:
        refuse(place, key, "names no row; allowed: rows under memory")
    seen: set[str] = set()
    for name in names:
        if name not in memory:
            refuse(place, key, f"names {name!r}, which is no row{nearest(name, memory)}{listed(memory)}")
        if name in seen:
            refuse(place, key, f"names {name!r} twice; leave one of them")
        seen.add(name)
    return tuple(names)


def ranked(reader: Reader, node: yaml.Node, key: str, memory: Mapping[str, Row]) -> tuple[str, ...]:
    """The rows of a table, which are ranked together.

    Raises:
        MatrixError: as `rows_of`, or a row that shows known frames: ceiling and floor take no rank.
    """
    names = rows_of(reader, node, key, memory)
    for name in names:
        if isinstance(memory[name], Bound):
            refuse(
                place_of(node, reader.source),
                key,
                f"names {name!r}, of family bound, which takes no rank; leave it out: the report shows it "
                "beside every table",
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
    reader: Reader, node: yaml.Node, memory: Mapping[str, Row], axes: Mapping[str, Axis]
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
        deviation = _deviation(reader, child, f"deviations[{i}]", memory, axes)
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


def _deviation(
    reader: Reader, node: yaml.Node, key: str, memory: Mapping[str, Row], axes: Mapping[str, Axis]
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
    rows = rows_of(reader, nodes["rows"], f"{key}.rows", memory)
    reason = read_text(nodes["reason"], place_of(nodes["reason"], reader.source), f"{key}.reason")
    if not reason.strip():
        refuse(place, f"{key}.reason", "is empty; say why the rows may differ, every report prints it")
    if path == MASKED:
        idle = [row for row in rows if not resolved(memory[row]).get("masked")]
        if idle:
            refuse(place, f"{key}.rows", f"names {idle[0]!r}, which has no masked: true to explain")
        if "value" in nodes:
            refuse(place, f"{key}.value", f"has no meaning for {MASKED}; the row itself says masked: true")
        return Deviation(key=path, rows=rows, reason=reason)
    if not path.startswith("controls."):
        near = nearest(path, [MASKED, *leaves_of(Controls, "controls")])
        refuse(where, f"{key}.key", f"is {path!r}{near}; allowed: {MASKED}, or the full path of a control")
    hint = _control_hint(path, where, f"{key}.key")
    for name, axis in axes.items():
        if axis.key == path:
            refuse(where, f"{key}.key", f"is {path}, which is the axis {name}; a control is one or the other")
    if "value" not in nodes:
        refuse(place, f"{key}.value", f"is missing; write the value of {path} for these rows")
    value = reader.value(nodes["value"], hint, f"{key}.value", place_of(nodes["value"], reader.source))
    return Deviation(key=path, rows=rows, reason=reason, value=value)


def profile(reader: Reader, node: yaml.Node, key: str) -> Profile:
    """A profile: what it changes, and what its stages need."""
    allowed = ("seeds", "controls", "branches", "resources")
    nodes = {}
    for name, child, where in entries(node, reader.source, key):
        if name not in allowed:
            refuse(where, f"{key}.{name}", f"is unknown{nearest(name, allowed)}{listed(allowed)}")
        reader.note(f"{key}.{name}", where)
        nodes[name] = child
    if "resources" not in nodes:
        stages = ", ".join(hints_of(StageResources))
        refuse(place_of(node, reader.source), f"{key}.resources", f"is missing; a section with {stages}")

    def changes(name: str, cls: type) -> dict[str, Any]:
        return reader.section(nodes[name], cls, f"{key}.{name}", partial=True) if name in nodes else {}

    return Profile(
        seeds=seeds(reader, nodes["seeds"], f"{key}.seeds") if "seeds" in nodes else None,
        controls=changes("controls", Controls),
        branches=changes("branches", Branches),
        resources=build(StageResources, reader.section(nodes["resources"], StageResources, f"{key}.resources")),
    )
