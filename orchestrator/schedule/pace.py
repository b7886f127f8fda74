"""Pace of a running attempt: steps per second and estimated time left, from its heartbeats.

The run, `status` and `status --watch` all take the time left from here.
"""

from dataclasses import dataclass

MEAN_FROM = 0.05
"""Share of the steps from which the mean pace since the start is believed: before, it is mostly the start-up."""


@dataclass
class Pace:
    """What the heartbeats of one attempt have shown. Times are of a monotonic clock, in seconds."""

    of: int = 0
    """Steps of the current phase; 0: not known."""
    first: tuple[int, float] | None = None
    """Step and time of the first heartbeat of this phase."""
    last: tuple[int, float] | None = None
    """Those of the first heartbeat that showed the current step."""

    def note(self, step: int, of: int, now: float) -> None:
        """Take a heartbeat into account; a smaller step, or another number of steps, begins a new phase."""
        if self.first is None or self.last is None or of != self.of or step < self.last[0]:
            self.of = of
            self.first = self.last = (step, now)
        elif step > self.last[0]:
            self.last = (step, now)

    @property
    def rate(self) -> float | None:
        """Steps per second in this phase; None before two different steps were seen."""
        if self.first is None or self.last is None or self.last[1] <= self.first[1]:
            return None
        return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])

    def left_s(self, now: float, started: float | None = None, begun: int = -1) -> float | None:
        """Seconds until the last step of this phase at this pace; None: not known.

        Args:
            now: the time.
            started: when the attempt started; without two different steps, the mean pace since then is taken.
            begun: step of the checkpoint that it resumed from; -1: from the start.
        """
        if self.last is None or not self.of:
            return None
        rate = self.rate
        if not rate and started is not None and self.last[1] > started:
            covered = self.last[0] - max(0, begun)
            rate = covered / (self.last[1] - started) if covered >= max(1.0, MEAN_FROM * self.of) else None
        if not rate:
            return None
        return max(0.0, (self.of - self.last[0]) / rate - (now - self.last[1]))
