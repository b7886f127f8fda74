"""One driver a study: `driver.json`, made by the link protocol and kept alive by a counter.

The file says who drives: host, boot id, pid namespace, pid, start time, a nonce, and a counter that
moves every `BEAT_S`. A dead pid of the same boot is taken over at once; where the reader cannot
look (another machine, another pid namespace), after the counter has stood still for `STILL_S` of
the *reader's* monotonic clock: clocks of two machines are never compared.

The counter is written in place into the file that this driver created. A driver that was stopped
and comes back after a takeover so writes into the file that was put aside, never over its
successor's; and it finds the other's nonce before its next ledger transaction or submission.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import LeaseError
from orchestrator.host.processes import boot_id, start_time
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.store.link import create_once

BEAT_S = 5.0
STILL_S = 60.0
NAME = "driver.json"
READS = 5
LENGTH = 1024  # bytes of the file, padded: a beat is one write of the same length


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Who drives a study, as in `driver.json`."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start_time: int
    """Of the process, in clock ticks since boot (`/proc/PID/stat`)."""
    nonce: str
    counter: int = 0


def this_process() -> Driver:
    """The calling process as a driver, with a fresh nonce."""
    return Driver(
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid_namespace=str(Path("/proc/self/ns/pid").readlink()),
        pid=os.getpid(),
        start_time=start_time(os.getpid()) or 0,
        nonce=secrets.token_hex(16),
    )


def read_driver(home: Path) -> Driver | None:
    """Who holds the lease of the study at `home`; None: nobody, or a file that nobody can read.

    Read a few times before that is said: a beat may be under way.
    """
    for _ in range(READS):
        try:
            raw: dict[str, Any] = json.loads((home / NAME).read_bytes())
            return Driver(**raw)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            continue
    return None


def runs_here(driver: Driver) -> bool | None:
    """Whether a driver's process runs; None where this process cannot know (another boot or pid namespace)."""
    here = this_process()
    if (driver.boot_id, driver.pid_namespace) != (here.boot_id, here.pid_namespace):
        return None
    return start_time(driver.pid) == driver.start_time


def driver_lives(home: Path) -> bool:
    """Whether a driver holds the study at `home` and is not known to be dead."""
    holder = read_driver(home)
    return holder is not None and runs_here(holder) is not False


class Lease:
    """The right to drive the study at `home`; a context manager that beats in a thread and lets go at the end."""

    def __init__(self, home: Path, driver: Driver, descriptor: int) -> None:
        self._home = home
        self._driver = driver
        self._descriptor = descriptor
        self._counter = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="lease", daemon=True)

    @property
    def driver(self) -> Driver:
        """Who holds it: this process."""
        return self._driver

    def check(self) -> None:
        """Make sure that this driver still holds the lease.

        Raises:
            LeaseError: another driver took over, or the file is gone: stop without a further act.
        """
        holder = read_driver(self._home)
        if holder is None or holder.nonce != self._driver.nonce:
            who = "nobody" if holder is None else f"pid {holder.pid} on {holder.host}"
            raise LeaseError(
                f"{self._home / NAME}: this driver (pid {self._driver.pid}) no longer holds the lease, {who} does; "
                "it stops here; nothing is lost, `echo-matrix status` shows who goes on"
            )

    def beat(self) -> None:
        """Move the counter."""
        self._counter += 1
        os.pwrite(self._descriptor, _padded(self._driver, self._counter), 0)

    def start(self) -> None:
        """Beat every `BEAT_S` in a thread of its own, whatever the loop is busy with."""
        self._thread.start()

    def release(self) -> None:
        """Let go; idempotent. Another's lease is left alone."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        holder = read_driver(self._home)
        if holder is not None and holder.nonce == self._driver.nonce:
            with contextlib.suppress(FileNotFoundError):
                (self._home / NAME).unlink()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Lease":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_S):
            self.beat()


def acquire(home: Path, clock: Clock | None = None, driver: Driver | None = None) -> Lease:
    """Become the driver of the study at `home`.

    Args:
        home: `outputs/{study}`; made if absent.
        clock: for the wait on a driver that cannot be looked at.
        driver: who asks; this process by default.

    Raises:
        LeaseError: another driver runs the study.
        StoreError: the file system has no hard links.
    """
    clock = clock or SystemClock()
    home.mkdir(parents=True, exist_ok=True)
    path = home / NAME
    own = driver or this_process()
    for _ in range(3):
        lies = create_once(path, _padded(own, 0), f"driver-{own.nonce}")
        if json.loads(lies).get("nonce") == own.nonce:
            return Lease(home, own, os.open(path, os.O_WRONLY))
        holder = read_driver(home)
        if holder is not None:
            _refuse_if_alive(home, holder, clock)
            _put_aside(path, own, holder)
    raise LeaseError(f"{path}: several drivers start at once; run the command again")


def _refuse_if_alive(home: Path, holder: Driver, clock: Clock) -> None:
    """Raises LeaseError unless the holder is known to be dead, or has stood still for `STILL_S`."""
    error = LeaseError(
        f"{home / NAME}: pid {holder.pid} on {holder.host} drives this study; "
        "wait for it, or stop it with Ctrl-C there; `echo-matrix status` works meanwhile"
    )
    alive = runs_here(holder)
    if alive:
        raise error
    if alive is not None:
        return
    seen, since = holder.counter, clock.monotonic()
    while clock.monotonic() - since < STILL_S:
        clock.sleep(1.0)
        now = read_driver(home)
        if now is None:
            if not (home / NAME).exists():
                return
        elif now.nonce != holder.nonce or now.counter != seen:
            raise error


def _put_aside(path: Path, own: Driver, holder: Driver) -> None:
    """Rename a dead driver's file away: of two that try, one gets it."""
    aside = path.with_name(f".driver-{own.nonce}.aside")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    taken = json.loads(aside.read_bytes())
    if taken.get("nonce") != holder.nonce:
        # Another was quicker, and this was its new file: give it back, and lose.
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()
        raise LeaseError(f"{path}: pid {taken.get('pid')} on {taken.get('host')} has just taken over; wait for it")
    aside.unlink()


def _padded(driver: Driver, counter: int) -> bytes:
    text = json.dumps({**asdict(driver), "counter": counter}).encode("utf-8")
    return text.ljust(LENGTH - 1) + b"\n"
