"""The file of a registration, `registration-PROFILE.json` in the folder of the study.

It is written once, synced to disk, and only `--amend` adds to it. Each entry has the digest of the one before it, so
that an edited file is refused. A file that was made anew as a whole cannot be told: publish the digest.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.spec.canonical import digest
from orchestrator.store.link import create_once, sync_folder, write_synced
from workloads.contract.json_files import check_types, object_of, read_plain

VERSION = 1
LARGEST = 64 << 20
_TYPES = {
    "at": (int, float),
    "evaluations": int,
    "content": dict,
    **dict.fromkeys(("commit", "previous", "digest"), str),
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was declared at one time."""

    at: float
    """Seconds since 1970."""
    commit: str
    """Of the code; empty: git does not know it."""
    evaluations: int
    """Evaluations of the plan that were done by then: 0 is before the first look."""
    previous: str
    """Digest of the entry before; empty: it is the first."""
    content: Mapping[str, Any]
    digest: str
    """sha256 of all this."""

    @classmethod
    def made(cls, *, at: float, commit: str, evaluations: int, previous: str, content: Mapping[str, Any]) -> "Entry":
        """An entry with its digest."""
        fields = {
            "at": float(at),
            "commit": commit,
            "evaluations": evaluations,
            "previous": previous,
            "content": content,
        }
        return cls(**fields, digest=digest(fields))  # type: ignore[arg-type]

    @property
    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def registration_file(home: Path, profile: str) -> Path:
    """The file of one profile."""
    return home / f"registration-{profile}.json"


def entries_of(documents: Sequence[Any], where: str) -> list[Entry]:
    """The entries, oldest first; `where` names them in errors.

    Raises:
        ValueError: one is not as it was written.
    """
    found: list[Entry] = []
    for number, raw in enumerate(documents):
        place = f"{where}: entry {number + 1}"
        if not isinstance(raw, dict) or raw.keys() != {*_TYPES}:
            raise ValueError(f"{place}: allowed: an object with {', '.join(_TYPES)}")
        check_types(raw, _TYPES, place)
        made = Entry.made(**{name: raw[name] for name in _TYPES if name != "digest"})
        if made.digest != raw["digest"] or made.previous != (found[-1].digest if found else ""):
            raise ValueError(f"{place}: was edited: its digest is that of another content")
        found.append(made)
    return found


def read_registration(home: Path, profile: str) -> list[Entry]:
    """What is registered of one profile, oldest first; empty: nothing.

    Raises:
        PlanError: the file was edited, or cannot be read.
    """
    path = registration_file(home, profile)
    try:
        raw = object_of(read_plain(path, LARGEST), path)
        if raw.get("version") != VERSION or not isinstance(raw.get("entries"), list):
            raise ValueError(f"{path}: version is {str(raw.get('version'))[:40]!r}; this code reads {VERSION}")
        return entries_of(raw["entries"], str(path))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise PlanError(
            f"{error}; bring back {path.name} as `register` wrote it, or move it away: without it nothing counts as "
            "registered"
        ) from error


def write_registration(home: Path, profile: str, entries: Sequence[Entry]) -> bool:
    """Write the entries and sync them; a first one only if there is none; returns whether they are there now.

    Raises:
        OSError: the folder cannot be written.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = registration_file(home, profile)
    document = {"version": VERSION, "entries": [one.document for one in entries]}
    content = (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    token = f"registration-{secrets.token_hex(8)}"
    if len(entries) == 1:
        return create_once(path, content, token) == content
    temporary = path.with_name(f".{token}.tmp")
    write_synced(temporary, content)
    temporary.replace(path)
    sync_folder(home)
    return True
