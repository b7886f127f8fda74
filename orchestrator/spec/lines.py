"""YAML with line numbers and raw text, neither of which OmegaConf keeps.

Scalars are read as the type that their key declares, from the text as written. YAML 1.1 would read
`010` as 8, `1:30` as 90 and `on` as true; such texts are refused, with the spelling to use.
"""

import difflib
import itertools
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from orchestrator.errors import MatrixError
from orchestrator.spec.limits import LARGEST_FILE, OutOfBounds, check_bounds
from orchestrator.wording import shortened
from workloads.runtime.masking import credential_in, mask, secrets_of

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

COMMAND_LINE = "command line"
SET = "--set"
"""Place of what that option gives for a cluster file."""

# re.ASCII: without it \d matches the digits of every script.
_SEXAGESIMAL = re.compile(r"[-+]?\d+(:\d+)+(\.\d*)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+(\.\d*)?([eE][-+]?\d+)?", re.ASCII)
_OTHER_BASE = re.compile(r"[-+]?0[xXbBoO][0-9a-fA-F_]+")
_INT = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_FLOAT = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_LARGEST_INT = 2**63 - 1  # what SQLite, torch and MLflow hold
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LONGEST_PROBLEM = 1200  # characters of a message; the quoted value may be megabytes
LONGEST_KEY = 200
_COMPARED = 5000  # names searched for the nearest spelling; difflib needs half a second for these
_LISTED = 40
_WITHOUT = "remove it: credentials are read from the environment only"
_WORDS = {"yes": "true", "on": "true", "y": "true", "true": "true", "no": "false", "off": "false", "n": "false"}
_WORDS["false"] = "false"


@dataclass(frozen=True)
class Place:
    """Where a value is written: a file and its line, the command line, or its option `--set`."""

    source: str
    line: int | None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


def refuse(place: Place | str, key: str, problem: str) -> NoReturn:
    """Raise the MatrixError of one key: place, key, what is wrong and what is allowed."""
    key, problem = (printable(mask(text, secrets_of(os.environ))) for text in (key, problem))
    key, problem = cut(key, LONGEST_KEY), cut(problem, _LONGEST_PROBLEM)
    raise MatrixError(f"{place}: {key} {problem}" if key else f"{place}: {problem}")


