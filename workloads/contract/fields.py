"""Field types of sections: annotated types with ranges, and sections as plain values.

A section of matrix.yaml is a frozen dataclass whose fields are annotated with `int`, `float`, `bool`, `str`, a
`Literal` of texts or of whole numbers, one of them with a `Range`: `steps: Annotated[int, Range(1)]`, a tuple of these,
or one of these `| None`. The orchestrator reads YAML by these annotations, so a key is declared once; any other type is
refused.

A key, or a row's parameter, that is added to a study with results has a default and the mark `LATER`: matrix.yaml may
leave it out, and at its default it is in no plain section, so that no fingerprint of before changes. What reads it
takes the default from the class: `section.get("key", Section.key)`.

A branch that a study may go without is a field `NAME: Section | None = None` of its `branches`: where it is None the
branch is off, and it is in no plain section. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints


@dataclass(frozen=True)
class Range:
    """Allowed numbers: `low` to `high`, both included unless `above`."""

    low: float
    high: float | None = None
    above: bool = False
    """`low` itself is excluded."""

    def holds(self, value: float) -> bool:
        """Whether `value` is allowed."""
        low = value > self.low if self.above else value >= self.low
        return low and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.high is not None:
            return f"{self.low} to {self.high}"
        return f"above {self.low}" if self.above else f"{self.low} and more"


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]


@dataclass(frozen=True)
class Later:
    """Marks a field that was added when there were results already."""


LATER = Later()


@dataclass(frozen=True)
class RowChoice:
    """Marks the key of a branch's section with names, globs and `family:NAME` of the rows that are evaluated on it.

    No job reads the key and no fingerprint has it.
    """


ROW_CHOICE = RowChoice()


def key_of(name: str) -> str:
    """The key of a dataclass field: `return_` stands for `return`, a keyword of Python."""
    return name.removesuffix("_")


def plain(section: Any) -> Any:
    """A section as dictionaries, lists and scalars, as in requests and fingerprints."""
    if isinstance(section, tuple):
        return [plain(item) for item in section]
    if hasattr(section, "__dataclass_fields__"):
        values = {key_of(f.name): plain(getattr(section, f.name)) for f in fields(section)}
        kind: Any = type(section)
        off = {key for key in optional_sections(kind) if values[key] is None}
        return _said({key: value for key, value in values.items() if key not in off}, later_defaults(kind))
    return section


@cache
def later_defaults(section: Any) -> Mapping[str, Any]:
    """Key -> default, plain, of the fields of a dataclass with the mark `LATER`."""
    marks = get_type_hints(section, include_extras=True)
    return {key_of(f.name): plain(f.default) for f in fields(section) if LATER in get_args(marks[f.name])}


@cache
def optional_sections(top: Any) -> frozenset[str]:
    """Keys of the dataclass `top` with a section that may be None: branches that may be off."""
    hints = get_type_hints(top)
    return frozenset(
        key_of(name)
        for name, hint in hints.items()
        if type(None) in get_args(hint) and any(map(is_dataclass, get_args(hint)))
    )


@cache
def section_kinds(top: Any) -> Mapping[str, Any]:
    """Key -> dataclass of its section, of the sections of the dataclass `top`; those that may be None among them."""
    return {
        key_of(name): next(filter(is_dataclass, get_args(hint)), hint) for name, hint in get_type_hints(top).items()
    }


@cache
def row_choice(section: Any) -> str | None:
    """The key of a dataclass that has the mark `ROW_CHOICE`; None: every row is evaluated on the branch."""
    hints = get_type_hints(section, include_extras=True)
    return next((key_of(name) for name, hint in hints.items() if ROW_CHOICE in get_args(hint)), None)


def without_choices(top: Any, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Plain sections of the dataclass `top` without the keys that choose rows; the others stay the same objects."""
    kinds, found = section_kinds(top), {}
    for name, values in sections.items():
        choice = row_choice(kinds[name])
        found[name] = values if choice is None else {key: value for key, value in values.items() if key != choice}
    return found


def without_defaults(top: Any, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Plain sections of the dataclass `top` without `LATER` keys at their default; the others stay the same objects."""
    return {
        name: _said(sections[name], later_defaults(kind))
        for name, kind in section_kinds(top).items()
        if name in sections
    }


def value_at(top: Any, sections: Mapping[str, Mapping[str, Any]], path: str) -> Any:
    """The value of `section.key` in plain sections of the dataclass `top`, where a `LATER` key may be left out.

    Raises:
        KeyError: neither the sections nor the dataclass have such a key.
    """
    name, _, key = path.partition(".")
    return sections[name][key] if key in sections[name] else later_defaults(section_kinds(top)[name])[key]


def _said(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values that matrix.yaml has to say."""
    unsaid = {key for key, default in defaults.items() if key in values and values[key] == default}
    return {key: value for key, value in values.items() if key not in unsaid} if unsaid else values
