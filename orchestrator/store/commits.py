"""Commit records: parse one and check every field, since its names become paths."""

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.store.protocol import VERSION, Commit
from workloads.contract.json_files import check_types, object_of

FINGERPRINT = re.compile(r"[0-9a-f]{64}")
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""A stage or an attempt: one path component, never `..`."""
LARGEST = 16 << 20  # bytes of a commit record; those of the study have 3 KiB
LONGEST_SHOWN = 1000
"""Characters of a text that is shown to people; labels have some dozens."""
RERUN_HINT = "move the file away, and `run` makes it again"

_TYPES = {
    **dict.fromkeys(("fingerprint", "attempt", "stage", "job", "label", "manifest", "code", "git", "host_kind"), str),
    **dict.fromkeys(("inputs", "versions", "result"), dict),
    **dict.fromkeys(("started", "ended"), (int, float)),
    "branch": (str, type(None)),
}
_NUMBER = (int, float, type(None))


def commit_from(content: bytes, fingerprint: str, where: str) -> Commit:
    """The commit record of `fingerprint` from its JSON; `where` names it in errors.

    Raises:
        StoreError: broken, of another version or fingerprint, or with invalid names.
    """
    try:
        raw = object_of(content, where)
        if raw.get("version") != VERSION:
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
        if not text.isprintable() or len(text) > LONGEST_SHOWN:  # a terminal obeys what is not
            raise ValueError(f"{what} is {text[:80]!r}; allowed: at most {LONGEST_SHOWN} printable characters")
    if not FINGERPRINT.fullmatch(commit.manifest):
        raise ValueError(f"manifest is {commit.manifest[:80]!r}; allowed: the 64 hex digits of a sha256")
    for stage, read in commit.inputs.items():
        if not isinstance(read, Mapping) or not all(isinstance(value, str) for value in read.values()):
            raise ValueError(f"inputs.{stage[:80]} is {str(read)[:80]!r}; allowed: fingerprint and manifest, as text")
    result: dict[str, Any] = dict(commit.result)
    check_types(result, {"records": dict, "cost": dict, "steps": int}, f"{where}: result")
    cost = result.get("cost", {})
    check_types(cost, dict.fromkeys(cost, _NUMBER), f"{where}: result.cost")
