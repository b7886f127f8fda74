"""Commit records: their names and content; every field that is read is checked, since its names become paths."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.plan.fingerprint import BASE_DIGITS
from orchestrator.store.protocol import VERSION, Commit
from workloads.contract.json_files import check_types, object_of

FINGERPRINT = re.compile(r"[0-9a-f]{64}")
FOLDER_DIGITS = 16
"""Hex digits of a fingerprint in folder names; the commit record holds all 64, and readers check them."""
SUFFIX = ".json"
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""A stage or an attempt: one path component, never `..`."""
LARGEST = 16 << 20  # bytes of a commit record; those of the study have 3 KiB
LONGEST_SHOWN = 1000
"""Characters of a text that is shown to people; labels have some dozens."""
RERUN_HINT = "move the file away, and `run` makes it again"

_READ = (1, VERSION)
_CONTENT = re.compile(rf"[0-9a-f]{{{BASE_DIGITS}}}")
_TEXTS = ("fingerprint", "attempt", "stage", "job", "label", "manifest", "code", "git", "host_kind", "measured")
_TYPES = {
    **dict.fromkeys(_TEXTS, str),
    **dict.fromkeys(("inputs", "versions", "result", "items", "taken", "origins"), dict),
    **dict.fromkeys(("started", "ended"), (int, float)),
    "branch": (str, type(None)),
}
_NUMBER = (int, float, type(None))


def record_name(fingerprint: str) -> str:
    """The name of a commit record.

    Raises:
        StoreError: `fingerprint` is none.
    """
    if not FINGERPRINT.fullmatch(fingerprint):
        raise StoreError(f"{fingerprint!r} is not a fingerprint (64 lower-case hex digits)")
    return f"{fingerprint}{SUFFIX}"


def recorded_fingerprint(name: str) -> str:
    """The fingerprint in the name of a commit record; empty: it is the name of something else."""
    fingerprint = name.removesuffix(SUFFIX)
    return fingerprint if fingerprint != name and FINGERPRINT.fullmatch(fingerprint) else ""


def withdrawn_name(fingerprint: str, number: int) -> str:
    """The name of a withdrawn commit record.

    Raises:
        StoreError: `fingerprint` is none.
    """
    return f"{record_name(fingerprint).removesuffix(SUFFIX)}.{number}{SUFFIX}"


def withdrawn_number(name: str) -> tuple[str, int] | None:
    """Fingerprint and number in the name of a withdrawn commit record; None: it is the name of something else."""
    fingerprint, _, number = name.removesuffix(SUFFIX).partition(".")
    if not name.endswith(SUFFIX) or not FINGERPRINT.fullmatch(fingerprint):
        return None
    return (fingerprint, int(number)) if number.isascii() and number.isdecimal() else None


def check_names(place: str, fingerprint: str, **names: str) -> None:
    """Refuse what could lead out of a store; `names`: kind -> name, for the error, which names the store by `place`.

    Raises:
        StoreError: `fingerprint` is none, or a name is not plain.
    """
    record_name(fingerprint)
    for what, name in names.items():
        if not PLAIN_NAME.fullmatch(name):
            raise StoreError(f"{what} {name!r} is not a plain name, so it names nothing in {place}")


def content_of(commit: Commit) -> bytes:
    """A commit record as JSON; the same bytes for equal ones."""
    return json.dumps(asdict(commit), indent=1, sort_keys=True).encode("utf-8")


def commit_from(content: bytes, fingerprint: str, where: str) -> Commit:
    """The commit record of `fingerprint` from its JSON; `where` names it in errors.

    Raises:
        StoreError: broken, of another version or fingerprint, or with invalid names.
    """
    try:
        raw = object_of(content, where)
        if raw.get("version") not in _READ:
            raise StoreError(f"{where}: version is {str(raw.get('version'))[:60]!r}, this code reads {VERSION}")
        check_types(raw, _TYPES, where)
        commit = Commit(**raw)
        _check_fields(commit, where)
    except TypeError as error:
        raise StoreError(f"{where}: not a commit record: {error}; {RERUN_HINT}") from error
    except ValueError as error:
        raise StoreError(
            f"{where}: not a commit record: {str(error).removeprefix(f'{where}: ')}; {RERUN_HINT}"
        ) from error
    if commit.fingerprint != fingerprint:
        raise StoreError(f"{where} names the fingerprint {commit.fingerprint[:80]!r}; {RERUN_HINT}")
    return commit


def _check_fields(commit: Commit, where: str) -> None:
    for what, name in (("stage", commit.stage), ("attempt", commit.attempt)):
        if not PLAIN_NAME.fullmatch(name):
            raise ValueError(f"{what} is {name[:80]!r}, which is not a plain name; nothing outside the store is read")
    shown = ("job", "label", "branch", "code", "git", "host_kind")
    for what, text in ((what, getattr(commit, what) or "") for what in shown):
        _check_shown(what, text)
    if not FINGERPRINT.fullmatch(commit.manifest):
        raise ValueError(f"manifest is {commit.manifest[:80]!r}; allowed: the 64 hex digits of a sha256")
    for stage, read in commit.inputs.items():
        if not isinstance(read, Mapping) or not all(isinstance(value, str) for value in read.values()):
            raise ValueError(f"inputs.{stage[:80]} is {str(read)[:80]!r}; allowed: fingerprint and manifest, as text")
    _check_items(commit)
    result: dict[str, Any] = dict(commit.result)
    check_types(result, {"records": dict, "cost": dict, "steps": int}, f"{where}: result")
    cost = result.get("cost", {})
    check_types(cost, dict.fromkeys(cost, _NUMBER), f"{where}: result.cost")


def _check_items(commit: Commit) -> None:
    for item, content in commit.items.items():
        _check_shown("an item", item)
        if not isinstance(content, str) or not _CONTENT.fullmatch(content):
            raise ValueError(
                f"items.{item} is {str(content)[:80]!r}; allowed: the {BASE_DIGITS} hex digits of its content"
            )
    for what, manifests in (("taken", commit.taken), ("origins", commit.origins)):
        for name, manifest in manifests.items():
            _check_shown(what, name)
            if not isinstance(manifest, str) or not FINGERPRINT.fullmatch(manifest):
                raise ValueError(f"{what}.{name} is {str(manifest)[:80]!r}; allowed: the 64 hex digits of a manifest")
    for name in commit.taken:
        if not FINGERPRINT.fullmatch(name):
            raise ValueError(f"taken.{name} names no job; allowed: fingerprints (64 lower-case hex digits)")
    if unknown := sorted(commit.origins.keys() - commit.items.keys()):
        raise ValueError(f"origins.{unknown[0]} is of no item of the job")


def _check_shown(what: str, text: str) -> None:
    """A terminal obeys what is not printable."""
    if not text.isprintable() or len(text) > LONGEST_SHOWN:
        raise ValueError(f"{what} is {text[:80]!r}; allowed: at most {LONGEST_SHOWN} printable characters")
