"""Cache of what was read of committed artifacts, so that a report reads only the jobs that changed.

One SQLite file in the study's folder. An entry is of a commit record and the manifest that it names: what is made again
has another manifest, and is read. It is derived data: a file that is gone, damaged, locked, or of other code costs time
and nothing else, and `gc` removes one with entries of results that are gone.
"""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Self, TypeVar

from orchestrator.store.protocol import Commit
from workloads.contract import metrics

NAME = "results-cache.sqlite"
"""File in the study's folder."""
WAIT_S = 1.0
"""How long another process may be writing."""
CODE = (Path(__file__), Path(__file__).with_name("artifacts.py"), Path(metrics.__file__))
"""What they make of a file is what is kept: other code reads it anew."""

T = TypeVar("T")
Key = tuple[str, str]
"""Fingerprint, and what was read of its artifact."""


class ResultsCache:
    """Entries of one file, read at the first question; several threads may ask."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """The file."""
        self._known: dict[Key, tuple[str, str]] | None = None
        self._new: dict[Key, tuple[str, str]] = {}

    @classmethod
    def of(cls, home: Path) -> Self:
        """That of a study's folder."""
        return cls(home / NAME)

    def get(self, commit: Commit, what: str, parse: Callable[[object], T]) -> T | None:
        """What was read of the artifact of a commit record; None: nothing was, or it cannot be used.

        Args:
            commit: the record.
            what: names the file and all that decides what is read of it.
            parse: makes of parsed JSON what `put` was given; what it raises of KeyError, TypeError and ValueError means
                that the entry is damaged.
        """
        key = (commit.fingerprint, what)
        manifest, content = self._new.get(key) or self._entries().get(key, ("", ""))
        if manifest != commit.manifest:
            return None
        try:
            return parse(json.loads(content))
        except (KeyError, TypeError, ValueError, RecursionError):
            return None

    def put(self, commit: Commit, what: str, value: object) -> None:
        """Keep what was read; `value`: of lists, mappings, texts and numbers."""
        self._new[commit.fingerprint, what] = commit.manifest, json.dumps(value, separators=(",", ":"))

    def save(self) -> None:
        """Write what is new; a disk that is full or read-only, or a file that others write for long, is no error."""
        if not self._new:
            return
        new = dict(self._new)
        rows = [(fingerprint, what, *entry) for (fingerprint, what), entry in new.items()]
        with contextlib.suppress(OSError, sqlite3.Error):
            if self.path.is_symlink():  # whoever made it may mean another database
                self.path.unlink()
            try:
                self._write(rows)
            except sqlite3.OperationalError:  # locked, or the disk is full
                raise
            except sqlite3.DatabaseError:  # damaged, or something else
                self.path.unlink(missing_ok=True)
                self._write(rows)
        self._entries().update(new)
        for key in new:
            self._new.pop(key, None)

    def fingerprints(self) -> frozenset[str]:
        """Those of all entries."""
        return frozenset(fingerprint for fingerprint, _ in self._entries())

    def _entries(self) -> dict[Key, tuple[str, str]]:
        if self._known is None:
            self._known = dict(self._read())
        return self._known

    def _read(self) -> Sequence[tuple[Key, tuple[str, str]]]:
        if not self.path.is_file() or self.path.is_symlink():
            return ()
        place = f"{self.path.absolute().as_uri()}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(place, WAIT_S, uri=True)) as database:
                if _version_in(database) != _version():
                    return ()
                found = database.execute("SELECT fingerprint, what, manifest, content FROM entries").fetchall()
        except (OSError, sqlite3.Error, UnicodeDecodeError):
            return ()
        return [((row[0], row[1]), (row[2], row[3])) for row in found if all(isinstance(text, str) for text in row)]

    def _write(self, rows: Sequence[tuple[str, ...]]) -> None:
        with contextlib.closing(sqlite3.connect(self.path, WAIT_S)) as database, database:
            if _version_in(database) != _version():
                database.execute("DROP TABLE IF EXISTS entries")
                database.execute(f"PRAGMA user_version = {_version()}")
            database.execute(
                "CREATE TABLE IF NOT EXISTS entries "
                "(fingerprint TEXT, what TEXT, manifest TEXT, content TEXT, PRIMARY KEY (fingerprint, what))"
            )
            database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)


def _version_in(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


@cache
def _version() -> int:
    """Of `CODE`, as a positive number of 31 bits."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in CODE))
    return int(digest.hexdigest()[:8], 16) >> 1