def printable(text: str) -> str:
    """`text` on one line, with control and direction characters escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def cut(text: str, longest: int) -> str:
    """`text` of at most about `longest` characters: the middle is left out, since the end says what is allowed."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the closest name; empty if none is close."""
    if len(name) > LONGEST_KEY:
        return ""
    found = difflib.get_close_matches(name, list(itertools.islice(allowed, _COMPARED)), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def listed(allowed: Iterable[str]) -> str:
    """`; allowed: a, b`, cut after some names."""
    return f"; allowed: {shortened(list(allowed), _LISTED)}"


def compose_file(path: Path) -> yaml.MappingNode:
    """The YAML mapping in a file, as nodes that know their lines.

    Raises:
        MatrixError: no such file, not a regular file, too large, not UTF-8, not YAML, or not a mapping.
    """
    text = _read(path)
    node = compose(text, str(path))
    if not isinstance(node, yaml.MappingNode):
        raise MatrixError(f"{path}: is not a mapping; allowed: key: value, one per line")
    return node


def _read(path: Path) -> str:
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise MatrixError(f"{path}: is a folder; name a file")
        if not stat.S_ISREG(about.st_mode):  # reading a pipe may block, and a device may never end
            raise MatrixError(f"{path}: is not a regular file; name one that is")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MatrixError(f"{path}: no such file; create it, or name another") from error
    except (OSError, ValueError) as error:
        raise MatrixError(f"{path}: cannot be read: {error}; make it readable, or name another") from error
    if len(content) > LARGEST_FILE:
        raise MatrixError(f"{path}: has more than {LARGEST_FILE >> 20} MiB; allowed: {LARGEST_FILE >> 20} MiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MatrixError(f"{path}:{line}: is not UTF-8 ({error.reason}); save the file as UTF-8") from error


def compose(text: str, source: str) -> yaml.Node | None:
    """The node of a YAML text; None where it is empty.

    Raises:
        MatrixError: not YAML, beyond a limit, with a tag, or with a credential.
    """
    credential = credential_in(text, os.environ)
    if credential is not None:
        at, reason = credential
        # Values end up in requests, commit records, the ledger and MLflow.
        refuse(_at(source, text.count("\n", 0, at) + 1), "", f"{reason}; {_WITHOUT}")
    try:
        text.encode("utf-8")  # a command line argument may contain bytes that are not text
        check_bounds(text, Loader)
        node: yaml.Node | None = yaml.compose(text, Loader=Loader)
    except UnicodeEncodeError as error:
        raise MatrixError(f"{source}: is not UTF-8 at character {error.start + 1}; write it in UTF-8") from error
    except OutOfBounds as error:
        refuse(_at(source, error.line), "", error.problem)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        letter = error.character if isinstance(error.character, int) else ord(error.character[:1] or "\0")
        refuse(_at(source, line), "", f"is not YAML: {error.reason} (U+{letter:04X}); remove the character")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise MatrixError(f"{_at(source, mark.line + 1 if mark else None)}: is not YAML: {problem}") from error
    return node


def _at(source: str, line: int | None) -> Place:
    return Place(source, None if source.startswith((COMMAND_LINE, SET)) else line)


def place_of(node: yaml.Node, source: str) -> Place:
    """Where a node is written."""
    if node.start_mark.name == SET:
        return Place(SET, None)
    return Place(source, None if source == COMMAND_LINE else node.start_mark.line + 1)


def entries(node: yaml.Node, source: str, key: str) -> Iterator[tuple[str, yaml.Node, Place]]:
    """Name, value and place of each entry of a mapping.

    Raises:
        MatrixError: not a mapping, a key that is not text, or a duplicate key.
    """
    if not isinstance(node, yaml.MappingNode):
        refuse(place_of(node, source), key, f"is {kind_of(node)}; allowed: a mapping, key: value")
    seen: dict[str, Place] = {}
    for name_node, value in node.value:
        place = place_of(name_node, source)
        if not isinstance(name_node, yaml.ScalarNode):
            refuse(place, key, "has a key that is not text; write the key in quotes")
        name = name_node.value
        if is_plain(name_node) and name == "<<":
            refuse(place, key, "has a merge key (<<), which is not supported; write the keys themselves")
        if len(name) > LONGEST_KEY or _CONTROL.search(name):
            refuse(place, key, f"has the key {name!r}; allowed: at most {LONGEST_KEY} printable characters")
        dotted = f"{key}.{name}" if key else name
        if is_plain(name_node) and name_node.tag != "tag:yaml.org,2002:str":
            refuse(place, dotted, f'would be read as {kind_of(name_node)}; write the key in quotes: "{name}"')
        if name in seen:
            refuse(place, dotted, f"appears twice, first on {_line(seen[name])}; remove one")
        seen[name] = place
        yield name, value, place


def _line(place: Place) -> str:
    return f"line {place.line}" if place.line is not None else str(place)


def is_plain(node: yaml.ScalarNode) -> bool:
    """Whether a scalar is written without quotes or block marks."""
    return not node.style


def kind_of(node: yaml.Node) -> str:
    """What a node is, for a message: its type and its text."""
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
            hint = f", such as {int(whole)}" if abs(whole) <= _LARGEST_INT else ""
            refuse(place, key, f"is {text}; allowed: a whole number{hint}")
        refuse(place, key, f"is {kind_of(node)}; allowed: a whole number")
    if len(text) > len(str(-_LARGEST_INT)) or abs(int(text)) > _LARGEST_INT:
        refuse(place, key, f"is {text}; allowed: a whole number up to {_LARGEST_INT}")
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
        refuse(place, key, f"is {text}, which is too large for a float; allowed: a finite number")
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
        refuse(place, key, f"is {text}; write the number in base 10, with digits only")
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
    """A text. Without quotes it must not look like another type; `${...}` is not interpolated."""
    if not isinstance(node, yaml.ScalarNode):
        refuse(place, key, f"is {kind_of(node)}; allowed: a text")
    text = str(node.value)
    if is_plain(node):
        if text == "":
            refuse(place, key, 'is without a value; write "" for an empty text')
        if node.tag != "tag:yaml.org,2002:str" or text.lower() in _WORDS:
            refuse(place, key, f'is {text}, which YAML does not read as text; write "{text}"')
    if "${" in text:
        refuse(place, key, f"is {text!r}; ${{...}} is not interpolated; write the value itself")
    if text == "???":
        refuse(place, key, "is '???', which OmegaConf reads as a missing value; write the value itself")
    credential = None if is_plain(node) else credential_in(text, os.environ)
    if credential is not None:  # written with escapes; `compose` has checked the raw text
        refuse(place, key, f"{credential[1]}; {_WITHOUT}")
    odd = _CONTROL.search(text)
    if odd:
        refuse(place, key, f"contains {odd[0]!r}, which is not printable; remove it")
    return text
