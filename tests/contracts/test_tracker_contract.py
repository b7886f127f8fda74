"""All trackers keep the contract."""

import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tracking"))

from made_plan import made_plan

from orchestrator.testing.trackers import TrackerContract, TrackerUnderTest
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.registry import make_tracker


class TestNoTracker(TrackerContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> TrackerUnderTest:
        plan = made_plan()
        tracker = make_tracker("none", tmp_path, plan, None)
        return TrackerUnderTest(tracker=tracker, plan=plan, folder=tmp_path / "work", running=lambda: ())


@pytest.mark.slow
class TestMlflowTracker(TrackerContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> TrackerUnderTest:
        plan, home = made_plan(alias=None), tmp_path / "home"
        tracker = MlflowTracker(home, plan, None, [].append)

        def running() -> list[str]:
            connection = sqlite3.connect(home / "mlflow.db")
            found = connection.execute("select name from runs where status = 'RUNNING'").fetchall()
            connection.close()
            return [name for (name,) in found]

        def destroy() -> None:
            deadline = time.monotonic() + 60.0
            while tracker.pid is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert tracker.pid is not None
            os.kill(tracker.pid, signal.SIGKILL)

        return TrackerUnderTest(tracker=tracker, plan=plan, folder=tmp_path / "work", running=running, destroy=destroy)
