"""Dataclasses from JSON: strict, by the annotations of their fields."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def decoded(kind: Any, raw: Any, where: str) -> Any:
    """`raw`, parsed JSON, as the annotated type `kind`; `where` names it in errors.

    Dataclasses, Sequence, Mapping with texts as keys, Literal, `X | None`, Any and scalars; a whole number is a float.

    Raises:
        ValueError: another type, an unknown or a missing key.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return raw
    if dataclasses.is_dataclass(kind):
        return _object(kind, raw, where)
    if origin in (Union, UnionType):
        [inner] = [option for option in arguments if option is not NoneType]
        return None if raw is None else decoded(inner, raw, where)
    if origin is Literal and raw in arguments:
        return raw
    if origin is Sequence and isinstance(raw, list):
        return [decoded(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(raw)]
    if origin is Mapping and isinstance(raw, dict):
        return {key: decoded(arguments[1], value, f"{where}.{key}") for key, value in raw.items()}
    if kind is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    if kind in (int, str, bool) and type(raw) is kind:
        return raw
    raise ValueError(f"{where}: is {str(raw)[:60]!r}; allowed: {_said(kind)}")


def _object(kind: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise ValueError(f"{where}: is {type(raw).__name__}; allowed: an object")
    hints, needed = _fields(kind)
    if unknown := sorted(raw.keys() - hints.keys()):
        raise ValueError(f"{where}: has {unknown[0]!r}, which is unknown; allowed: {', '.join(hints)}")
    if absent := sorted(needed - raw.keys()):
        raise ValueError(f"{where}: {absent[0]} is missing")
    return kind(**{name: decoded(hints[name], value, f"{where}.{name}") for name, value in raw.items()})


@cache
def _fields(kind: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The types of its fields, and the fields without a default."""
    hints, none = get_type_hints(kind), dataclasses.MISSING
    fields = dataclasses.fields(kind)
    needed = frozenset(one.name for one in fields if one.default is none and one.default_factory is none)
    return {one.name: hints[one.name] for one in fields}, needed


def _said(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true, false", Sequence: "a list"}
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(map(repr, get_args(kind)))
    return names.get(origin or kind, "an object")
