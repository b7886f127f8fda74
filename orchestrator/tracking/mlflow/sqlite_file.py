"""The SQLite file of a study's MLflow: its place, its journal, its condition; what can be repaired without MLflow.

Everything in it can be sent again from commit records, so a file that this MLflow cannot use is renamed, never deleted.
"""

import contextlib
import importlib.util
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Literal

from orchestrator.errors import TrackingError
from orchestrator.host.machine import NETWORK, file_system

NAME = "mlflow.db"
ARTIFACTS = "mlartifacts"
"""Folder of the study with the files of its runs."""
SQLITE = "sqlite:///"
BUSY_S = 20.0
"""How long another process's lock is waited for; MLflow waits as long."""
BESIDE = ("", "-wal", "-shm", "-journal")
"""Endings of the files that make up a database."""

Condition = Literal["whole", "half-made", "broken", "older", "newer"]
IN_WORDS: dict[Condition, str] = {
    "whole": "can be used",
    "half-made": "was left half made by a process that was killed",
    "broken": "is damaged",
    "older": "was written by an older version of MLflow",
    "newer": "was written by a newer version of MLflow, which this one cannot read",
}

_REVISION = re.compile(r'^revision = "(\w+)"', re.MULTILINE)
_BEFORE = re.compile(r'^down_revision = "(\w+)"', re.MULTILINE)


def database_path(home: Path, uri: str | None) -> Path | None:
    """The SQLite file that `tracking.uri` names; None: a server has the runs."""
    if uri is None:
        return home / NAME
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def log_ahead_works(folder: Path) -> bool:
    """Whether SQLite's write-ahead log (WAL) can be used in an existing folder; tried with two connections.

    It needs memory maps that processes share. Network file systems have none, or one on each machine.
    """
    if file_system(folder) in NETWORK:
        return False
    path = folder / f".{NAME}.{os.getpid()}.tmp-probe"
    try:
        with contextlib.closing(sqlite3.connect(path)) as writer, contextlib.closing(sqlite3.connect(path)) as reader:
            if writer.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                return False
            writer.execute("CREATE TABLE probe (value INTEGER)")
            writer.commit()
            reader.execute("SELECT * FROM probe").fetchall()
        return True
    except sqlite3.Error:
        return False
    finally:
        for ending in BESIDE:
            with contextlib.suppress(OSError):
                path.with_name(path.name + ending).unlink(missing_ok=True)


def set_journal(path: Path) -> None:
    """Let a database use the write-ahead log where that works, so that readers (`ui`) and the writer never wait.

    Elsewhere it uses a rollback journal, as the ledger does. A database may have been made on another file system.

    Raises:
        sqlite3.Error: it uses the write-ahead log, which does not work here, and cannot be changed.
    """
    with path.open("rb") as file:
        ahead = file.read(20)[18:] == b"\x02\x02"  # version of the file format for writing, and for reading
    if ahead == log_ahead_works(path.parent):
        return
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
        if ahead:
            # With the file for itself alone, SQLite keeps the index of the log in its own memory.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = DELETE")
        else:
            with contextlib.suppress(sqlite3.OperationalError):  # another process has it open: next time
                connection.execute("PRAGMA journal_mode = WAL")


def condition_of(path: Path) -> Condition:
    """What can be done with a database; one that cannot be read now is left for MLflow to judge."""
    try:
        # Not `mode=ro`: a reader that may not write leaves the files of the write-ahead log behind.
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA query_only = 1")
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return "broken"
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
                return "half-made"
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return "whole"
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return "broken"
    if found is None:
        return "half-made"
    known, newest = schemas()
    if not known or found[0] in newest:
        return "whole"
    return "older" if found[0] in known else "newer"


def schemas() -> tuple[frozenset[str], frozenset[str]]:
    """The versions of the tables that the installed MLflow knows, and the newest; it is not imported.

    Both are empty where MLflow is not installed, or keeps its migrations elsewhere.
    """
    spec = importlib.util.find_spec("mlflow")
    places = (spec.submodule_search_locations if spec else None) or ()
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for place in places
        for path in Path(place, "store", "db_migrations", "versions").glob("*.py")
    ]
    known = frozenset(found[1] for text in texts if (found := _REVISION.search(text)))
    return known, known - {found[1] for text in texts if (found := _BEFORE.search(text))}


def refuse_unusable(path: Path) -> None:
    """Make sure that the installed MLflow can open a database.

    Raises:
        TrackingError: it cannot; says what to do.
    """
    found = condition_of(path)
    if found != "whole":
        raise TrackingError(f"{path} {IN_WORDS[found]}; `echo-matrix sync` replaces it, and sends what is completed")


def put_aside(path: Path, why: str) -> Path:
    """Rename a database and what belongs to it; returns its new name, which begins with the old one and `why`."""
    aside = path.with_name(f"{path.name}.{why}-{time.time_ns()}")
    for ending in BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def follow_home(path: Path, experiment: str, artifacts: Path) -> None:
    """Let a study's runs have their files in `artifacts`, where its folder was moved or copied; idempotent.

    MLflow stores absolute places and has no call to change them. Places that others chose are left as they are.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    here = artifacts.resolve().as_uri()
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_S)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return  # an empty file, which MLflow fills when it opens it
        found = connection.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?", (experiment,)
        )
        for number, before in found.fetchall():
            if before == here or not str(before).endswith(f"/{ARTIFACTS}"):
                continue
            connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                (here, len(before) + 1, number, len(before) + 1, f"{before}/"),
            )
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (here, number))
