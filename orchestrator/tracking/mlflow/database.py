"""MLflow database of a study: `mlflow.db`, SQLite in the study's folder."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


def local_uri(home: Path) -> str:
    """The tracking database in the study's folder."""
    return f"sqlite:///{home / 'mlflow.db'}"


def prepare_database(home: Path) -> None:
    """Create `mlflow.db` atomically, in WAL mode so that readers (the UI) never block the writer.

    MLflow creates its tables in many steps, and never opens a database that a kill has left between two of
    them. So it is created under another name. One left half-made by an earlier version is renamed; everything it
    held can be sent again.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = home / "mlflow.db"
    if path.exists():
        if _is_complete(path):
            return
        path.rename(path.with_name(f"{path.name}.broken-{time.time_ns()}"))
    temporary = home / f".mlflow.db.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{temporary}", str(home / "mlartifacts")).engine.dispose()
    with contextlib.closing(sqlite3.connect(temporary)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    with contextlib.suppress(FileExistsError):  # another child was first
        os.link(temporary, path)
    temporary.unlink()


def _is_complete(path: Path) -> bool:
    """Whether MLflow has created all its tables; a file that cannot be read now is left for MLflow to judge."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return "alembic_version" in tables and bool(connection.execute("SELECT 1 FROM alembic_version").fetchone())
    except sqlite3.OperationalError:
        return True
