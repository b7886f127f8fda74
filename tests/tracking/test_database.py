"""mlflow.db is there whole or not at all, whatever is killed while MLflow makes its tables."""

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

from mlflow import MlflowClient

from orchestrator.tracking.mlflow import database
from orchestrator.tracking.mlflow.database import local_uri, prepare_database


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def die_when_made(home: Path) -> None:
    """A process that is killed with all tables made and nothing renamed."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    database.os.link = die  # type: ignore[assignment]
    prepare_database(home)


def test_a_kill_while_the_tables_are_made_leaves_no_database_and_the_next_makes_one(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=die_when_made, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    prepare_database(tmp_path)
    assert MlflowClient(local_uri(tmp_path)).create_experiment("study")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_that_was_left_half_made_is_put_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    prepare_database(tmp_path)
    assert MlflowClient(local_uri(tmp_path)).create_experiment("study")
    (aside,) = tmp_path.glob("mlflow.db.broken-*")
    assert tables(aside) == {"experiments"}


def test_one_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    prepare_database(tmp_path)
    client = MlflowClient(local_uri(tmp_path))
    experiment = client.create_experiment("study")
    prepare_database(tmp_path)
    assert client.get_experiment(experiment).name == "study"
    assert not list(tmp_path.glob("mlflow.db.broken-*"))
