"""MLflow database of a study: makes the SQLite file, and brings one of another MLflow up to date."""

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from orchestrator.errors import TrackingError
from orchestrator.host.children import python_command
from orchestrator.tracking.mlflow.sqlite_file import (
    BESIDE,
    IN_WORDS,
    SQLITE,
    condition_of,
    put_aside,
    set_journal,
)


def prepare_database(path: Path, *, own: bool = True) -> str:
    """Make `path` a database that this MLflow can use here; returns what the user should know, or nothing.

    MLflow creates its tables in many steps, and never opens a database that a kill has left between two of
    them. So it is created under another name.

    Args:
        path: of the database.
        own: the study's alone. One that cannot be used is then renamed, and a new one is made.

    Raises:
        TrackingError: it is not the study's own, and cannot be used.
        sqlite3.Error: it cannot be read or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    note = ""
    if path.exists() and path.stat().st_size > 0:
        found = condition_of(path)
        if found == "whole":
            set_journal(path)
            found = condition_of(path)  # its write-ahead log may have kept it from being read
        if found == "whole":
            return ""
        if not own:
            upgrade = f"run `mlflow db upgrade {SQLITE}{path}`, or " if found == "older" else ""
            raise TrackingError(f"{path} {IN_WORDS[found]}; {upgrade}name another database in tracking.uri")
        temporary = _upgraded(path) if found == "older" else None
        aside = put_aside(path, found)
        note = f"{path.name} {IN_WORDS[found]}; it is kept as {aside.name}, "
        if temporary is not None:
            _publish(temporary, path)
            return f"{note}and an upgraded copy is used"
        note += "and a new one is made; `echo-matrix sync` sends it everything that is completed"
    temporary = _temporary(path)
    SqlAlchemyStore(f"{SQLITE}{temporary}", str(path.parent)).engine.dispose()
    _publish(temporary, path)
    return note


def _upgraded(path: Path) -> Path | None:
    """A copy of a database of an older MLflow, upgraded; None: this MLflow cannot do it."""
    temporary = _temporary(path)
    with contextlib.closing(sqlite3.connect(path)) as old, contextlib.closing(sqlite3.connect(temporary)) as new:
        old.backup(new)
    command = python_command("mlflow", "db", "upgrade", f"{SQLITE}{temporary}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL)
    if done.returncode == 0 and condition_of(temporary) == "whole":
        return temporary
    temporary.unlink()
    return None


def _temporary(path: Path) -> Path:
    """A name for a database that is being made; what an earlier process with this pid left there is removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for ending in BESIDE:
        temporary.with_name(temporary.name + ending).unlink(missing_ok=True)
    return temporary


def _publish(temporary: Path, path: Path) -> None:
    """Give a finished database its name, unless another process was first.

    A reader that came too early has made an empty file, which MLflow fills when it opens it.
    """
    set_journal(temporary)
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
