"""`sync` sends what the last run was about, with the times that commit records and the ledger have."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from finished_study import finished_study
from recorded_run import record
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.opening import open_study
from orchestrator.study import Study

MATRIX = Path("matrix.yaml")


def table(study: Study, query: str) -> list[tuple]:
    with closing(sqlite3.connect(study.home / "mlflow.db")) as connection:
        return sorted(connection.execute(query).fetchall())


def test_without_overrides_it_sends_the_cells_of_the_last_run_with_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_study(tmp_path / "study", monkeypatch, without=["evaluate/shifted/conv/s0"])
    study = record(open_study(MATRIX, overrides=["seeds=[0]"]), 1.0)
    said = CliRunner().invoke(app, ["sync"])
    assert said.exit_code == 0, said.output
    assert "8 jobs sent to MLflow" in said.output
    found = table(study, "select name, status, start_time, end_time from runs")
    assert found == [
        ("conv", "SCHEDULED", 10_000, 13_000),
        ("conv/s0", "SCHEDULED", 10_000, 13_000),
        ("laptop seeds=[0]", "FINISHED", 10_000, 13_000),
        ("linear", "FINISHED", 10_000, 13_000),
        ("linear/s0", "FINISHED", 10_000, 13_000),
        ("mlp", "FINISHED", 10_000, 13_000),
        ("mlp/s0", "FINISHED", 10_000, 13_000),
    ]
    assert table(study, "select value from tags where key = 'state'") == [
        *[("finished",)] * 4,
        *[("incomplete",)] * 2,
    ]
