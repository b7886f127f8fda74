"""A server that is away, for a part of the run or to its end, loses nothing."""

import sqlite3
import sys
import time
from pathlib import Path

import pytest
from made_plan import STEPS, made_plan, standing, write_artifact, write_metrics
from mlflow.exceptions import MlflowException, RestException
from test_mlflow_tracker import TIMEOUT_S, poll

sys.path.append(str(Path(__file__).parents[1] / "chaos"))

from mlflow_server import MlflowServer

from orchestrator.tracking.mlflow.outages import Outage, reason_of, refuses_one_request
from orchestrator.tracking.mlflow.tracker import BEHIND, MlflowTracker
from orchestrator.tracking.protocol import JobChange

LOSS = "select step, value from metrics join runs using (run_uuid) where key = 'train/loss' and name = 'context-k1/s0'"


def rows(database: Path, query: str) -> list[tuple]:
    """The answer of a server's database; nothing while there is none."""
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        found = connection.execute(query).fetchall()
        connection.close()
    except sqlite3.OperationalError:
        return []
    return sorted(found)


def test_a_server_that_comes_late_goes_away_and_comes_back_empty_gets_everything(tmp_path: Path) -> None:
    server, home, work = MlflowServer(tmp_path / "server"), tmp_path / "home", tmp_path / "work"
    plan, said = made_plan(alias=None), list[str]()
    train = next(job.id for job in plan.jobs.values() if job.stage == "train")
    tracker = MlflowTracker(home, plan, server.uri, said.append)
    tracker.start()
    write_metrics(work, 1, 10)
    tracker.job_changed(JobChange(train, standing("running"), "a1", work, started=time.time()))
    try:
        server.start()
        server.wait()
        poll(lambda: tracker.tick() or len(rows(server.database, LOSS)) == 10, "ten steps at the server that came late")
        server.kill()
        server.database.unlink()
        write_metrics(work, 11, STEPS)
        for job in plan.jobs.values():
            artifact = work if job.id == train else write_artifact(tmp_path / job.id.replace("/", "_"), job.stage)
            tracker.job_changed(JobChange(job.id, standing("done"), "a1", None, artifact, ended=time.time()))
        tracker.tick()
        server.start()
        assert tracker.close(TIMEOUT_S), (home / "tracking.log").read_text()
        assert rows(server.database, LOSS) == [(step, 1 / step) for step in range(1, STEPS + 1)]
        found = rows(server.database, "select name, status from runs")
        names = ("context-k1", "context-k1/s0", "context-k5", "context-k5/s0", "laptop")
        assert found == [(name, "FINISHED") for name in names]
        assert not (home / BEHIND).exists()
    finally:
        server.kill()


def test_a_server_that_stays_away_costs_a_message_and_the_next_run_sends_everything(tmp_path: Path) -> None:
    plan, said = made_plan(alias=None), list[str]()
    tracker = MlflowTracker(tmp_path, plan, "http://127.0.0.1:9", said.append)
    tracker.start()
    assert not tracker.wants_all()
    tracker.job_changed(JobChange(next(iter(plan.jobs)), standing("failed"), "a1"))
    assert tracker.wants_all()
    assert not tracker.close(10.0)
    assert len(said) == 1 and "the next run sends what is missing, or `echo-matrix sync`" in said[0]
    assert MlflowTracker(tmp_path, plan, None).wants_all()


def test_an_outage_is_told_of_once_when_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("orchestrator.tracking.mlflow.outages.time.monotonic", lambda: now[0])
    outage, away = Outage(), MlflowException("API request failed: connection refused")
    waits, notes = [], []
    for _ in range(9):
        notes.append(outage.begin(away))
        before = now[0]
        while outage.lasts():
            now[0] += 0.5
        waits.append(now[0] - before)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert [bool(note) for note in notes] == [False] * 5 + [True] + [False] * 3
    assert outage.end() == "MLflow answers again, and gets what it has missed"
    assert outage.begin(away) == "" and outage.end() == ""


def test_refused_credentials_are_told_of_at_once_and_without_them() -> None:
    outage = Outage()
    refused = MlflowException("API request failed with error code 401 != 200. Response body: 'You are not'", 1_000)
    refused.error_code = "UNAUTHENTICATED"
    assert "MLflow refuses the credentials: set MLFLOW_TRACKING_USERNAME and" in outage.begin(refused)
    assert outage.refusals == 1


def test_a_full_connection_pool_is_an_outage_and_a_bad_value_is_not() -> None:
    full = RestException({"error_code": "BAD_REQUEST", "message": "QueuePool limit of size 5 overflow 10 reached"})
    bad = RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid metric name"})
    assert not refuses_one_request(full)
    assert refuses_one_request(bad)
    assert reason_of(full).startswith("RestException: BAD_REQUEST: QueuePool limit")


def test_why_a_server_does_not_answer_is_said_in_a_line() -> None:
    refused = "HTTPConnection(host='h', port=9): Failed to establish a new connection: [Errno 111] Connection refused"
    text = "API request to http://h:9/api failed with exception HTTPConnectionPool(host='h', port=9): Max retries "
    text += f'exceeded with url: /api (Caused by NewConnectionError("{refused}"))'
    assert reason_of(MlflowException(text)) == "MLflow does not answer: [Errno 111] Connection refused"
