"""Brake: when sbatch is called again after it has failed. Pure; the clock is an argument (monotonic, in seconds)."""

from dataclasses import dataclass

from orchestrator.pauses import pause_s

FIRST_S = 30.0
"""Pause after the first failure: jobs of others may have left the queue."""
LONGEST_S = 600.0
"""Each further failure in a row doubles the pause, up to this."""
GIVE_UP_S = 1800.0
"""After refusals for so long that have nothing to do with how full the queue is, attempts are given back."""


@dataclass
class Brake:
    """Failures of sbatch in a row, for jobs that ask for the same."""

    first_s: float | None = None
    """Pause after the first failure; None: `FIRST_S`."""
    failures: int = 0
    why: str = ""
    """What sbatch said last; empty: it took the last job."""
    _again_at: float = float("-inf")
    _refused_since: float | None = None

    def failed(self, now: float, why: str, *, refused: bool) -> None:
        """Sbatch has taken nothing; `refused`: not because of what is in the queue, so that waiting may not help."""
        self.failures += 1
        self.why = why
        first_s = FIRST_S if self.first_s is None else self.first_s
        self._again_at = now + pause_s(self.failures, first_s, LONGEST_S)
        if not refused:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now

    def taken(self) -> None:
        """Sbatch has taken a job."""
        self.failures, self.why, self._again_at, self._refused_since = 0, "", float("-inf"), None

    def holds(self, now: float) -> bool:
        """Whether it is too early to try again."""
        return now < self._again_at

    def release(self) -> None:
        """A job has left the queue: if that was too full, try again now, and pause for less if it still is."""
        if self._refused_since is None:
            self.failures, self._again_at = 0, float("-inf")

    def given_up(self, now: float) -> bool:
        """Whether it was refused for so long that waiting is of no use."""
        return self._refused_since is not None and now - self._refused_since >= GIVE_UP_S
