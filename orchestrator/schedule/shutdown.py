"""Shutdown: Ctrl-C asks attempts to stop at a checkpoint, a second one kills them, then they are given up.

SIGTERM and SIGHUP end the controller's process, not the study: attempts that outlive the controller continue.
Where attempts do not outlive it, each of these signals counts as one Ctrl-C.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Literal

STOP_SLACK_S = 10.0
"""Beyond the grace period, and after a kill, for the backend's own work."""


class Shutdown:
    """How far the shutdown of a run has got. Times are of the controller's monotonic clock, in seconds."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._requests = 0
        self._leaves = 0
        self._killed = False
        self._deadline = 0.0
        self._interruptible = False
        self.stopping = False
        """Attempts have been asked to stop: nothing new is started."""
        self.leaving = False
        """The controller ends and the attempts continue."""

    @property
    def requested(self) -> bool:
        """Whether the end was requested."""
        return self.times > 0

    @property
    def times(self) -> int:
        """How often the end was requested."""
        return self._requests + self._leaves

    def request(self) -> None:
        """Request the end; a second time: at once. Only counts, so that signal handlers may call it."""
        self._requests += 1

    def leave(self) -> None:
        """Request the end of this process. Only counts, so that signal handlers may call it."""
        self._leaves += 1

    @contextlib.contextmanager
    def interruptible(self, nothing_runs: bool) -> Iterator[None]:
        """Wait for something that may take long; while `nothing_runs`, Ctrl-C ends the wait with KeyboardInterrupt."""
        self._interruptible = nothing_runs
        try:
            yield
        finally:
            self._interruptible = False

    def interrupt(self) -> None:
        """Request the end, from the handler of Ctrl-C.

        Raises:
            KeyboardInterrupt: the run waits with nothing running (`interruptible`).
        """
        self.request()
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    def next_act(self, now: float, *, outlives: bool) -> Literal["stop", "kill", "leave"] | None:
        """What to do to the live attempts now; `outlives`: they can continue without a controller."""
        if not self.requested or self.leaving:
            return None
        if outlives and self._leaves:
            self.leaving = True
            return "leave"
        if not self.stopping:
            self.stopping = True
            self._deadline = now + self._grace_s + STOP_SLACK_S
            return "stop"
        if not self._killed and (self.times > 1 or now >= self._deadline):
            self._killed = True
            self._deadline = now + STOP_SLACK_S
            return "kill"
        return None

    def left_s(self, now: float) -> float | None:
        """Seconds until attempts that have not stopped are killed, or given up; None: the run is not being stopped."""
        return max(0.0, self._deadline - now) if self.stopping else None

    def given_up(self, now: float) -> bool:
        """Whether killed attempts have had `STOP_SLACK_S` to end."""
        return self._killed and now >= self._deadline


@contextlib.contextmanager
def signals_handled(shutdown: Shutdown) -> Iterator[None]:
    """Ctrl-C stops the run, SIGTERM and the terminal's end the controller; handlers exist in the main thread only.

    SIGHUP requests the end once: it is never the second Ctrl-C, because it may arrive together with one. Where it is
    ignored it stays ignored: the user typed `nohup`, or the controller is detached.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            shutdown.interrupt()
        elif number != signal.SIGHUP or not shutdown.requested:
            shutdown.leave()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
