"""A study that was grown step by step has the results of one that was made at once, byte for byte.

With `ECHO_MATRIX_TEST_ROWS='*'` it is the whole laptop matrix with its own budget: a quarter of an hour.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
ECHO_MATRIX = str(Path(sys.executable).with_name("echo-matrix"))
ROWS = os.environ.get("ECHO_MATRIX_TEST_ROWS", "context-k5,ssm-place,bound-truth,bound-other-world")
SMALL = () if ROWS == "*" else (f"rows=[{ROWS}]", "controls.training.steps=40")
FEW = ("branches.return.cases=12", "branches.replay.cases=10")
MORE_SCENES = (
    "controls.data.open_variants=5",
    "branches.return.cases=20",
    "controls.data.held_out_scenes=17",
    "branches.replay.cases=17",
)


def echo_matrix(home: Path, verb: str, *arguments: str) -> str:
    """What a command of the study in `home` prints."""
    done = subprocess.run(
        [ECHO_MATRIX, verb, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "ECHO_MATRIX_HOME": str(home)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def results(home: Path) -> bytes:
    """The study's results.csv."""
    return (home / "echo-memory" / "report" / "results.csv").read_bytes()


@pytest.mark.long
def test_a_grown_study_is_the_study_made_at_once(tmp_path: Path) -> None:
    grown, at_once = tmp_path / "grown", tmp_path / "at-once"
    echo_matrix(grown, "run", *SMALL, *FEW)
    echo_matrix(grown, "run", *SMALL)
    plan = json.loads(echo_matrix(grown, "plan", "--json", *SMALL, *MORE_SCENES))
    again = {job["stage"] for job in plan["jobs"] if job["state"] != "done"}
    assert again == {"data", "latents", "evaluate", "judge", "camera", "bound"}, "no training, no index"
    echo_matrix(grown, "run", *SMALL, *MORE_SCENES)
    echo_matrix(at_once, "run", *SMALL, *MORE_SCENES)
    assert results(grown) == results(at_once)
    echo_matrix(grown, "run", *SMALL, *FEW)
    smaller = tmp_path / "smaller"
    echo_matrix(smaller, "run", *SMALL, *FEW)
    assert results(grown) == results(smaller), "and a study that was made smaller is the small one"
