"""Command line overrides, such as `controls.SECTION.KEY=7`, validated like the file.

Allowed are full paths: `seeds`, `rows` (those of the profile), `controls.*`, `branches.*`, `resources.*`,
`ROWS.ROW.PARAMETER` (ROWS is the workload's `rows_key`) and `axes.NAME.values`. The key of an axis is refused, since
the axis sets its value.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from orchestrator.spec.lines import COMMAND_LINE, LONGEST_KEY, Place, compose, cut, listed, nearest, printable, refuse
from orchestrator.spec.parts import axis_values, checked_seeds, profile_rows
from orchestrator.spec.schema import Matrix, resources_of
from orchestrator.spec.typed import Reader, hint_at, hints_of, leaves_of
from workloads.contract.fields import Natural, optional_sections

_HERE = Place(COMMAND_LINE, None)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """The changes that the command line makes; each value has its key's type."""

    texts: tuple[str, ...]
    """As given, without surrounding spaces."""
    tree: Mapping[str, Any]
    """`controls`, `branches` and `resources` as nested dictionaries of what is changed."""
    seeds: tuple[int, ...] | None
    """Not in `tree`, because OmegaConf needs half a minute to merge a long list."""
    profile_rows: tuple[str, ...] | None
    """In place of the rows of the profile."""
    rows: Mapping[str, Mapping[str, Any]]
    """Row -> parameter -> value."""
    axes: Mapping[str, tuple[Any, ...]]
    """Axis -> its values."""
    keys: tuple[str, ...]


def read_overrides(texts: Sequence[str], matrix: Matrix) -> Overrides:
    """Read `KEY=VALUE` texts; each value is YAML of its key's type, and of a branch that may be off null or a mapping.

    Raises:
        MatrixError: no `=`, an unknown or repeated key, the key of an axis, a wrong type, a value out of range, or a
            branch together with one of its keys.
    """
    reader = Reader(COMMAND_LINE, {})
    sections, rows_key = _sections(matrix), matrix.workload.rows_key
    given: dict[str, str] = {}
    tree: dict[str, Any] = {}
    seeds: tuple[int, ...] | None = None
    own_rows: tuple[str, ...] | None = None
    rows: dict[str, dict[str, Any]] = {}
    axes: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            refuse(_HERE, "", f"{text!r} is not an override; write KEY=VALUE")
        if key in given:
            refuse(_HERE, key, f"is given twice, as {given[key]} and {value}; remove one")
        for other in given:
            # `rows` are those of the profile, and `rows.ROW.PARAMETER` may be of a row.
            if "rows" not in (key, other) and (key.startswith(f"{other}.") or other.startswith(f"{key}.")):
                refuse(_HERE, key, f"is given together with {other}; write all of it in one of them")
        given[key] = value
        node = compose(value, f"{COMMAND_LINE}: {printable(cut(key, LONGEST_KEY))}")
        if node is None:
            refuse(_HERE, key, 'is without a value; write KEY=VALUE, KEY="" for an empty text')
        top, _, rest = key.partition(".")
        if key == "seeds":
            seeds = checked_seeds(reader.value(node, tuple[Natural, ...], key, _HERE), _HERE, key)
        elif key == "rows":
            own_rows = profile_rows(reader, node, key, matrix.rows, _HERE)
        elif top in sections and rest:
            _put(tree, key, _control(reader, node, key, matrix))
        elif top == rows_key and rest:
            name, parameter, read = _parameter(reader, node, key, matrix)
            rows.setdefault(name, {})[parameter] = read
        elif top == "axes" and rest:
            name, values = _axis(reader, node, key, matrix)
            axes[name] = values
        else:
            _unknown(key, matrix)
    return Overrides(
        texts=tuple(f"{key}={value}" for key, value in given.items()),
        tree=tree,
        seeds=seeds,
        profile_rows=own_rows,
        rows=rows,
        axes=axes,
        keys=tuple(given),
    )


def _sections(matrix: Matrix) -> Mapping[str, type]:
    workload = matrix.workload
    return {"controls": workload.controls, "branches": workload.branches, "resources": resources_of(workload)}


def _control(reader: Reader, node: yaml.Node, key: str, matrix: Matrix) -> Any:
    for name, axis in matrix.axes.items():
        if key == axis.key:
            values = ", ".join(str(value) for value in axis.values)
            refuse(_HERE, key, f"is the key of axis {name}; write axes.{name}.values=[...] (in the matrix: [{values}])")
    top, _, rest = key.partition(".")
    if top == "branches" and rest in optional_sections(matrix.workload.branches):
        found = reader.value(node, hints_of(matrix.workload.branches)[rest], key, _HERE, partial=True)
        for name, axis in matrix.axes.items():
            if axis.key in {f"{key}.{own}" for own in found or ()}:
                refuse(_HERE, key, f"sets {axis.key}, the key of axis {name}; write axes.{name}.values=[...]")
        return found
    hint = hint_at(_sections(matrix)[top], rest)
    if hint is None:
        _unknown(key, matrix)
    return reader.value(node, hint, key, _HERE)


def _parameter(reader: Reader, node: yaml.Node, key: str, matrix: Matrix) -> tuple[str, str, Any]:
    name, _, parameter = key.partition(".")[2].rpartition(".")
    if name not in matrix.rows:
        name = name or parameter
        refuse(_HERE, key, f"is of an unknown row{nearest(name, matrix.rows)}{listed(matrix.rows)}")
    family = matrix.rows[name].family
    hints = hints_of(matrix.workload.family[family])
    if parameter not in hints:
        refuse(_HERE, key, f"is not a parameter of {family}{nearest(parameter, hints)}{listed(hints)}")
    return name, parameter, reader.value(node, hints[parameter], key, _HERE)


def _axis(reader: Reader, node: yaml.Node, key: str, matrix: Matrix) -> tuple[str, tuple[Any, ...]]:
    name = key.removeprefix("axes.").removesuffix(".values")
    if name not in matrix.axes or not key.endswith(".values"):
        allowed = [f"axes.{axis}.values" for axis in matrix.axes]
        what = listed(allowed) if allowed else "; the matrix has no axes"
        refuse(_HERE, key, f"is unknown{nearest(key, allowed)}{what}")
    top, _, rest = matrix.axes[name].key.partition(".")
    return name, axis_values(reader, node, hint_at(_sections(matrix)[top], rest), key, _HERE)


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        tree = tree.setdefault(name, {})
    tree[last] = value


def _unknown(key: str, matrix: Matrix) -> NoReturn:
    """Refuse a key and suggest the full path that was meant: one that ends in it, else the closest."""
    paths = [path for top, section in _sections(matrix).items() for path in leaves_of(section, top)]
    paths += ["seeds", "rows", *(f"axes.{axis}.values" for axis in matrix.axes)]
    for row, kind in matrix.rows.items():
        paths += [f"{matrix.workload.rows_key}.{row}.{field.name}" for field in dataclasses.fields(kind)]
    ending = [path for path in paths if path.endswith(f".{key}")]
    hint = f"; did you mean {ending[0]!r}?" if ending else nearest(key, paths)
    tops = dict.fromkeys(("seeds", "rows", *_sections(matrix), matrix.workload.rows_key, "axes"))
    below = [path for path in paths if path.startswith(f"{key}.")]
    if below:
        refuse(_HERE, key, f"is a section; write one key, such as {below[0]}=...")
    refuse(_HERE, key, f"is unknown{hint}; allowed: full paths that start with {', '.join(tops)}")
