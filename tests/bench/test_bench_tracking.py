"""How long a finished study takes to MLflow, and how many requests; `make bench` prints them. No time is asserted."""

import json
import math
import re
import resource
import time
from pathlib import Path

import pytest
from made_plan import made_plan, standing, write_artifact
from timing import say

from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.protocol import JobChange

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

CELLS = 1000
STEPS = 5000


def test_a_finished_study_of_a_thousand_cells_to_an_empty_database_and_again(tmp_path: Path) -> None:
    plan = made_plan(tuple(f"row-{number}" for number in range(CELLS)), alias=None)
    folders = {stage: write_artifact(tmp_path / stage, stage) for stage in ("evaluate", "judge")}
    folders["train"] = write_series(tmp_path / "train")
    for what in ("to an empty database", "with nothing to do"):
        tracker = MlflowTracker(tmp_path / "home", plan, None, live=False)
        began, before = time.perf_counter(), processor_s()
        tracker.start()
        for job in plan.jobs.values():
            change = JobChange(job.id, standing("done"), "a1", None, folders[job.stage], manifest=job.fingerprint)
            tracker.job_changed(change)
        assert tracker.close(3600.0)
        log = (tmp_path / "home" / "tracking.log").read_text()
        requests = int(re.findall(r"^(\d+) requests to MLflow$", log, re.MULTILINE)[-1])
        say(f"{CELLS} cells of {STEPS} steps, {what}, {requests} requests", time.perf_counter() - began)
        say("of which on a processor", processor_s() - before)
    assert requests <= 10


def processor_s() -> float:
    """Seconds that children of this process have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_series(folder: Path) -> Path:
    """A training that tells its loss at every step, and nine other values at every tenth."""
    folder.mkdir()
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for step in range(1, STEPS + 1):
            names = ["loss"] if step % 10 else ["loss", *(f"value_{number}" for number in range(9))]
            for name in names:
                value = math.exp(-step / 1000) + 0.1 * math.sin(step * 1.7)
                file.write(json.dumps({"step": step, "name": name, "value": value, "wall": float(step)}) + "\n")
    return folder
