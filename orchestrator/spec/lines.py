"""YAML with its lines and its raw text: OmegaConf keeps neither.

Scalars are read by the type that a key declares, from the text as written. YAML 1.1 would read
`010` as 8, `1:30` as 90 and `on` as true; such texts are refused with the spelling to use.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from orchestrator.errors import MatrixError

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

COMMAND_LINE = "command line"

_SEXAGESIMAL = re.compile(r"[-+]?\d+(:\d+)+(\.\d*)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+(\.\d*)?([eE][-+]?\d+)?")
_OTHER_BASE = re.compile(r"[-+]?0[xXbBoO][0-9a-fA-F_]+")
_INT = re.compile(r"-?(0|[1-9]\d*)")
_FLOAT = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_WORDS = {"yes": "true", "on": "true", "y": "true", "true": "true", "no": "false", "off": "false", "n": "false"}
_WORDS["false"] = "false"


@dataclass(frozen=True)
class Place:
    """Where a value is written: a file and its line, or the command line."""

    source: str
    line: int | None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


def refuse(place: Place | str, key: str, problem: str) -> NoReturn:
    """Raise the MatrixError of one key: place, key, what is wrong and what is allowed."""
    raise MatrixError(f"{place}: {key} {problem}" if key else f"{place}: {problem}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where nothing is near."""
    found = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def listed(allowed: Iterable[str]) -> str:
    """`; allowed: a, b` with the nearest spelling left to the caller."""
    return f"; allowed: {', '.join(allowed)}"


def compose_file(path: Path) -> yaml.MappingNode:
    """The YAML mapping in a file, as nodes that know their lines.

    Raises:
        MatrixError: no such file, not UTF-8, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MatrixError(f"{path}: there is no such file; name another one, or write it first") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MatrixError(f"{path}: cannot be read: {error}") from error
    node = compose(text, str(path))
    if not isinstance(node, yaml.MappingNode):
        raise MatrixError(f"{path}: is no mapping; allowed: key: value, one a line")
    return node


def compose(text: str, source: str) -> yaml.Node | None:
    """The node of a YAML text; None where it is empty.

    Raises:
        MatrixError: not YAML.
    """
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if source == COMMAND_LINE or mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise MatrixError(f"{Place(source, line)}: is not YAML: {problem}") from error
    return node


def place_of(node: yaml.Node, source: str) -> Place:
    """Where a node is written."""
    return Place(source, None if source == COMMAND_LINE else node.start_mark.line + 1)


def entries(node: yaml.Node, source: str, key: str) -> Iterator[tuple[str, yaml.Node, Place]]:
    """Name, value and place of each entry of a mapping.

    Raises:
        MatrixError: not a mapping, a key that is no text, or a key that stands twice.
    """
    if not isinstance(node, yaml.MappingNode):
        refuse(place_of(node, source), key, f"is {kind_of(node)}; allowed: a mapping, key: value")
    seen: dict[str, Place] = {}
    for name_node, value in node.value:
        place = place_of(name_node, source)
        if not isinstance(name_node, yaml.ScalarNode):
            refuse(place, key, "has a key that is no text")
        name = name_node.value
        dotted = f"{key}.{name}" if key else name
        if is_plain(name_node) and name_node.tag != "tag:yaml.org,2002:str" and name != "<<":
            refuse(place, dotted, f'would be read as {kind_of(name_node)}; write the key in quotes: "{name}"')
        if name in seen:
            refuse(place, dotted, f"stands twice, first in {_line(seen[name])}; leave one of them")
        seen[name] = place
        yield name, value, place


def _line(place: Place) -> str:
    return f"line {place.line}" if place.line is not None else str(place)


def is_plain(node: yaml.ScalarNode) -> bool:
    """Whether a scalar is written without quotes or block marks."""
    return not node.style


def kind_of(node: yaml.Node) -> str:
    """What a node is, in words and as written."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kind = str(node.tag).rpartition(":")[2]
    if kind == "null":
        return "null" if node.value else "without a value"
    names = {"bool": "a truth value", "int": "a number", "float": "a number", "str": "text", "timestamp": "a date"}
    return f"{node.value!r}, {names.get(kind, kind)}" if kind != "str" else f"the text {node.value!r}"


