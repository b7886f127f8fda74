"""The contract suite of trackers: tests that every tracker must pass.

Whoever writes a tracker subclasses it and gives the fixture `case`:

    from orchestrator.testing.trackers import TrackerContract, TrackerUnderTest

    class TestMyTracker(TrackerContract):
        @pytest.fixture
        def case(self, tmp_path: Path) -> TrackerUnderTest:
            plan = ...  # with at least one job
            return TrackerUnderTest(
                tracker=MyTracker(tmp_path, plan),
                plan=plan,
                folder=tmp_path / "work",
                running=lambda: ...,  # names of the runs that are shown as running
                destroy=lambda: ...,  # end what the tracker sends with; it may start it again
            )
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from orchestrator.plan.job import Plan, Standing, State
from orchestrator.tracking.protocol import JobChange, Tracker

CALL_S = 1.0
"""In which a hundred calls must return: the controller makes them between two looks at its jobs."""


@dataclass
class TrackerUnderTest:
    """A tracker, and what its tests need."""

    tracker: Tracker
    plan: Plan
    folder: Path
    """An empty folder for an attempt; it does not exist yet."""
    running: Callable[[], Collection[str]]
    """Names of the runs that are shown as running."""
    destroy: Callable[[], None] | None = None
    """Ends what the tracker sends with, which it may start again; None: it sends nothing."""
    timeout_s: float = 120.0
    """For everything to be sent."""

    def change(self, state: State = "running") -> None:
        """Tell of the first job that it is in this state."""
        job = next(iter(self.plan.jobs))
        standing = Standing(state=state, reason="")
        self.tracker.job_changed(JobChange(job, standing, "a001-x", self.folder))


class TrackerContract:
    """What every tracker promises (orchestrator/tracking/protocol.py)."""

    def test_a_run_with_nothing_to_do_sends_everything_at_once(self, case: TrackerUnderTest) -> None:
        """A run with nothing to do sends everything at once."""
        case.tracker.start({job: Standing(state="done", reason="") for job in case.plan.jobs})
        case.tracker.tick()
        assert case.tracker.close(1.0)

    def test_after_close_no_run_is_shown_as_running(self, case: TrackerUnderTest) -> None:
        """After close no run is shown as running, although its job is."""
        case.tracker.start()
        case.change()
        assert case.tracker.close(case.timeout_s)
        assert not case.running()

    def test_no_call_raises_or_blocks_while_nothing_can_be_sent(self, case: TrackerUnderTest) -> None:
        """No call raises or blocks while nothing can be sent."""
        case.tracker.start()
        case.change()
        if case.destroy is not None:
            case.destroy()
        began = time.monotonic()
        for _ in range(50):
            case.change()
            case.tracker.tick()
        case.tracker.report(case.folder / "missing")
        assert time.monotonic() - began < CALL_S
        sent = case.tracker.close(case.timeout_s)
        assert sent or case.destroy is not None
        assert not (sent and case.running())

    def test_leave_and_close_can_be_called_twice(self, case: TrackerUnderTest) -> None:
        """Leave and close can be called twice, in any order."""
        case.tracker.start()
        case.tracker.leave()
        case.tracker.leave()
        case.tracker.close(1.0)
        case.tracker.close(1.0)
