"""A study begun with `init` in an empty folder, by the real command line: what it says comes next can be run."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from rehearsal import ECHO_MATRIX


def call(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ECHO_MATRIX_FAKE_S": "0"}
    environment.pop("ECHO_MATRIX_HOME", None)
    line = [str(ECHO_MATRIX), *arguments]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("options", "jobs"), [((), 35), (("--workload", "mystudy.workload"), 20)])
def test_what_is_said_to_come_next_can_be_run(tmp_path: Path, options: tuple[str, ...], jobs: int) -> None:
    begun = call(tmp_path, "init", "new", "--backend", "fake", *options)
    assert begun.returncode == 0, begun.stderr
    commands = re.findall(r"^  echo-matrix (.*?) +#", begun.stdout, re.MULTILINE)
    assert commands == ["doctor --backend fake", "plan --backend fake", "run --backend fake"]
    for command in commands[1:]:
        done = call(tmp_path / "new", *command.split())
        assert done.returncode == 0, done.stdout + done.stderr
    assert f"{jobs} done" in done.stdout.splitlines()[-1]
