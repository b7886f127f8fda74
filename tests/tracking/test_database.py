"""mlflow.db is there whole or not at all, on every file system, and one that cannot be used is replaced."""

import multiprocessing
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.errors import TrackingError
from orchestrator.tracking.mlflow import database
from orchestrator.tracking.mlflow.database import prepare_database
from orchestrator.tracking.mlflow.sqlite_file import (
    condition_of,
    database_path,
    follow_home,
    log_ahead_works,
    schemas,
    set_journal,
)

NO_SHARED_MAP = 20_000
"""Bytes: a file of a memory map that processes share has 32 KiB, and the probe's own files are smaller."""


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def journal(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def client(path: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{path}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of the installed MLflow."""
    path = tmp_path_factory.mktemp("made") / "mlflow.db"
    assert prepare_database(path) == ""
    return path.read_bytes()


@pytest.fixture
def path(made: bytes, tmp_path: Path) -> Path:
    """A copy of it."""
    (tmp_path / "mlflow.db").write_bytes(made)
    return tmp_path / "mlflow.db"


@contextmanager
def without_shared_maps() -> Iterator[None]:
    """As on a file system without them: SQLite cannot make the file of the map."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (NO_SHARED_MAP, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def die_when_made(path: Path) -> None:
    """A process that is killed with all tables made and nothing renamed."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    database.os.link = die  # type: ignore[assignment]
    prepare_database(path)


def test_a_kill_while_the_tables_are_made_leaves_no_database_and_the_next_makes_one(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    child = multiprocessing.get_context("spawn").Process(target=die_when_made, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not path.exists()
    prepare_database(path)
    assert client(path).create_experiment("study")
    assert journal(path) == "wal"


def test_one_that_is_there_is_left_as_it_is(path: Path) -> None:
    experiment = client(path).create_experiment("study")
    assert prepare_database(path) == ""
    assert client(path).get_experiment(experiment).name == "study"
    assert not list(path.parent.glob("mlflow.db.*"))


def test_without_shared_memory_maps_there_is_no_write_ahead_log(path: Path) -> None:
    assert log_ahead_works(path.parent)
    with without_shared_maps():
        assert not log_ahead_works(path.parent)
        set_journal(path)  # it came from a disk where it works
        assert [one.name for one in path.parent.iterdir()] == ["mlflow.db"]
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT COUNT(*) FROM experiments").fetchone() == (1,)
    assert journal(path) == "delete"
    set_journal(path)
    assert journal(path) == "wal"


def test_what_was_only_in_the_write_ahead_log_is_kept_where_it_does_not_work(tmp_path: Path) -> None:
    there, here = tmp_path / "there.db", tmp_path / "here.db"
    with closing(sqlite3.connect(there)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE runs (name TEXT)")
        writer.execute("INSERT INTO runs VALUES ('kept')")
        writer.commit()
        for ending in ("", "-wal"):
            (tmp_path / f"here.db{ending}").write_bytes((tmp_path / f"there.db{ending}").read_bytes())
    assert b"kept" not in here.read_bytes()
    with without_shared_maps():
        set_journal(here)
        with closing(sqlite3.connect(here)) as reader:
            assert reader.execute("SELECT name FROM runs").fetchall() == [("kept",)]
    assert journal(here) == "delete"


def test_a_database_that_was_left_half_made_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    change(path, "CREATE TABLE experiments (experiment_id INTEGER)")
    note = prepare_database(path)
    assert client(path).create_experiment("study")
    (aside,) = tmp_path.glob("mlflow.db.half-made-*")
    assert tables(aside) == {"experiments"}
    assert note == (
        f"mlflow.db was left half made by a process that was killed; it is kept as {aside.name}, and a new one is "
        "made; `echo-matrix sync` sends it everything that is completed"
    )


@pytest.mark.parametrize("damage", ["no database", "a page"])
def test_a_damaged_database_is_put_aside(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "a page":
        content[4096 : 4096 * 3] = b"\xff" * 8192
    path.write_bytes(content if damage == "a page" else b"not a database" * 1000)
    assert "is damaged" in prepare_database(path)
    assert condition_of(path) == "whole"


def test_a_database_of_a_newer_mlflow_is_kept_and_a_new_one_made(path: Path) -> None:
    change(path, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    assert condition_of(path) == "newer"
    assert "was written by a newer version of MLflow, which this one cannot read" in prepare_database(path)
    assert client(path).create_experiment("study")
    (aside,) = path.parent.glob("mlflow.db.newer-*")
    assert condition_of(aside) == "newer"


def test_a_database_of_an_older_mlflow_is_upgraded_with_what_it_holds(path: Path) -> None:
    client(path).create_experiment("study")
    known, newest = schemas()
    assert len(newest) == 1 and newest < known
    change(path, "DROP TABLE jobs")
    change(path, "UPDATE alembic_version SET version_num = '75868b020152'")
    if condition_of(path) != "older":
        pytest.skip("another MLflow, whose migrations have other names")
    note = prepare_database(path)
    assert condition_of(path) == "whole"
    assert client(path).get_experiment_by_name("study") is not None, note
    assert list(path.parent.glob("mlflow.db.older-*"))


def test_a_database_that_others_may_use_is_never_put_aside(path: Path) -> None:
    change(path, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(TrackingError, match=r"newer version of MLflow.*name another database in tracking.uri"):
        prepare_database(path, own=False)
    assert [one.name for one in path.parent.iterdir()] == ["mlflow.db"]


def test_files_of_runs_follow_the_folder_of_their_study(path: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old home", tmp_path / "new home"
    mlflow = client(path)
    ours = mlflow.create_experiment("study", (old / "mlartifacts").as_uri())
    others = mlflow.create_experiment("other", "s3://bucket/other")
    runs = [mlflow.create_run(experiment).info.run_id for experiment in (ours, others)]
    for _ in range(2):
        follow_home(path, "study", new / "mlartifacts")
        follow_home(path, "other", new / "mlartifacts")
        found = [client(path).get_run(run).info.artifact_uri for run in runs]
        assert found == [
            f"{(new / 'mlartifacts').as_uri()}/{runs[0]}/artifacts",
            f"s3://bucket/other/{runs[1]}/artifacts",
        ]
    assert client(path).get_experiment(ours).artifact_location == (new / "mlartifacts").as_uri()


def test_the_database_of_a_uri(tmp_path: Path) -> None:
    assert database_path(tmp_path, None) == tmp_path / "mlflow.db"
    assert database_path(tmp_path, "sqlite:////data/runs.db?timeout=30") == Path("/data/runs.db")
    assert database_path(tmp_path, "http://mlflow:5000") is None
