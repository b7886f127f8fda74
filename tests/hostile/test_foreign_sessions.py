"""Folders in /tmp that another user made: their names end none of our processes."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.backends.ray.session import members, session_folders, sweep


@pytest.fixture
def orphan() -> Iterator[tuple[int, int]]:
    """(kernel session whose leader has ended, a process in it), as after `nohup sleep 60 &` and a logout."""
    shell = subprocess.Popen(["sh", "-c", "sleep 60 >&- & echo $!"], stdout=subprocess.PIPE, start_new_session=True)
    assert shell.stdout is not None
    with shell.stdout as said:
        pid = int(said.readline())
    shell.wait()
    yield shell.pid, pid
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_folder_of_another_user_names_no_session_of_ours(
    orphan: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, pid = orphan
    planted = tmp_path / f"em-ray-{session}-1"
    planted.mkdir()
    (tmp_path / "em-ray-1-1").symlink_to(tmp_path)
    assert members(session) == [pid]
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: planted.stat().st_uid + 1)  # the folder is another's then
        assert session_folders([tmp_path]) == []
        sweep([tmp_path])
    assert members(session) == [pid] and planted.exists()
    assert session_folders([tmp_path]) == [planted], "and a link is no folder"
    sweep([tmp_path])
    deadline = time.monotonic() + 10
    while members(session) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert members(session) == [] and not planted.exists()
