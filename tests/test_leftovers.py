"""The helper that finds what tests leave behind finds it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from leftovers import nothing_left

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def test_a_process_that_is_left_is_named_whatever_session_it_leads() -> None:
    with pytest.raises(AssertionError, match=r"time\.sleep"), nothing_left(0.5):
        left = subprocess.Popen(SLEEP, start_new_session=True)
    left.kill()
    left.wait()


def test_a_process_that_ends_a_little_later_is_not_left() -> None:
    with nothing_left() as marked:
        short = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(0.4)"))
        deadline = time.monotonic() + 20
        while not marked.processes("time.sleep(0.4)"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    short.wait()


def test_processes_of_others_are_not_looked_at() -> None:
    with subprocess.Popen(SLEEP) as other:
        with nothing_left(0.5) as marked:
            assert marked.processes() == []
        other.kill()


def test_a_temporary_file_in_a_store_is_left(tmp_path: Path) -> None:
    (tmp_path / "store" / "commits").mkdir(parents=True)
    with pytest.raises(AssertionError, match=r"\.abc\.tmp"), nothing_left(0.2, homes=[tmp_path]):
        (tmp_path / "store" / "commits" / ".abc.tmp").touch()
