"""Tracking against a real SQLite MLflow: idempotent, alive after a kill, and nothing left RUNNING."""

import dataclasses
import json
import os
import queue
import re
import shutil
import signal
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from made_plan import STAGES, STEPS, made_plan, standing, write_artifact, write_metrics
from mlflow import MlflowClient

from orchestrator.plan.job import Plan
from orchestrator.tracking.mlflow.__main__ import Hurry, _read
from orchestrator.tracking.mlflow.identity import experiment_of, home_id
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.protocol import JobChange

TIMEOUT_S = 240.0
STARTED, ENDED = 1_700_000_000, 1_700_000_600
COMMIT, VERSION = "8dd02c226" + 31 * "0", "0.1.0+g8dd02c226"


def show_all(
    home: Path, plan: Plan, folder: Path, *, uri: str | None = None, live: bool = False, manifest: str = ""
) -> list[str]:
    """Send a finished study; returns what was said."""
    said: list[str] = []
    tracker = MlflowTracker(home, plan, uri, said.append, live=live)
    tracker.start()
    for job in plan.jobs.values():
        artifact = folder / job.id.replace("/", "_")
        if not artifact.exists():
            write_artifact(artifact, job.stage)
        done = JobChange(job.id, standing("done"), "a1", None, artifact, COMMIT, VERSION, manifest)
        tracker.job_changed(dataclasses.replace(done, started=STARTED, ended=ENDED))
    assert tracker.close(TIMEOUT_S), (home / "tracking.log").read_text()
    return said


