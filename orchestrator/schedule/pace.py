"""Pace of a running attempt: steps per second and estimated time left, from its heartbeats."""

from dataclasses import dataclass


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

    def left_s(self, now: float) -> float | None:
        """Seconds until the last step of this phase at this pace; None: not known."""
        rate = self.rate
        if not rate or self.last is None or not self.of:
            return None
        return max(0.0, (self.of - self.last[0]) / rate - (now - self.last[1]))
