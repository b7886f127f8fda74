"""The tutorial's study, which lies outside the package, on SLURM: its own code, and the results of Ray."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from slurm_site import Site
from small_study import ECHO_MATRIX

from orchestrator.backends.slurm.core.backend import QUEUE
from orchestrator.schedule.ledger.database import NAME, Ledger

CHOSEN = ("--rows", "linear,mlp", "controls.training.epochs=5", "axes.rate.values=[0.1]", "seeds=[0]")
JOBS = 1 + 2 + 4
CHANGED = {"partition: null": "partition: long", "poll_s: 10.0": "poll_s: 1.0", "kind: mlflow": "kind: none"}
"""In the cluster files that come with the program."""


def start(digits: Path, home: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    given = {"ECHO_MATRIX_HOME": str(home), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [str(ECHO_MATRIX), "run", *arguments, *CHOSEN],
        cwd=digits,
        env={**os.environ, **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended_well(driver: "subprocess.Popen[str]") -> None:
    said, _ = driver.communicate(timeout=400)
    assert driver.returncode == 0 and f"{JOBS} done" in said, said


def test_the_tutorials_study_has_the_same_results_on_slurm_as_on_ray(root: Path, site: Site, tmp_path: Path) -> None:
    digits = tmp_path / "digits"
    ignored = shutil.ignore_patterns("outputs", "__pycache__")
    shutil.copytree(root / "docs" / "tutorials" / "digits", digits, ignore=ignored)
    (digits / "cluster").mkdir()
    for name in ("local.yaml", "slurm.yaml"):
        text = (root / "cluster" / name).read_text(encoding="utf-8")
        for old, new in CHANGED.items():
            text = text.replace(old, new)
        (digits / "cluster" / name).write_text(text, encoding="utf-8")
    on_ray = start(digits, tmp_path / "ray")
    try:
        ended_well(start(digits, tmp_path / "slurm", "--backend", "slurm", SLURM_CONF=site.environment["SLURM_CONF"]))
    finally:
        site.clear()
    ended_well(on_ray)

    home = tmp_path / "slurm" / "digits"
    with Ledger.read(home / NAME) as ledger:
        attempts = ledger.attempts()
    assert [attempt.ending for attempt in attempts] == ["ok"] * JOBS
    assert {attempt.host for attempt in attempts} == {QUEUE}
    table = (home / "report" / "results.csv").read_bytes()
    assert table == (tmp_path / "ray" / "digits" / "report" / "results.csv").read_bytes()
    assert table.count(b"\n") > len(("linear", "mlp")) * len(("clean", "shifted"))

    scripts = list((home / "slurm").glob("*/*_submission.sh"))
    (code,) = (home / "code").iterdir()
    assert scripts and all(f"export PYTHONPATH={code}" in script.read_text(encoding="utf-8") for script in scripts)
    digest = code.name
    for path in (home / "store" / "commits").glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["code"] == digest
    assert (code / "digits_study" / "train.py").is_file() and (code / "orchestrator").is_dir()
