"""Whatever is killed, a run in MLflow has every step once, with the value that is published (a real SQLite store).

A tracking child that is killed alone is in test_mlflow_tracker.py.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from made_plan import STEPS, made_plan, standing, write_metrics
from mlflow import MlflowClient
from test_mlflow_tracker import EVERYTHING, TIMEOUT_S, metric_count, poll, table

from orchestrator.plan.job import Plan
from orchestrator.tracking.mlflow.child import LOG
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.protocol import JobChange
from workloads.runtime.progress import Progress

ROW = "context-k1/s0"


def histories(home: Path) -> dict[str, list[tuple[int, float]]]:
    """Metric -> (step, value) of every point that the run of `ROW` has, by step."""
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    [run] = client.search_runs(experiments, f"tags.mlflow.runName = '{ROW}'")
    return {
        name: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


def assert_every_step_once(home: Path) -> None:
    found = histories(home)
    assert found["train/loss"] == [(step, 1 / step) for step in range(1, STEPS + 1)]
    assert found["train/rate"] == [(step, 0.1) for step in range(1, STEPS + 1)]


@contextmanager
def tracking(home: Path, plan: Plan) -> Iterator[MlflowTracker]:
    """A tracker that ends well."""
    said: list[str] = []
    tracker = MlflowTracker(home, plan, None, said.append)
    tracker.start()
    yield tracker
    assert tracker.close(TIMEOUT_S), (home / "tracking.log").read_text()
    assert said == []


def training_of(plan: Plan) -> str:
    return next(job.id for job in plan.jobs.values() if job.stage == "train")


def resumed(folder: Path, earlier: Path, step: int) -> Path:
    """An attempt that goes on from `step` as a training does: the earlier one's lines up to there, then its own."""
    folder.mkdir()
    lines = (earlier / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    kept = b"".join(line for line in lines if json.loads(line)["step"] <= step)
    progress = Progress(folder)
    progress.carry_over(earlier / "metrics.jsonl", len(kept))
    progress.close()
    assert (folder / "metrics.jsonl").read_bytes() == kept
    return folder


def has_ended(pid: int) -> bool:
    """Whether a process that is no child of this one has ended; without an init process it stays as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_an_attempt_that_goes_on_from_an_earlier_step_than_was_sent_doubles_none(tmp_path: Path) -> None:
    home, plan = tmp_path / "home", made_plan(alias=None)
    train, first = training_of(plan), tmp_path / "a1"
    write_metrics(first, 1, 12)
    with tracking(home, plan) as tracker:
        tracker.job_changed(JobChange(train, standing("running"), "a1", first))
        poll(lambda: metric_count(home) == 12, "twelve steps of the first attempt")
        second = resumed(tmp_path / "a2", first, step=8)
        tracker.job_changed(JobChange(train, standing("running"), "a2", second))
        write_metrics(second, 9, 11)
        third = resumed(tmp_path / "a3", second, step=10)
        tracker.job_changed(JobChange(train, standing("running"), "a3", third))
        write_metrics(third, 11, 20)
        poll(lambda: metric_count(home) == 20, "twenty steps")
        write_metrics(third, 21, STEPS)
        tracker.job_changed(JobChange(train, standing("done"), "a3", third, third))
    assert_every_step_once(home)


def test_a_driver_that_is_killed_and_the_next_one_send_every_step_once_between_them(tmp_path: Path) -> None:
    home, plan, first = tmp_path / "home", made_plan(alias=None), tmp_path / "a1"
    write_metrics(first, 1, 10)
    command = [sys.executable, str(Path(__file__).with_name("dying_driver.py")), str(home), str(first)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None and driver.stdout.readline().startswith("told ")
        poll(lambda: metric_count(home) == 10, "ten steps")
        write_metrics(first, 11, 15)
        driver.kill()
    # Its child may be sending the last steps at this very moment: what both send is one point.
    with tracking(home, plan) as tracker:
        second = resumed(tmp_path / "a2", first, step=9)
        tracker.job_changed(JobChange(training_of(plan), standing("running"), "a2", second))
        write_metrics(second, 10, STEPS)
        tracker.job_changed(JobChange(training_of(plan), standing("done"), "a2", second, second))
    assert_every_step_once(home)


def test_two_children_that_send_the_same_at_once_make_one_point_of_it(tmp_path: Path) -> None:
    home, plan, work = tmp_path / "home", made_plan(alias=None), tmp_path / "a1"
    train = training_of(plan)
    write_metrics(work, 1, 5)
    with tracking(home, plan) as older:
        older.job_changed(JobChange(train, standing("running"), "a1", work))
        poll(lambda: metric_count(home) == 5, "five steps")
        (home / LOG).unlink()  # with its lock: as on a disk without locks, the newer one does not wait
        with tracking(home, plan) as newer:
            newer.job_changed(JobChange(train, standing("running"), "a1", work))
            # Both know of five steps now or later; neither hears of what the other sends.
            write_metrics(work, 6, STEPS)
            for tracker in (older, newer):
                tracker.job_changed(JobChange(train, standing("done"), "a1", work, work))
    assert_every_step_once(home)


def test_a_child_of_a_dead_driver_that_comes_late_changes_nothing_of_what_the_next_one_has_sent(tmp_path: Path) -> None:
    home, plan, work = tmp_path / "home", made_plan(alias=None), tmp_path / "a1"
    write_metrics(work, 1, STEPS)
    command = [sys.executable, str(Path(__file__).with_name("dying_driver.py")), str(home), str(work)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        late = int(driver.stdout.readline().removeprefix("told "))
        os.kill(late, signal.SIGSTOP)  # while it imports MLflow, which takes seconds
        driver.kill()
    try:
        with tracking(home, plan) as tracker:
            for job in plan.jobs.values():
                tracker.job_changed(JobChange(job.id, standing("done"), "a2", work, work))
        sent = [table(home, query) for query in EVERYTHING]
    finally:
        os.kill(late, signal.SIGCONT)
    poll(lambda: has_ended(late), "the end of the late child")
    assert [table(home, query) for query in EVERYTHING] == sent
