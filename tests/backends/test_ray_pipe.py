"""The driver and the Ray child speak lines, and either may be killed in the middle of one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.backends.ray.pipe import ChildGone, Pipe
from orchestrator.backends.ray.session import session_folder
from orchestrator.host.code import CHECKOUT
from orchestrator.host.processes import start_time

WITHIN_S = 30.0


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A Ray child that nobody has asked for anything; its folder is removed."""
    command = (sys.executable, "-m", "orchestrator.backends.ray", "local")
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=CHECKOUT, start_new_session=True) as started:
        began = start_time(started.pid)
        assert began is not None
        yield started
        started.kill()
        started.wait()
        shutil.rmtree(session_folder(started.pid, began), ignore_errors=True)


def test_a_child_ends_whose_driver_was_killed_in_the_middle_of_a_request(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin is not None
    child.stdin.write(b'{"id": 0, "op": "op')
    child.stdin.close()
    child.wait(WITHIN_S)


def test_a_child_that_was_killed_in_the_middle_of_an_answer_is_gone(tmp_path: Path) -> None:
    pipe = Pipe(
        ("/bin/sh", "-c", """read -r line; printf '{"id": 0, "answer": [{"na'"""),
        folder=tmp_path,
        environment=os.environ,
    )
    pipe.open()
    with pytest.raises(ChildGone):
        pipe.wait_open(WITHIN_S)
    pipe.close()
    assert not pipe.alive


def test_a_child_that_reads_nothing_is_given_up_though_a_request_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.backends.ray.pipe.SEND_S", 0.5)
    pipe = Pipe(("sleep", "600"), folder=tmp_path, environment=os.environ)
    with pytest.raises(ChildGone):
        pipe.request("submit", WITHIN_S, submissions=["x" * (1 << 20)])
    pipe.close()