def is_null(node: yaml.Node) -> bool:
    """Whether a node is written `null`."""
    return isinstance(node, yaml.ScalarNode) and is_plain(node) and node.value == "null"


def read_int(node: yaml.Node, place: Place, key: str) -> int:
    """A whole number; refuses `5.0`, octals, sexagesimals, other bases and underscores."""
    text = _number_text(node, place, key, "a whole number")
    if not _INT.fullmatch(text) or text == "-0":
        if _FLOAT.fullmatch(text):
            whole = float(text)
            hint = f", such as {int(whole)}" if math.isfinite(whole) else ""
            refuse(place, key, f"is {text}; allowed: a whole number{hint}")
        refuse(place, key, f"is {kind_of(node)}; allowed: a whole number")
    return int(text)


def read_float(node: yaml.Node, place: Place, key: str) -> float:
    """A finite number; `5` is 5.0. Refuses -0.0, NaN, infinities, octals and sexagesimals."""
    text = _number_text(node, place, key, "a number")
    if text.lower().lstrip("+-").lstrip(".") in ("nan", "inf", "infinity"):
        refuse(place, key, f"is {text}; allowed: a finite number")
    if not _FLOAT.fullmatch(text):
        refuse(place, key, f"is {kind_of(node)}; allowed: a number, such as 0.5 or 2.0e-3")
    value = float(text)
    if not math.isfinite(value):
        refuse(place, key, f"is {text}, which is beyond what a float holds; allowed: a finite number")
    if value == 0 and math.copysign(1.0, value) < 0:
        refuse(place, key, f"is {text}; write 0.0, without a sign")
    return value


def _number_text(node: yaml.Node, place: Place, key: str, wanted: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not is_plain(node):
        quoted = isinstance(node, yaml.ScalarNode)
        refuse(place, key, f"is {kind_of(node)}; allowed: {wanted}{', without quotes' if quoted else ''}")
    text = str(node.value)
    if _SEXAGESIMAL.fullmatch(text):
        refuse(place, key, f"is {text}, which YAML reads in base 60; write the number in base 10")
    if _LEADING_ZERO.fullmatch(text):
        digits = text.lstrip("+-").lstrip("0_") or "0"
        digits = f"0{digits}" if digits[0] in ".eE" else digits
        refuse(place, key, f"is {text}, which YAML reads as an octal number; write {digits}")
    if _OTHER_BASE.fullmatch(text) or ("_" in text and text.replace("_", "").isdigit()):
        refuse(place, key, f"is {text}; write the number in base 10, with digits alone")
    return text


def read_bool(node: yaml.Node, place: Place, key: str) -> bool:
    """`true` or `false`; `yes`, `no`, `on`, `off`, `True` are refused with the spelling to use."""
    if isinstance(node, yaml.ScalarNode) and is_plain(node):
        if node.value in ("true", "false"):
            return bool(node.value == "true")
        if node.value.lower() in _WORDS:
            refuse(place, key, f"is {node.value}; write {_WORDS[node.value.lower()]}")
    refuse(place, key, f"is {kind_of(node)}; allowed: true, false")


def read_text(node: yaml.Node, place: Place, key: str) -> str:
    """A text. Without quotes it must look like nothing else; `${...}` is never filled in."""
    if not isinstance(node, yaml.ScalarNode):
        refuse(place, key, f"is {kind_of(node)}; allowed: a text")
    text = str(node.value)
    if is_plain(node):
        if text == "":
            refuse(place, key, 'is without a value; write "" for an empty text')
        if node.tag != "tag:yaml.org,2002:str" or text.lower() in _WORDS:
            refuse(place, key, f'is {text}, which YAML does not read as text; write "{text}"')
    if "${" in text:
        refuse(place, key, f"is {text!r}; ${{...}} is never filled in, write the value itself")
    return text
