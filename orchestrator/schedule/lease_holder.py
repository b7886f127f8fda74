"""Lease holder: which process is running a study, as `driver.json` says, and whether that process is alive."""

import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host.processes import boot_id, start_time
from orchestrator.schedule.clock import Clock
from workloads.contract.json_files import check_types, object_of

NAME = "driver.json"
STALE_AFTER_S = 60.0
"""A holder that cannot be seen, and whose counter stands still for so long, is gone."""
READ_ATTEMPTS = 5
_TYPES = {
    **dict.fromkeys(("host", "boot_id", "pid_namespace", "nonce"), str),
    **dict.fromkeys(("pid", "start_time", "counter"), int),
    "since": (int, float),
}


@dataclass(frozen=True, kw_only=True)
class LeaseHolder:
    """The process that holds the lease of a study, as in `driver.json`."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start_time: int
    """Of the process, in clock ticks since boot (`/proc/PID/stat`)."""
    nonce: str
    counter: int = 0
    since: float = 0.0
    """When it took the lease, by its own clock, seconds since 1970; for people. 0: not known."""


def this_process() -> LeaseHolder:
    """The calling process as a lease holder, with a fresh nonce."""
    return LeaseHolder(
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        start_time=start_time(os.getpid()) or 0,
        nonce=secrets.token_hex(16),
        since=round(time.time(), 3),
    )


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except FileNotFoundError:  # no Linux
        return ""


def read_holder(home: Path, name: str = NAME) -> LeaseHolder | None:
    """Who holds the lease of the study at `home`, or made another such file there; None: nobody, or it cannot be read.

    It is read up to `READ_ATTEMPTS` times, because a heartbeat may be in progress.
    """
    for _ in range(READ_ATTEMPTS):
        try:
            return parse_holder((home / name).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            continue
    return None


def parse_holder(content: bytes) -> LeaseHolder:
    """Raises ValueError unless it is a lease holder."""
    raw = object_of(content, NAME)
    check_types(raw, _TYPES, NAME)
    try:
        holder = LeaseHolder(**raw)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not 0 <= holder.since < 1e11:
        raise ValueError(f"{NAME}: since is {holder.since}, which is no time")
    return holder


def process_runs(holder: LeaseHolder) -> bool | None:
    """Whether the holder's process runs; None where this process cannot know.

    It cannot know on another boot or in another pid namespace, or where /proc hides the process with that pid.
    """
    here = this_process()
    if (holder.boot_id, holder.pid_namespace) != (here.boot_id, here.pid_namespace):
        return None
    try:
        return start_time(holder.pid) == holder.start_time
    except PermissionError:
        return None


def living_holder(home: Path) -> LeaseHolder | None:
    """Who holds the lease of the study at `home`; None: nobody, or a process that is known to be dead."""
    holder = read_holder(home)
    return None if holder is None or process_runs(holder) is False else holder


def is_held(home: Path) -> bool:
    """Whether a process that is not known to be dead holds the lease of the study at `home`."""
    return living_holder(home) is not None


class LeaseWatcher:
    """Watches who holds a lease; a holder it cannot see, whose counter stands still for `STALE_AFTER_S`, is gone."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._seen: tuple[str, int] | None = None
        self._moved = 0.0

    def holder(self) -> LeaseHolder | None:
        """Who holds it now; None: nobody."""
        holder = read_holder(self._home)
        lives = None if holder is None else process_runs(holder)
        if holder is None or lives is False:
            return None
        now, seen = self._clock.monotonic(), (holder.nonce, holder.counter)
        if lives or seen != self._seen:
            self._seen, self._moved = seen, now
        return holder if now - self._moved < STALE_AFTER_S else None
