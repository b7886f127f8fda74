"""Scaling: when another pilot job is worth submitting. Pure; the clock is an argument.

The controller asks for hosts only while a job waits for a place, and says by a submission that it
found one. Asking again without having placed anything between says that there was no room.
"""

AGAIN_S = 5.0
"""Between two submissions while jobs wait beside pilot jobs that serve."""
QUEUED_S = 30.0
"""And while one that was asked for has not come: it may be enough."""
CALM_S = 5.0
"""After this long without a job that found no room, nothing waits any more."""
NEVER = float("-inf")


class Scaling:
    """Whether jobs wait for room, and since when. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._open_look = False
        self._unmet = NEVER
        self._unmet_since = NEVER
        self._asked = NEVER
        self.looks = 0
        """How often the loop has looked for room."""
        self.looked_at = NEVER

    def looked(self, now: float) -> None:
        """The loop asks for hosts."""
        if self._open_look:
            if now - self._unmet > CALM_S:
                self._unmet_since = now
            self._unmet = now
        self._open_look = True
        self.looks += 1
        self.looked_at = now

    def placed(self) -> None:
        """It has found places for what it placed."""
        self._open_look = False

    def asked(self, now: float) -> None:
        """A pilot job was submitted."""
        self._asked = now

    def needs_another(self, now: float, *, living: int, coming: int, starting: int, most: int) -> bool:
        """Whether to submit another pilot job now.

        Args:
            now: the time.
            living: pilot jobs that run or were submitted.
            coming: of them, those that wait in SLURM's queue.
            starting: of them, those whose Ray starts: a matter of seconds, which is waited for.
            most: allowed at once.
        """
        if living >= most or now - self.looked_at > CALM_S:
            return False
        if living == 0:
            return True
        if starting or now - self._unmet > CALM_S:
            return False
        return now - max(self._asked, self._unmet_since) >= (QUEUED_S if coming else AGAIN_S)
