"""A matrix and a cluster file from somebody else: what reading them does, and what it does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError
from orchestrator.opening import open_study
from orchestrator.spec.lines import Place
from orchestrator.spec.parts import check_name

ROOT = Path(__file__).parents[2]
CLUSTER = """\
backend: ray
on_event: touch {marker}
ray: {{address: "127.0.0.1:6"}}
tracking: {{kind: mlflow, uri: "http://127.0.0.1:7/"}}
paths: {{judge_url: "http://127.0.0.1:8/v1"}}
"""
WATCHED = """\
import json, sys
seen = []
def note(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"):
        seen.append([event, [str(part) for part in (given[1] if event == "subprocess.Popen" else given)]])
sys.addaudithook(note)
from orchestrator.cli import main
sys.argv = ["echo-matrix", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(seen), file=sys.stderr)
"""


@pytest.mark.parametrize("name", ["../x", "/etc", "a b", "<b>", "a;b", "a\n", "=1+1", "-x", ".x", "", "\u0430"])
def test_no_name_is_a_path_markup_or_a_formula(name: str) -> None:
    with pytest.raises(MatrixError, match=r"is named .*; allowed: letters, digits, '\.', '_', '-'; the first a letter"):
        check_name(name, Place("matrix.yaml", 3), "rows")


@pytest.mark.slow  # a whole command line
def test_plan_starts_nothing_and_asks_nobody(tmp_path: Path) -> None:
    """Neither the user's command nor the addresses of a cluster file are used by a command that only looks."""
    cluster, marker = tmp_path / "cluster.yaml", tmp_path / "ran"
    cluster.write_text(CLUSTER.format(marker=marker), encoding="utf-8")
    given = {**os.environ, "ECHO_MATRIX_HOME": str(tmp_path / "outputs"), "ECHO_MATRIX_JUDGE_KEY": "of-mine-q1w2e3r4"}
    command = ["plan", "--matrix", str(ROOT / "matrix.yaml"), "--cluster", str(cluster), "--rows", "context-k1"]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *command], cwd=ROOT, env=given, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stderr.splitlines()[-1])
    assert [one for one in seen if one[0] != "subprocess.Popen" or one[1][0] != "git"] == []
    assert not marker.exists() and not (tmp_path / "outputs").exists()


def test_every_command_runs_the_module_that_a_matrix_names(tmp_path: Path) -> None:
    """The page on threats says so: reading a matrix is running its workload's code."""
    text = (ROOT / "docs" / "tutorials" / "digits" / "matrix.yaml").read_text(encoding="utf-8")
    (tmp_path / "matrix.yaml").write_text(text.replace("digits_study.workload", "of_somebody"), encoding="utf-8")
    marker = tmp_path / "ran"
    (tmp_path / "of_somebody.py").write_text(f"open({str(marker)!r}, 'w').close()\n1 / 0\n", encoding="utf-8")
    with pytest.raises(MatrixError, match="is of_somebody, which cannot be imported: ZeroDivisionError"):
        open_study(tmp_path / "matrix.yaml")
    assert marker.exists()
