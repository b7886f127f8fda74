"""When another child takes the place of one that has died. Pure; the clock is an argument.

A child that cannot start is tried again a few times. One whose cluster does not answer is tried again for as long as
the driver wants, less and less often: a head that is started again takes minutes, and what its nodes ran is not known
before.
"""

STARTS = 3
"""In a row that may fail."""
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Before each start, after so many in a row that have found a silent cluster."""


class Restarts:
    """How the children have ended so far."""

    def __init__(self) -> None:
        self._failed = 0
        self._silent = 0
        self._not_before = float("-inf")

    def ended(self, now: float, *, opened: bool, silent: bool) -> None:
        """A child has ended.

        Args:
            now: monotonic clock, s.
            opened: Ray was started, or joined.
            silent: it has ended because the cluster does not answer.
        """
        if opened:
            self._failed = self._silent = 0
        elif silent:
            self._not_before = now + PAUSES_S[min(self._silent, len(PAUSES_S) - 1)]
            self._silent += 1
        else:
            self._failed += 1

    @property
    def given_up(self) -> bool:
        """Whether too many in a row have failed."""
        return self._failed >= STARTS

    def may_start(self, now: float) -> bool:
        """Whether to start one now."""
        return not self.given_up and now >= self._not_before
