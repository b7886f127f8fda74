"""JSON files: bounded reading of objects that another process wrote, type checks, and atomic writing.

A file may be incomplete, huge, a pipe, or nested too deep for the parser. Reading it never blocks and raises nothing
but OSError and ValueError. Standard library only.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LARGEST = 16 << 20  # bytes; files of this project have less than 1 MiB


def read_plain(path: Path, largest: int = LARGEST, *, links: bool = True) -> bytes:
    """The bytes of a regular file, or with `links` of a symbolic link to one.

    Raises:
        OSError: it does not exist or cannot be read.
        ValueError: a folder, pipe, device, or more than `largest` bytes.
    """
    # Without O_NONBLOCK, opening a pipe without a writer blocks.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path}: is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"{path}: has more than {largest} bytes; allowed: {largest}")
    return content


def object_of(content: bytes | str, where: Path | str) -> dict[str, Any]:
    """The JSON object in `content`; `where` names it in errors.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deep, or not an object.
    """
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"{where}: JSON is nested too deep") from error
    except ValueError as error:  # UnicodeDecodeError, JSONDecodeError, an integer of thousands of digits
        raise ValueError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: is {type(value).__name__}; allowed: a JSON object")
    return value


def read_object(path: Path, largest: int = LARGEST) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: it does not exist or cannot be read.
        ValueError: not a regular file, too large, or not a JSON object.
    """
    return object_of(read_plain(path, largest), path)


def check_types(raw: dict[str, Any], types: dict[str, Any], where: Path | str) -> None:
    """Refuse fields of other types; `types` maps a name to a type or a tuple of types. A bool is not an int here.

    Raises:
        ValueError: with the field, its value and what is allowed.
    """
    for name, allowed in types.items():
        options = allowed if isinstance(allowed, tuple) else (allowed,)
        value = raw.get(name)
        if name in raw and not (isinstance(value, options) and (bool in options or not isinstance(value, bool))):
            words = " or ".join("null" if option is type(None) else option.__name__ for option in options)
            raise ValueError(f"{where}: {name} is {str(value)[:60]!r}, {type(value).__name__}; allowed: {words}")


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; it is not synced, so that a power failure may lose it.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    temporary.replace(path)
