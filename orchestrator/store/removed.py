"""Removed files: what `gc` has taken out of committed artifacts, and says so before it does.

`removed/{fingerprint}.{attempt}.json` holds `{"version": 1, "patterns": [...]}`. Commit record and manifest stay as
they were: readers of the other files notice nothing, and files that match a pattern are not missed.
"""

import json
from collections.abc import Callable, Iterable, Sequence

from orchestrator.errors import StoreError
from orchestrator.store.commits import FINGERPRINT, PLAIN_NAME, SUFFIX, record_name
from orchestrator.store.protocol import Commit
from workloads.contract.json_files import object_of

FOLDER = "removed"
VERSION = 1


def removed_name(fingerprint: str, attempt: str) -> str:
    """The name of the note about an attempt's artifact."""
    return f"{record_name(fingerprint).removesuffix(SUFFIX)}.{attempt}{SUFFIX}"


def removed_of(name: str) -> tuple[str, str] | None:
    """Fingerprint and attempt in the name of such a note; None: it is the name of something else."""
    fingerprint, _, attempt = name.removesuffix(SUFFIX).partition(".")
    known = name.endswith(SUFFIX) and FINGERPRINT.fullmatch(fingerprint) and PLAIN_NAME.fullmatch(attempt)
    return (fingerprint, attempt) if known else None


def note_of(patterns: Sequence[str]) -> bytes:
    """The content of a note."""
    return json.dumps({"version": VERSION, "patterns": sorted(patterns)}).encode()


def patterns_of(content: bytes, where: str) -> tuple[str, ...]:
    """The patterns (as `fnmatch`) of a note.

    Raises:
        StoreError: it is none.
    """
    try:
        raw = object_of(content, where)
        patterns = raw["patterns"]
        if raw["version"] != VERSION or not isinstance(patterns, list) or not all(type(one) is str for one in patterns):
            raise ValueError(f"{where}: {str(raw)[:200]}")
    except (ValueError, KeyError) as error:
        raise StoreError(f"{where}: says not which files `gc` has removed ({error}); move the file away") from error
    return tuple(patterns)


def without_videos(
    removed: Iterable[tuple[str, str]], commits: frozenset[str], read: Callable[[str], Commit | None]
) -> frozenset[str]:
    """Fingerprints of completed jobs of which files were removed; a note about an earlier attempt's counts nothing.

    Args:
        removed: fingerprints and attempts (`Store.removed`).
        commits: of completed jobs.
        read: reads a commit record; None: it cannot be read.
    """
    found = ((one, attempt, read(one)) for one, attempt in removed if one in commits)
    return frozenset(one for one, attempt, record in found if record is not None and record.attempt == attempt)


def earlier_attempts(removed: Iterable[tuple[str, str]], commit: Commit) -> list[str]:
    """The other attempts of a job of whose artifacts files were removed.

    Args:
        removed: fingerprints and attempts (`Store.removed`).
        commit: of the attempt that is published.
    """
    return sorted(attempt for one, attempt in removed if one == commit.fingerprint and attempt != commit.attempt)
