"""Retries of store and disk calls: an outage of seconds must not cost a training."""

import errno
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from orchestrator.errors import ArtifactMissing, StoreError

PUBLISH_RETRY_S = 180.0  # the result exists: retrying costs less than a restart
FETCH_RETRY_S = 60.0
VISIBLE_S = 5.0  # until a commit record made by another machine is visible on a network file system
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 10.0
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")


def is_storage_failure(error: BaseException) -> bool:
    """Whether disk or network is to blame: an OSError, or a store's error caused by one."""
    return isinstance(error, OSError) or (isinstance(error, StoreError) and isinstance(error.__cause__, OSError))


def retry_call(call: Callable[[], T], *, for_s: float, abandoned: Callable[[], bool]) -> T:
    """Call until it succeeds, for at most `for_s` seconds, with exponential back-off; raises the last error.

    A missing artifact is retried only for `VISIBLE_S`. `abandoned`: whether the result is no longer needed.
    """
    briefly, long = stop_after_delay(VISIBLE_S), stop_after_delay(for_s)

    def stop(state: RetryCallState) -> bool:
        missing = state.outcome is not None and isinstance(state.outcome.exception(), ArtifactMissing)
        return abandoned() or long(state) or (missing and briefly(state))

    retrying = Retrying(
        retry=retry_if_exception_type((OSError, StoreError)),
        wait=wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
        stop=stop,
        reraise=True,
    )
    return retrying(call)
