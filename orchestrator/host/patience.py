"""Trying again what a store or a disk refused: a hiccup of seconds must not cost a training."""

import errno
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from orchestrator.errors import ArtifactMissing, StoreError

PUBLISH_FOR_S = 180.0  # the result is there: worth more than a restart
FETCH_FOR_S = 60.0
VISIBLE_FOR_S = 5.0  # a COMMIT that another machine has just made, on a network file system
FIRST_REST_S, LONGEST_REST_S = 0.25, 10.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")


def is_hiccup(error: BaseException) -> bool:
    """Whether disk or network is to blame: an OSError, or a store's error that an OSError has caused."""
    return isinstance(error, OSError) or (isinstance(error, StoreError) and isinstance(error.__cause__, OSError))


def patiently(call: Callable[[], T], *, for_s: float, given_up: Callable[[], bool]) -> T:
    """Call until it succeeds, at most `for_s` seconds, longer and longer apart; raises the last error.

    An input without a COMMIT is waited for a little while, in case its COMMIT is not to be seen yet.

    Args:
        call: may be repeated whatever it did.
        for_s: how long, in seconds.
        given_up: whether nobody wants the result any more.
    """
    briefly, long = stop_after_delay(VISIBLE_FOR_S), stop_after_delay(for_s)

    def enough(state: RetryCallState) -> bool:
        absent = state.outcome is not None and isinstance(state.outcome.exception(), ArtifactMissing)
        return given_up() or long(state) or (absent and briefly(state))

    retrying = Retrying(
        retry=retry_if_exception_type((OSError, StoreError)),
        wait=wait_exponential(multiplier=FIRST_REST_S, max=LONGEST_REST_S),
        stop=enough,
        reraise=True,
    )
    return retrying(call)
