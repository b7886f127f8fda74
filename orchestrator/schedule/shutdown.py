"""Ctrl-C, twice: first asked to stop at a checkpoint, then killed; what still does not answer is given up.

SIGTERM and the end of a terminal are about the driver's process, not about the study: where attempts
outlive their driver they go on, and the driver leaves. Where they do not, each is one Ctrl-C.
"""

from typing import Literal

STOP_SLACK_S = 10.0
"""Beyond the grace period, and after a kill, for the backend's own work."""


class Interruption:
    """Where the end of a run stands. Times are of the driver's monotonic clock, in seconds."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._asked = 0
        self._leaves = 0
        self._killed = False
        self._deadline = 0.0
        self.stopping = False
        """Attempts have been asked to stop: nothing new is started."""
        self.leaving = False
        """The driver ends and the attempts go on."""

    @property
    def asked(self) -> bool:
        """Whether anybody asked for the end."""
        return self.times > 0

    @property
    def times(self) -> int:
        """How often the end was asked for."""
        return self._asked + self._leaves

    def ask(self) -> None:
        """Ask for the end; once more: at once. Only counts, so that signal handlers may call it."""
        self._asked += 1

    def leave(self) -> None:
        """Ask for the end of this process. Only counts, so that signal handlers may call it."""
        self._leaves += 1

    def next_act(self, now: float, *, outlives: bool) -> Literal["stop", "kill", "leave"] | None:
        """What to do to the live attempts now; `outlives`: they can go on without a driver."""
        if not self.asked or self.leaving:
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

    def given_up(self, now: float) -> bool:
        """Whether killed attempts have had their time to answer."""
        return self._killed and now >= self._deadline
