"""What is paid again when nothing has changed, and how it grows: 149, 1,013 and 10,085 jobs with real artifacts.

Seconds of a processor, so that other work on the machine counts for little.
"""

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from many_results import change_one, drive, seeds_override
from recorded_run import record, write_matrix
from timing import cpu_seconds, say

from orchestrator.opening import HOME_VARIABLE, open_study
from orchestrator.plan.build import build_plan
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
SEEDS = (1, 7, 70)
PROGRAM = (sys.executable, "-m", "orchestrator.cli")
MEMORY = Path("/dev/shm")
"""The studies lie there, where there is one: what is measured is computing, not the disk."""


@contextlib.contextmanager
def emptied() -> Iterator[Path]:
    """A folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_commands_on_a_finished_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each size: all jobs are driven through, then every command is asked again."""
    taken: dict[str, list[tuple[int, float]]] = {}
    for seeds in SEEDS:
        with emptied() as folder:
            monkeypatch.setenv(HOME_VARIABLE, str(folder / "outputs"))
            matrix = write_matrix(folder / "matrix.yaml")
            study = open_study(matrix, overrides=[seeds_override(seeds)])
            jobs, began = len(study.plan.jobs), time.process_time()
            assert drive(study).exit_code == 0
            driven = time.process_time() - began
            record(study, 1.0)
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
            first = cpu_seconds([*PROGRAM, "run", seeds_override(seeds)], folder, 1, environment)
            found = {"drive all jobs": driven, "the first report": first}
            lines = {"run": [seeds_override(seeds)], "status": [], "report": [seeds_override(seeds)], "plan": []}
            lines["plan"] = [seeds_override(seeds)]
            for verb, arguments in lines.items():
                found[verb] = cpu_seconds([*PROGRAM, verb, *arguments], folder, 5, environment)
            changed = []
            for change in ("a7", "a8", "a9"):
                change_one(study, change)
                changed.append(cpu_seconds([*PROGRAM, "report", seeds_override(seeds)], folder, 1, environment))
            found["report of one changed job"] = min(changed)
            for what, seconds in found.items():
                taken.setdefault(what, []).append((jobs, seconds))
                say(what, seconds, group="growth", size=jobs)
    for what, points in taken.items():
        print(f"{what}: exponent {exponent(points):.2f}")


def exponent(points: list[tuple[int, float]]) -> float:
    """Of growth between the two largest sizes: 1 is linear."""
    (fewer, before), (more, after) = points[-2:]
    return math.log(after / before) / math.log(more / fewer)


def test_help(tmp_path: Path) -> None:
    bare = cpu_seconds([sys.executable, "-c", "pass"], tmp_path)
    say("--help", cpu_seconds([*PROGRAM, "--help"], tmp_path), bare, "python -c pass", group="again")


def test_expand_and_plan_twelve_thousand_cells() -> None:
    """The cells of all rows; the least of five in seconds of a processor."""
    resolved = resolve_profile(load_matrix(HERE.parents[1] / "matrix.yaml"), "laptop", [seeds_override(252)])
    taken = []
    for _ in range(5):
        began = time.process_time()
        plan = build_plan(resolved, expand(resolved))
        taken.append(time.process_time() - began)
    say(f"plan {len(plan.cells):,} cells, {len(plan.jobs):,} jobs", min(taken), group="again")


def test_driver_of_a_thousand_running_jobs() -> None:
    """Share of a core and memory while they run."""
    with emptied() as folder:
        command = [sys.executable, str(HERE / "drive_running.py"), str(folder)]
        paths = os.pathsep.join(map(str, (HERE.parent, HERE.parents[1])))
        environment = {**os.environ, "PYTHONPATH": paths}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found = json.loads(done.stdout.splitlines()[-1])
    say("driver with 1,000 running jobs, seconds of a processor a second", found["share"], group="again")
    say("driver with 1,000 running jobs, memory at most, GiB", found["peak_mib"] / 1024, group="again")
