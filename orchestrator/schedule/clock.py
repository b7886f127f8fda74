"""Clock of the controller: the machine's, or a simulated one that tests move instead of waiting."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock, monotonic clock and sleep; in seconds."""

    def time(self) -> float:
        """Seconds since 1970, for people and records; never compared between machines."""

    def monotonic(self) -> float:
        """Seconds that only grow, for durations."""

    def sleep(self, seconds: float) -> None:
        """Sleep; may return early."""


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class SimulatedClock:
    """A clock that moves only when someone sleeps on it."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def time(self) -> float:
        """Seconds since 1970."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self._now += seconds
