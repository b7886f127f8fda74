"""docs/tutorials/digits as its reader runs it: a study outside the package, planned, killed, resumed, reported."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forging import forge_value, remake_report, resign_commit, resign_files, resign_manifest

from orchestrator.opening import open_study
from orchestrator.plan.select import find_job

ECHO_MATRIX = str(Path(sys.executable).with_name("echo-matrix"))
EPOCHS = 300
FORGED = "evaluate/clean/linear/rate=0.1/s0"
CHOSEN = ("--rows", "linear,mlp", f"controls.training.epochs={EPOCHS}", "axes.rate.values=[0.1]", "seeds=[0]")


@pytest.fixture(scope="module")
def digits(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tutorial") / "digits"
    ignored = shutil.ignore_patterns("outputs", "__pycache__")
    shutil.copytree(root / "docs" / "tutorials" / "digits", folder, ignore=ignored)
    return folder


def start(digits: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ECHO_MATRIX, *arguments], cwd=digits, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def call(digits: Path, *arguments: str) -> str:
    process = start(digits, *arguments)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


def test_the_tutorials_study_is_planned_killed_resumed_shown_and_reported(digits: Path) -> None:
    home = digits / "outputs" / "digits"
    assert json.loads(call(digits, "plan", "--json"))["counts"] == {"new": 55}

    driver = start(digits, "run", *CHOSEN)
    until = time.monotonic() + 120
    while not list(home.glob("attempts/*/*/checkpoints/step-2*")):
        assert driver.poll() is None and time.monotonic() < until, driver.communicate()[0]
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()

    said = call(digits, "run", *CHOSEN)
    assert "7 done" in said
    assert "nothing to do" in call(digits, "run", *CHOSEN)

    begun = [path for path in home.glob("attempts/*/a002-*/log.txt") if ", from " in path.read_text(encoding="utf-8")]
    assert begun, "no training went on from a checkpoint"
    series = list(home.glob("store/artifacts/train/*/*/metrics.jsonl"))
    assert len(series) == 2
    for path in series:
        steps = [json.loads(line)["step"] for line in path.read_text(encoding="utf-8").splitlines()]
        assert steps == list(range(1, EPOCHS + 1))

    with (home / "report" / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(line["row"], line["branch"], line["metric"]) for line in lines} == {
        (row, branch, "accuracy") for row in ("linear", "mlp") for branch in ("clean", "shifted")
    }
    report = json.loads((home / "report" / "report.json").read_text(encoding="utf-8"))
    rows = {name.partition("/")[0]: values for name, values in report["rows"].items()}
    assert rows["mlp"]["clean/accuracy"]["mean"] > 0.9 > rows["mlp"]["shifted/accuracy"]["mean"]
    verdicts = {one["check"]: one for one in report["controls"]["verdicts"]}
    assert verdicts["order"]["verdict"] == "open" and "conv" in " ".join(verdicts["order"]["cells"])  # not yet trained
    page = (home / "report" / "index.html").read_text(encoding="utf-8")
    assert "accuracy" in page and "shifted" in page

    with sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True) as database:
        named = {name for (name,) in database.execute("SELECT name FROM runs WHERE status = 'FINISHED'")}
        points = database.execute("SELECT COUNT(*) FROM metrics WHERE key = 'train/loss'").fetchone()[0]
    assert {"linear/rate=0.1/s0", "mlp/rate=0.1/s0"} <= named
    assert points == 2 * EPOCHS

    check_that_the_crate_can_be_run_again_elsewhere(digits)

    code = next((home / "code").iterdir())
    assert (code / "digits_study" / "train.py").is_file() and (code / "orchestrator").is_dir()


def check_that_the_crate_can_be_run_again_elsewhere(digits: Path) -> None:
    """Its cheapest cell gives equal bits; a score that was changed with every digest is found by a rerun alone."""
    call(digits, "export", "--out", "crate")
    again = ("audit", "crate", "--workload", "digits_study.workload", "--rerun", "--work", "elsewhere")
    said = call(digits, *again)
    assert "4 jobs run again, 4 with equal bits" in said and "code snapshot against" in said

    forge_everything(digits)
    # Which cell is the cheapest depends on the times that were measured, so the forged one is named.
    process = start(digits, *again, "--job", FORGED)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    assert f"{FORGED} is not what the matrix and this code make of it" in said
    assert "mean of accuracy" in said and "\n2 differences" in said  # and no other


def forge_everything(digits: Path) -> None:
    """Change the first score of a cell, and all that its crate says of it."""
    sys.path.insert(0, str(digits))
    try:
        plan = open_study(digits / "matrix.yaml", overrides=CHOSEN[2:]).plan
        job = find_job(plan, FORGED)
        crate = digits / "crate"
        forge_value(crate, job, 0.999)
        resign_manifest(crate, job)
        resign_commit(crate, job)
        remake_report(crate, plan)
        resign_files(crate)
    finally:
        sys.path.remove(str(digits))
