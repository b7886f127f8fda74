"""Scaling: when another pilot job is worth submitting. Pure; the clock is an argument.

The controller asks for hosts only while a job waits for a place, and submits when it
finds one. Asking again without a submission in between means that there was no room.
"""

RESUBMIT_S = 5.0
"""Between two submissions while jobs wait beside pilot jobs that serve."""
RESUBMIT_QUEUED_S = 30.0
"""And while one that was submitted still waits in the queue: it may be enough."""
NO_DEMAND_S = 5.0
"""After this long without a job that found no room, no job waits."""
NEVER = float("-inf")


class Scaling:
    """Whether jobs wait for room, and since when. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._asked_for_hosts = False
        self._unplaced_at = NEVER
        self._unplaced_since = NEVER
        self._asked = NEVER
        self.requests = 0
        """How often the controller has asked for hosts."""
        self.requested_at = NEVER

    def hosts_requested(self, now: float) -> None:
        """The controller asks for hosts."""
        if self._asked_for_hosts:
            if now - self._unplaced_at > NO_DEMAND_S:
                self._unplaced_since = now
            self._unplaced_at = now
        self._asked_for_hosts = True
        self.requests += 1
        self.requested_at = now

    def placed(self) -> None:
        """The controller has placed a job."""
        self._asked_for_hosts = False

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
        if living >= most or now - self.requested_at > NO_DEMAND_S:
            return False
        if living == 0:
            return True
        if starting or now - self._unplaced_at > NO_DEMAND_S:
            return False
        return now - max(self._asked, self._unplaced_since) >= (RESUBMIT_QUEUED_S if coming else RESUBMIT_S)