def table(home: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(home / "mlflow.db")
    found = connection.execute(query).fetchall()
    connection.close()
    return sorted(found)


ROWS_OF_IT = {"context-k1": "KILLED", "context-k5": "FAILED", "laptop": "FAILED"}
EVERYTHING = (
    "select run_uuid, key, value, step, timestamp from metrics",
    "select run_uuid, key, value from params",
    "select run_uuid, key, value from tags",
    "select run_uuid, name, status, start_time, end_time from runs",
)


def requests_of(home: Path) -> int:
    """How many requests the last child has made."""
    return int(re.findall(r"^(\d+) requests to MLflow$", (home / "tracking.log").read_text(), re.MULTILINE)[-1])


def poll(seen, what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if seen():
            return
        time.sleep(0.1)
    raise AssertionError(f"not seen in {TIMEOUT_S} s: {what}")


def metric_count(home: Path) -> int:
    try:
        return table(home, "select count(*) from metrics where key = 'train/loss'")[0][0]
    except (sqlite3.OperationalError, IndexError):
        return 0


def test_projecting_everything_twice_changes_nothing(tmp_path):
    plan = made_plan()
    assert show_all(tmp_path / "home", plan, tmp_path / "artifacts", live=True) == []
    first = [table(tmp_path / "home", query) for query in EVERYTHING]
    home = tmp_path / "home"
    assert (home / "tracking.unsent").exists() is False
    show_all(home, plan, tmp_path / "artifacts")
    assert [table(home, query) for query in EVERYTHING] == first
    assert requests_of(home) <= 10
    assert table(home, "select distinct start_time, end_time from runs") == [(STARTED * 1000, ENDED * 1000)]

    assert {status for (status,) in table(home, "select status from runs")} == {"FINISHED"}
    names = [name for (name,) in table(home, "select name from runs")]
    rows = ["context-k1", "context-k5", "spatial-withheld"]
    assert names == sorted([*rows, *(f"{row}/s0" for row in rows), "laptop"])
    below = "select r.name, p.name from tags t join runs r using (run_uuid) join runs p on p.run_uuid = t.value"
    nested = dict(table(home, f"{below} where t.key = 'mlflow.parentRunId'"))
    assert nested == {**dict.fromkeys(rows, "laptop"), **{f"{row}/s0": row for row in rows}}
    steps = table(home, "select run_uuid, step from metrics where key = 'train/loss'")
    assert len(steps) == len(set(steps)) == 3 * STEPS
    assert {v for (v,) in table(home, "select value from metrics where key = 'return/judge'")} == {15.0}
    aliases = table(home, "select value from tags where key = 'alias_of' and value != ''")
    assert aliases == [("context-k1",), ("context-k1/s0",)]
    orders = "select t.value, r.name from tags t join runs r using (run_uuid) where t.key = 'order' order by t.value"
    assert [name for _, name in table(home, orders)] == ["laptop", *(n for row in rows for n in (row, f"{row}/s0"))]
    assert {key for (key,) in table(home, "select key from params")} == {"row"}, "in nothing else do the cells differ"
    settings = json.loads(next((home / "mlartifacts").rglob("settings.json")).read_text())
    assert settings["controls.training.global_batch"] == "8" and len(settings["controls.sampler.negative"]) == 900
    assert table(home, "select count(*) from logged_models") == [(3,)]
    cases = json.loads(next((home / "mlartifacts").rglob("return/cases.json")).read_text())
    assert cases["columns"] == ["case", "judge", "psnr_first"]
    assert cases["data"] == [["worlds/open-00-0/0", 10.0, 10.0], ["worlds/open-00-1/0", 20.0, 20.0]]
    images = json.loads(next((home / "mlartifacts").rglob("return/images.json")).read_text())
    shown = next((home / "mlartifacts").rglob("return/images.json")).parents[1] / images["data"][0][1]["filepath"]
    assert len(images["data"]) == 1 and shown.is_file()
    progress = table(home, "select distinct value from tags where key = 'progress'")
    assert progress == [("3/3 jobs",), ("6/6 jobs",)]
    for key, value in (("commit", COMMIT), ("version", VERSION)):
        assert {found for (found,) in table(home, f"select value from tags where key = '{key}'")} == {value}
    late = table(home, "select m.timestamp - r.start_time - 1000 * m.step from metrics m join runs r using (run_uuid)")
    assert {offset for (offset,) in late} == {0}
    assert table(home, "pragma journal_mode") == [("wal",)]
    assert max(len(v) for (v,) in table(home, "select value from params")) <= 500
    assert len(list((home / "mlartifacts").rglob("*.png"))) == 3
    assert len(list((home / "mlartifacts").rglob("checkpoint.json"))) == 3


def test_metrics_derived_from_several_jobs_are_with_those_of_the_cell(tmp_path):
    home, plan = tmp_path / "home", made_plan(("context-k1",), None, (*STAGES, ("camera", "return")))
    show_all(home, plan, tmp_path / "artifacts")
    found = dict(table(home, "select key, value from metrics where key like 'return/judge%'"))
    assert found == {"return/judge": 15.0, "return/judge_gated": 10.0, "return/judge_gated_most": 15.0}
    cases = json.loads(next((home / "mlartifacts").rglob("return/cases.json")).read_text())
    at = cases["columns"].index("judge_gated")
    assert [line[at] for line in cases["data"]] == [0.0, 20.0]
    first = [table(home, query) for query in EVERYTHING]
    show_all(home, plan, tmp_path / "artifacts")
    assert [table(home, query) for query in EVERYTHING] == first


def test_a_killed_child_is_replaced_and_every_step_is_sent_once(tmp_path):
    home, plan, work = tmp_path / "home", made_plan(alias=None), tmp_path / "work"
    said: list[str] = []
    tracker = MlflowTracker(home, plan, None, said.append)
    tracker.start()
    train = next(job.id for job in plan.jobs.values() if job.stage == "train")
    write_metrics(work, 1, 10)
    tracker.job_changed(JobChange(train, standing("running"), "a1", work))
    poll(lambda: metric_count(home) == 10, "ten steps of the running job")
    assert ("RUNNING",) in table(home, "select status from runs where name = 'context-k1/s0'")
    first = tracker.pid
    os.kill(first, signal.SIGKILL)
    write_metrics(work, 11, 20)
    poll(lambda: tracker.tick() or metric_count(home) == 20, "twenty steps, sent by another child")
    assert tracker.pid != first
    os.kill(tracker.pid, signal.SIGKILL)  # at the very end, nobody ticks any more
    write_metrics(work, 21, STEPS)
    for job in plan.jobs.values():
        artifact = work if job.id == train else write_artifact(tmp_path / job.id.replace("/", "_"), job.stage)
        tracker.job_changed(JobChange(job.id, standing("done"), "a1", None, artifact, COMMIT, VERSION))
    assert tracker.close(TIMEOUT_S), (home / "tracking.log").read_text()
    assert [text[:60] for text in said] == ["tracking ended with code -9 and is started again in 1 s, wit"]

    steps = table(home, "select run_uuid, step from metrics where key = 'train/loss'")
    assert len(steps) == len(set(steps)) == 2 * STEPS
    assert {status for (status,) in table(home, "select status from runs")} == {"FINISHED"}


def test_a_driver_that_goes_away_leaves_no_run_running(tmp_path):
    home, plan, work = tmp_path / "home", made_plan(alias=None), tmp_path / "work"
    tracker = MlflowTracker(home, plan, None, [].append)
    tracker.start()
    trains = [job.id for job in plan.jobs.values() if job.stage == "train"]
    write_metrics(work, 1, 3)
    tracker.job_changed(JobChange(trains[0], standing("running"), "a1", work))
    tracker.job_changed(JobChange(trains[1], standing("failed"), "a2"))
    assert tracker.close(TIMEOUT_S), (home / "tracking.log").read_text()
    found = dict(table(home, "select name, status from runs"))
    assert found == {"context-k1/s0": "KILLED", "context-k5/s0": "FAILED", **ROWS_OF_IT}
    assert metric_count(home) == 3


def test_a_driver_that_was_taken_over_leaves_its_successors_runs_alone(tmp_path):
    home, plan, work = tmp_path / "home", made_plan(alias=None), tmp_path / "work"
    train = next(job.id for job in plan.jobs.values() if job.stage == "train")
    stopped, successor = (MlflowTracker(home, plan, None, [].append) for _ in range(2))
    write_metrics(work, 1, 3)
    stopped.start()
    stopped.job_changed(JobChange(train, standing("running"), "a1", work))
    poll(lambda: metric_count(home) == 3, "three steps of the running job")
    successor.start()
    successor.job_changed(JobChange(train, standing("running"), "a1", work))
    write_metrics(work, 4, 6)
    successor.tick()
    poll(lambda: metric_count(home) == 6, "three more steps")
    stopped.leave()
    stopped.close(TIMEOUT_S)
    found = dict(table(home, "select name, status from runs"))
    assert (found["context-k1/s0"], found["laptop"]) == ("RUNNING", "RUNNING")
    assert successor.close(TIMEOUT_S)


def test_a_copied_home_has_its_own_files_and_a_deleted_experiment_comes_back(tmp_path):
    there, here, plan = tmp_path / "there", tmp_path / "here", made_plan(("context-k1",), alias=None)
    show_all(there, plan, tmp_path / "artifacts")
    there.rename(tmp_path / "before")
    shutil.copytree(tmp_path / "before", here)
    shutil.rmtree(here / "mlartifacts")
    client = MlflowClient(f"sqlite:///{here / 'mlflow.db'}")
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    said = show_all(here, plan, tmp_path / "artifacts")
    assert not there.exists()
    assert len(list((here / "mlartifacts").rglob("*.png"))) == 1
    (place,) = table(here, "select artifact_location from experiments where name = 'toy'")
    assert place == ((here / "mlartifacts").as_uri(),)
    assert {stage for (stage,) in table(here, "select lifecycle_stage from runs")} == {"active"}
    assert (
        len(said) == 1 and "the experiment 'toy' had been deleted in MLflow, and is restored with its runs" in said[0]
    )


def test_a_login_page_in_front_of_the_server_is_named(tmp_path):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><html>Sign in</html>")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said: list[str] = []
        plan = made_plan(alias=None)
        tracker = MlflowTracker(tmp_path, plan, f"http://127.0.0.1:{server.server_port}", said.append)
        tracker.start()
        tracker.job_changed(JobChange(next(iter(plan.jobs)), standing("failed"), "a1"))
        assert not tracker.close(TIMEOUT_S)
        server.shutdown()
    assert len(said) == 1 and "a web page answers where MLflow should: is a login page in front of it" in said[0]
    assert "echo-matrix sync" in said[0]


def test_without_mlflow_the_run_goes_on_and_says_once_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    plan, said = made_plan(alias=None), []
    tracker = MlflowTracker(tmp_path, plan, None, said.append)
    tracker.start()
    for job in plan.jobs:
        tracker.job_changed(JobChange(job, standing("failed"), "a1"))
        tracker.tick()
    assert not tracker.close(TIMEOUT_S)
    assert said == [
        "tracking is off: mlflow is not installed; pip install 'echo-matrix[mlflow]'; then `echo-matrix sync` sends "
        "what is completed"
    ]
    assert list(tmp_path.iterdir()) == []


def test_who_is_asked_to_hurry_hears_of_it_before_what_was_said_earlier_is_sent():
    told, hurry = queue.SimpleQueue(), Hurry()
    _read(['{"op": "study"}\n', '{"op": "job"}\n', '{"op": "hurry", "within_s": 7}\n'], told, hurry)
    assert hurry.is_set() and hurry.within_s == 7
    assert [told.get() for _ in range(3)] == [{"op": "study"}, {"op": "job"}, None]


def test_results_that_were_made_again_get_a_new_run(tmp_path):
    home, plan = tmp_path / "home", made_plan(("context-k1",), alias=None)
    show_all(home, plan, tmp_path / "artifacts", manifest="m1")
    shutil.rmtree(tmp_path / "artifacts")
    for job in plan.jobs.values():
        folder = write_artifact(tmp_path / "artifacts" / job.id.replace("/", "_"), job.stage)
        if job.stage == "judge":
            path = folder / "cases.jsonl"
            path.write_text(path.read_text().replace('"value": 10.0', '"value": 12.0'))
    show_all(home, plan, tmp_path / "artifacts", manifest="m2")
    values = "select value from metrics join runs using (run_uuid) where key = 'return/judge' and lifecycle_stage = "
    assert table(home, f"{values} 'active'") == [(16.0,)]
    assert table(home, f"{values} 'deleted'") == [(15.0,)]
    assert len(table(home, "select * from runs where lifecycle_stage = 'active'")) == 3


def test_two_folders_of_a_study_have_runs_of_their_own_on_one_server(tmp_path):
    plan, shared = made_plan(("context-k1",), alias=None), tmp_path / "shared.db"
    for home in (tmp_path / "one", tmp_path / "two", tmp_path / "one"):
        show_all(home, plan, tmp_path / "artifacts", uri=f"sqlite:///{shared}")
    (tmp_path / "one").rename(tmp_path / "moved")
    show_all(tmp_path / "moved", plan, tmp_path / "artifacts", uri=f"sqlite:///{shared}")
    assert requests_of(tmp_path / "moved") <= 10
    with sqlite3.connect(shared) as connection:
        parents = "select r.name, t.value from runs r join tags t using (run_uuid) where t.key = 'mlflow.parentRunId'"
        found = connection.execute(parents).fetchall()
        names = sorted(name for (name,) in connection.execute("select name from runs"))
    assert names == sorted(["context-k1", "context-k1/s0", "laptop"] * 2)
    assert len(found) == len({parent for _, parent in found}) == 4


def test_results_without_a_meaning_have_an_experiment_of_their_own(tmp_path):
    plan = made_plan()
    assert experiment_of(plan, tmp_path / "toy") == "toy"
    assert experiment_of(plan, tmp_path / "toy-rehearsal") == "toy-rehearsal"
    jobs = {name: dataclasses.replace(job, smoke=True) for name, job in plan.jobs.items()}
    assert experiment_of(dataclasses.replace(plan, jobs=jobs), tmp_path / "toy") == "toy-rehearsal"


def test_a_copy_of_a_folder_is_another_one_and_a_moved_folder_is_not(tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    identity = home_id(first)
    assert home_id(first) == identity
    shutil.copytree(first, tmp_path / "copy")
    assert home_id(tmp_path / "copy") != identity
    first.rename(tmp_path / "moved")
    assert home_id(tmp_path / "moved") == identity
    (tmp_path / "moved" / "tracking.json").write_text("{")
    assert home_id(tmp_path / "moved") != identity
