"""The memory mechanisms of docs/tutorials/add-a-mechanism.md as their author runs them, outside the package."""

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from own_study import ROWS, write_own_study
from test_whole_study import SMALL

ECHO_MATRIX = str(Path(sys.executable).with_name("echo-matrix"))


def test_all_are_trained_evaluated_reported_in_their_colours_and_tracked(tmp_path: Path) -> None:
    matrix = write_own_study(tmp_path)
    home = tmp_path / "outputs" / "echo-memory"
    done = subprocess.run(
        [ECHO_MATRIX, "run", "--matrix", str(matrix), "--rows", ",".join(ROWS), *SMALL],
        cwd=tmp_path,
        env={**os.environ, "ECHO_MATRIX_HOME": str(tmp_path / "outputs"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    with (home / "report" / "results.csv").open(encoding="utf-8", newline="") as file:
        found = {(line["row"], line["branch"]) for line in csv.DictReader(file)}
    assert {(row, branch) for row in ROWS for branch in ("replay", "loop", "return")} <= found

    results = [json.loads(path.read_text(encoding="utf-8"))["cost"] for path in home.glob("attempts/*/*/result.json")]
    trained = {
        (cost["tokens"], cost["tokens_written"], cost["parameters_added"]) for cost in results if "tokens" in cost
    }
    # 8 tokens a frame: 9 target frames, the anchor, a mean; 20 written. An address adds none.
    assert trained == {(88, 0, 0), (80, 160, 2), (80, 0, 0)}

    page = (home / "report" / "index.html").read_text(encoding="utf-8")
    dots = {
        row: set(re.findall(rf'<span class="dot (family-\d+)[^"]*"></span>\W*{row}', page))
        for row in (*ROWS, "context")
    }
    assert all(len(found) == 1 for found in dots.values()), dots
    assert len(set.union(*dots.values())) == 4

    with sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True) as database:
        tags = database.execute("SELECT run_uuid, key, value FROM tags WHERE key IN ('row', 'family')").fetchall()
        ended = {run for (run,) in database.execute("SELECT run_uuid FROM runs WHERE status = 'FINISHED'")}
    families = {run: value for run, key, value in tags if key == "family"}
    assert {(value, families[run]) for run, key, value in tags if key == "row" and run in ended} >= {
        ("spatial-azimuth", "spatial"),
        ("fading", "fading"),
        ("running", "running"),
    }
