"""Schema validation: reads YAML nodes by the annotations of a dataclass, and builds the dataclass.

Reading gives plain dictionaries of checked values, so that base, profile and overrides can be merged before the
dataclass is built.
"""

import dataclasses
import types
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

import yaml

from orchestrator.spec.lines import (
    COMMAND_LINE,
    Place,
    entries,
    is_null,
    kind_of,
    listed,
    nearest,
    place_of,
    read_bool,
    read_float,
    read_int,
    read_text,
    refuse,
)
from orchestrator.wording import counted
from workloads.contract.fields import Range, key_of


def hints_of(cls: Any) -> Mapping[str, Any]:
    """Key -> annotation of a dataclass, ranges included, in order of declaration."""
    return _hints(cls)


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {key_of(field.name): hints[field.name] for field in dataclasses.fields(cls)}


@cache
def required(cls: Any) -> tuple[str, ...]:
    """The keys of a dataclass without a default."""
    missing = dataclasses.MISSING
    return tuple(
        key_of(field.name)
        for field in dataclasses.fields(cls)
        if field.default is missing and field.default_factory is missing
    )


def refuse_incomplete(values: Mapping[str, Any], cls: type, place: Place | str, key: str, why: str = "") -> None:
    """Refuse values of the section `cls` in which a required key is missing; `why` they are needed, for people.

    Raises:
        MatrixError: with the first missing key, what it should be, and the names of the others.
    """
    absent = [name for name in required(cls) if name not in values]
    if absent:
        first = f"{key}.{absent[0]}" if key else absent[0]
        others = f" (also {', '.join(absent[1:])})" if absent[1:] else ""
        refuse(place, first, f"is missing{others}{why}; {_meaning(hints_of(cls)[absent[0]])}")


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads one source and records the line of every key in `places`."""

    source: str
    """File, or `command line`."""
    places: dict[str, int]
    without_line: set[str] = dataclasses.field(default_factory=set)
    """Keys of the command line."""

    def section(self, node: yaml.Node, cls: type, key: str, *, partial: bool = False) -> dict[str, Any]:
        """The section `cls` as a dictionary; with `partial`, keys may be absent at every depth.

        Raises:
            MatrixError: an unknown, missing or duplicate key, a wrong type, or a value out of range.
        """
        hints = hints_of(cls)
        values: dict[str, Any] = {}
        for name, child, place in entries(node, self.source, key):
            dotted = f"{key}.{name}" if key else name
            if name not in hints:
                refuse(place, dotted, f"is unknown{nearest(name, hints)}{listed(hints)}")
            self.note(dotted, place)
            values[name] = self.value(child, hints[name], dotted, place, partial=partial)
        if not partial:
            refuse_incomplete(values, cls, place_of(node, self.source), key)
        return values

    def value(self, node: yaml.Node, hint: Any, key: str, place: Place, *, partial: bool = False) -> Any:
        """One value of the annotated type `hint`, written at `place`.

        Raises:
            MatrixError: a wrong type, or a value out of range.
        """
        if self.source != COMMAND_LINE and node.start_mark.line + 1 > (place.line or 0):
            place = place_of(node, self.source)
        kind, ranges, optional = unwrap(hint)
        if optional and is_null(node):
            return None
        value = self._typed(node, kind, key, place, partial)
        for allowed in ranges:
            if not allowed.holds(value):
                refuse(place, key, f"is {value}; allowed: {allowed}")
        return value

    def _typed(self, node: yaml.Node, hint: Any, key: str, place: Place, partial: bool) -> Any:
        if _is_section(hint):
            return self.section(node, hint, key, partial=partial)
        if hint is bool:
            return read_bool(node, place, key)
        if hint is int:
            return read_int(node, place, key)
        if hint is float:
            return read_float(node, place, key)
        if hint is str:
            # Fingerprints are of the NFC form, so jobs get that form too.
            return unicodedata.normalize("NFC", read_text(node, place, key))
        if get_origin(hint) is Literal:
            return self._choice(node, get_args(hint), key, place)
        if get_origin(hint) is tuple:
            return self._list(node, get_args(hint), key, place)
        if get_origin(hint) is Mapping:
            _, inner = get_args(hint)
            if inner is Any:
                if not isinstance(node, yaml.MappingNode):
                    refuse(place, key, f"is {kind_of(node)}; allowed: a mapping, key: value")
                return self.free(node, key, place)
            if inner is str:  # paths: file names are not normalised
                return {
                    name: read_text(child, where, f"{key}.{name}")
                    for name, child, where in entries(node, self.source, key)
                }
            return {
                name: self.value(child, inner, f"{key}.{name}", where)
                for name, child, where in entries(node, self.source, key)
            }
        raise TypeError(f"{key}: no YAML is read as {hint}")

    def _choice(self, node: yaml.Node, allowed: tuple[Any, ...], key: str, place: Place) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            refuse(place, key, f"is {kind_of(node)}{listed(map(str, allowed))}")
        if isinstance(allowed[0], int):
            number = read_int(node, place, key)
            if number not in allowed:
                refuse(place, key, f"is {number}{listed(map(str, allowed))}")
            return number
        if node.value not in allowed:
            refuse(place, key, f"is {node.value!r}{nearest(node.value, allowed)}{listed(allowed)}")
        return read_text(node, place, key)

    def _list(self, node: yaml.Node, items: tuple[Any, ...], key: str, place: Place) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            refuse(place, key, f"is {kind_of(node)}; allowed: a list, [a, b]")
        if items[-1] is not Ellipsis and len(node.value) != len(items):
            refuse(place, key, f"has {counted(len(node.value), 'value')}; allowed: {len(items)}")
        kinds = items[:1] * len(node.value) if items[-1] is Ellipsis else items
        return [self.value(child, kinds[i], f"{key}[{i}]", place) for i, child in enumerate(node.value)]

    def free(self, node: yaml.Node, key: str, place: Place, depth: int = 0) -> Any:
        """A value without a schema (settings of DeepSpeed): typed by YAML, with the same checks."""
        if depth > 16:
            refuse(place, key, "is nested more than 16 deep; does an alias contain itself?")
        if isinstance(node, yaml.MappingNode):
            return {
                name: self.free(child, f"{key}.{name}", where, depth + 1)
                for name, child, where in entries(node, self.source, key)
            }
        if isinstance(node, yaml.SequenceNode):
            return [self.free(child, f"{key}[{i}]", place, depth + 1) for i, child in enumerate(node.value)]
        if is_null(node):
            return None
        kind = str(node.tag).rpartition(":")[2]
        if kind == "bool":
            return read_bool(node, place, key)
        if kind == "int":
            return read_int(node, place, key)
        return read_float(node, place, key) if kind == "float" else read_text(node, place, key)

    def note(self, key: str, place: Place) -> None:
        """Record the line of a key, or that it has none."""
        if place.line is None:
            self.without_line.add(key)
        else:
            self.places[key] = place.line


def unwrap(hint: Any) -> tuple[Any, list[Range], bool]:
    """The type of an annotation, its ranges, and whether null is allowed."""
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        return inner, [note for note in notes if isinstance(note, Range)], False
    if get_origin(hint) in (Union, types.UnionType):
        inner = next(option for option in get_args(hint) if option is not type(None))
        return *unwrap(inner)[:2], True
    return hint, [], False


def _is_section(hint: Any) -> TypeGuard[type]:
    return dataclasses.is_dataclass(hint) and isinstance(hint, type)


def _meaning(hint: Any) -> str:
    """What a missing key should be, in words."""
    kind, ranges, optional = unwrap(hint)
    if _is_section(kind):
        return f"write a section with {', '.join(hints_of(kind))}"
    words: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true, false"}
    other = {Literal: ", ".join(map(str, get_args(kind))), tuple: "a list"}.get(get_origin(kind), "a mapping")
    allowed = [words.get(kind, other), *map(str, ranges[:1]), *(["or null"] if optional else [])]
    return f"allowed: {', '.join(allowed)}"


def unreadable(cls: Any) -> str:
    """The first key of a dataclass whose type no YAML is read as, and what is allowed; empty: there is none."""
    for name, hint in hints_of(cls).items():
        if not _scalar(hint, many=True):
            return f"{cls.__name__}.{name} has type {hint}; allowed: {READABLE}"
    return ""


def _scalar(hint: Any, *, many: bool) -> bool:
    """Whether a section's or a row's value may have this type; `many`: or be a tuple of these."""
    options = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        inner = [option for option in options if option is not type(None)]
        return len(inner) == 1 and _scalar(inner[0], many=many)
    hint, *_ = unwrap(hint)
    options = get_args(hint)
    if get_origin(hint) is Literal:
        return {type(option) for option in options} in ({str}, {int})
    if get_origin(hint) is tuple and many:
        return all(_scalar(option, many=False) for option in options if option is not Ellipsis)
    return hint in (bool, int, float, str)


READABLE = "int, float, bool, str, Literal of texts or of whole numbers, a tuple of these, one of these | None"


def hint_at(cls: type, path: str) -> Any:
    """The annotation of a dotted path below `cls`; None if there is no such leaf."""
    hint: Any = cls
    for name in path.split("."):
        kind = unwrap(hint)[0]
        hint = hints_of(kind).get(name) if _is_section(kind) else None
    return None if _is_section(unwrap(hint)[0]) else hint


def leaves_of(cls: type, prefix: str) -> list[str]:
    """Dotted paths of all leaves below `cls`, each after `prefix`."""
    found: list[str] = []
    for name, hint in hints_of(cls).items():
        path, kind = f"{prefix}.{name}", unwrap(hint)[0]
        found += leaves_of(kind, path) if _is_section(kind) else [path]
    return found


def build(cls: Any, values: Mapping[str, Any], **given: Any) -> Any:
    """An instance of the dataclass `cls` from checked plain values, at every depth.

    Lists become tuples; other keys than those of `cls` are left out. `given`: fields that are built already.
    """
    hints, names = hints_of(cls), {key_of(field.name): field.name for field in dataclasses.fields(cls)}
    return cls(**{names[key]: _built(hints[key], values[key]) for key in names if key in values}, **given)


def _built(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        kinds = get_args(unwrap(hint)[0])
        if not kinds or kinds[-1] is Ellipsis:
            kinds = (kinds[0] if kinds else Any,) * len(value)
        return tuple(_built(kind, item) for kind, item in zip(kinds, value, strict=True))
    if isinstance(value, Mapping):
        kind = unwrap(hint)[0]
        if _is_section(kind):
            return build(kind, value)
        if get_origin(kind) is Mapping and (of := get_args(kind)[1]) is not Any:
            return {name: _built(of, item) for name, item in value.items()}
    return value
