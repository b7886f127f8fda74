"""Turns of tracking children: one at a time for each study's folder.

A controller that is killed leaves a child that sends what it still has. The child of the next controller waits for it:
of two that look at the same time neither finds a run, and both create one. The lock is that of the log, which every
child has; it ends with its process, however that ends.

One that comes late, after the child of the next controller, sends nothing: what it knows is old, and it would set
KILLED what has finished since. The next controller sends all that is completed.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

LOOK_S = 0.05


def take_turn(log: Path, for_s: Callable[[], float]) -> int:
    """Wait for an older child of the same folder; returns the descriptor that holds the lock until this process ends.

    Args:
        log: of the children; it exists.
        for_s: how long to wait at most, asked again and again; where the file system has no locks, it is not waited.

    Raises:
        OSError: the log cannot be opened.
    """
    descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    began = time.monotonic()
    while time.monotonic() - began < for_s():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_S)
        except OSError:  # a network disk without locks: as likely as before that two meet
            break
        else:
            break
    return descriptor


def is_overtaken(unsent: Path, token: str) -> bool:
    """Whether a later controller tracks the study, or has sent everything already.

    Args:
        unsent: file with the token of the last controller, until that has sent everything.
        token: of this child's controller.
    """
    try:
        return unsent.read_text(encoding="utf-8") != token
    except FileNotFoundError:
        return True
    except OSError:  # a disk that does not answer says nothing
        return False
