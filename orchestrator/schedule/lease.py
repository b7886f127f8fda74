"""Lease: one controller a study, by the file `driver.json`, made by hard link and renewed by a counter.

The file names the holder: host, boot id, pid namespace, pid, start time, a nonce, and a counter that
moves every `HEARTBEAT_S`. The lease of a dead pid of the same boot is taken over at once; where the reader cannot
see the process (another machine, another pid namespace), after the counter has stood still for `STALE_AFTER_S` of
the *reader's* monotonic clock: clocks of two machines are never compared.

The counter is written in place into the file that this controller created. A controller that was suspended
and comes back after a takeover therefore writes into the file that was put aside, never over its
successor's; and it finds the other's nonce before its next tick, ledger transaction or submission (fencing).

A heartbeat that fails (a full or failing disk) is tried again; a controller that could not write one for half of
`STALE_AFTER_S` stops, so that it is gone before another may take over. A file that cannot be read is
written whole by a living controller's next heartbeat; one that stays so for `STALE_AFTER_S` is put aside.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import LeaseError
from orchestrator.host.processes import boot_id, start_time
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.store.link import create_once, sync_folder
from workloads.runtime.fault_points import point

HEARTBEAT_S = 5.0
STALE_AFTER_S = 60.0
NAME = "driver.json"
READ_ATTEMPTS = 5
ACQUIRE_ATTEMPTS = 5  # of several that start at once
GIVEN_BACK_S = 0.1
LENGTH = 1024  # bytes of the file, padded: a beat is one write of the same length


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
    """When it took the lease, by its own clock, seconds since 1970; for people. 0: it did not say."""

    @property
    def since_text(self) -> str:
        """` since ...`, or nothing where it did not say."""
        return time.strftime(" since %Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since)) if self.since else ""


def this_process() -> LeaseHolder:
    """The calling process as a lease holder, with a fresh nonce."""
    return LeaseHolder(
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid_namespace=str(Path("/proc/self/ns/pid").readlink()),
        pid=os.getpid(),
        start_time=start_time(os.getpid()) or 0,
        nonce=secrets.token_hex(16),
        since=round(time.time(), 3),
    )


def read_holder(home: Path) -> LeaseHolder | None:
    """Who holds the lease of the study at `home`; None: nobody, or a file that nobody can read.

    Read a few times before that is said: a beat may be under way.
    """
    for _ in range(READ_ATTEMPTS):
        try:
            return _holder_in((home / NAME).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            continue
    return None


def _holder_in(content: bytes) -> LeaseHolder:
    """Raises ValueError unless it is a lease holder."""
    try:
        holder = LeaseHolder(**json.loads(content))
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    words = (holder.host, holder.boot_id, holder.pid_namespace, holder.nonce)
    numbers = (holder.pid, holder.start_time, holder.counter)
    if not all(isinstance(word, str) for word in words) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("a field has another type")
    if not isinstance(holder.since, int | float) or not 0 <= holder.since < 1e11:
        raise ValueError("it began at no time")
    return holder


def process_runs(holder: LeaseHolder) -> bool | None:
    """Whether the holder's process runs; None where this process cannot know.

    It cannot on another boot or in another pid namespace, and where /proc hides the process that has its id by now.
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
    """Watches who holds a lease: nobody, where a holder that it cannot see has not moved for `STALE_AFTER_S`."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._seen: tuple[str, int] | None = None
        self._moved = 0.0

    def holder(self) -> LeaseHolder | None:
        """Who holds it now; the machine of a dead holder may be gone, and the file stay for ever."""
        holder = read_holder(self._home)
        lives = None if holder is None else process_runs(holder)
        if holder is None or lives is False:
            return None
        now, seen = self._clock.monotonic(), (holder.nonce, holder.counter)
        if lives or seen != self._seen:
            self._seen, self._moved = seen, now
        return holder if now - self._moved < STALE_AFTER_S else None


class Lease:
    """The right to run the study at `home`; a context manager that renews it in a thread and releases it at the end."""

    def __init__(self, home: Path, holder: LeaseHolder, descriptor: int, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._failing: tuple[float, str] | None = None
        self._home = home
        self._holder = holder
        self._descriptor = descriptor
        self._counter = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="lease", daemon=True)

    @property
    def holder(self) -> LeaseHolder:
        """Who holds it: this process."""
        return self._holder

    def check(self) -> None:
        """Make sure that this process still holds the lease.

        Raises:
            LeaseError: another process took over, the file is gone, or heartbeats have failed for so long that
                another soon may: stop without a further act.
        """
        failing = self._failing
        if failing is not None and self._clock.monotonic() - failing[0] > STALE_AFTER_S / 2:
            raise LeaseError(
                f"{self._home / NAME}: this driver (pid {self._holder.pid}) could not renew its lease for "
                f"{STALE_AFTER_S / 2:g} s ({failing[1]}) and stops before another takes over; see that the disk works "
                "and has room, then `run` again: what is done is done"
            )
        try:
            holder = read_holder(self._home)
            if holder is None:  # a rival that came too late may have it in its hand, and gives it back
                self._clock.sleep(GIVEN_BACK_S)
                holder = read_holder(self._home)
        except OSError as error:  # while the beats arrive nobody can have taken over
            self._note_failure(error)
            return
        if holder is None or holder.nonce != self._holder.nonce:
            who = "nobody" if holder is None else f"pid {holder.pid} on {holder.host}"
            raise LeaseError(
                f"{self._home / NAME}: this driver (pid {self._holder.pid}) no longer holds the lease, {who} does; "
                "it stops here; nothing is lost, `echo-matrix status` shows who goes on"
            )

    def beat(self) -> None:
        """Move the counter; a failure is remembered, and `check` raises it in time."""
        self._counter += 1
        try:
            point("lease.beat")
            os.pwrite(self._descriptor, _padded(self._holder, self._counter), 0)
        except OSError as error:
            self._note_failure(error)
        else:
            self._failing = None

    def start(self) -> None:
        """Renew every `HEARTBEAT_S` in a thread of its own, whatever the loop is busy with."""
        self._thread.start()

    def release(self) -> None:
        """Release it; idempotent. Another's lease is left alone."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError):  # a file that stays names a process that is gone
            holder = read_holder(self._home)
            if holder is not None and holder.nonce == self._holder.nonce:
                (self._home / NAME).unlink()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Lease":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _note_failure(self, error: OSError) -> None:
        since = self._clock.monotonic() if self._failing is None else self._failing[0]
        self._failing = since, str(error.strerror or error)

    def _beat_until_end(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            self.beat()


def acquire(
    home: Path,
    clock: Clock | None = None,
    holder: LeaseHolder | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Lease:
    """Acquire the lease of the study at `home`.

    Args:
        home: `outputs/{study}`; made if absent.
        clock: for the wait on a holder that cannot be seen.
        holder: who asks; this process by default.
        say: called with what it waits for.

    Raises:
        LeaseError: another process runs the study.
        StoreError: the file system has no hard links.
    """
    clock = clock or SystemClock()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, FileExistsError) as error:
        raise LeaseError(
            f"{home} cannot be made: {error.strerror}; set $ECHO_MATRIX_HOME to a folder that can be, then `run` again"
        ) from error
    for place in (home.parent, home.parent.parent):
        with contextlib.suppress(OSError):  # may be read by nobody; what is made is to be there after a power cut
            sync_folder(place)
    path = home / NAME
    own = holder or this_process()
    for _ in range(ACQUIRE_ATTEMPTS):
        if path.is_dir():
            raise LeaseError(
                f"{path} is a folder, but must be the file that names the lease holder; move it, then `run` again"
            )
        descriptor = _take(path, own)
        if descriptor is not None:
            point("lease.taken")
            _sweep(home)
            return Lease(home, own, descriptor, clock)
        holder = read_holder(home)
        if holder is not None and holder.nonce == own.nonce:
            continue  # put aside by a rival, and given back
        if holder is not None:
            _refuse_if_alive(home, holder, clock, say)
            _put_aside(path, own, holder.nonce)
        elif path.exists() and _stays_unreadable(path, clock, say):
            _put_aside(path, own, None)
    raise LeaseError(f"{path}: several processes start at once; run the command again")


def _take(path: Path, own: LeaseHolder) -> int | None:
    """A descriptor of the file that names this process, if it is at `path`; None: another's is, or was just now.

    Of several that take over a dead holder's study one may put this very file aside for a moment, and another's may
    then be here: a heartbeat must never be written into it.
    """
    try:
        create_once(path, _padded(own, 0), f"driver-{own.nonce}")
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    if _nonce_in(os.pread(descriptor, LENGTH, 0)) == own.nonce:
        return descriptor
    os.close(descriptor)
    return None


def _refuse_if_alive(home: Path, holder: LeaseHolder, clock: Clock, say: Callable[[str], None]) -> None:
    """Raises LeaseError unless the holder is known to be dead, or has stood still for `STALE_AFTER_S`."""
    error = LeaseError(
        f"{home / NAME}: pid {holder.pid} on {holder.host} drives this study{holder.since_text}; "
        "wait for it, or stop it with Ctrl-C there; `echo-matrix status` works meanwhile"
    )
    alive = process_runs(holder)
    if alive:
        raise error
    if alive is not None:
        return
    say(
        f"pid {holder.pid} on {holder.host} ran this study last and cannot be seen from here; "
        f"waiting {STALE_AFTER_S:g} s to see whether it still does"
    )
    seen, began = holder.counter, clock.monotonic()
    while clock.monotonic() - began < STALE_AFTER_S:
        clock.sleep(1.0)
        now = read_holder(home)
        if now is None:
            if not (home / NAME).exists():
                return
        elif now.nonce != holder.nonce or now.counter != seen:
            raise error


def _stays_unreadable(path: Path, clock: Clock, say: Callable[[str], None]) -> bool:
    """Whether a file that cannot be read stays so: a living holder's next heartbeat would write it."""
    say(f"{path} cannot be read; waiting {STALE_AFTER_S:g} s to see whether a running process writes it")
    began = clock.monotonic()
    while clock.monotonic() - began < STALE_AFTER_S:
        clock.sleep(1.0)
        if read_holder(path.parent) is not None or not path.exists():
            return False
    return True


def _sweep(home: Path) -> None:
    """Remove what processes that died while they started have left."""
    for left in (*home.glob(".driver-*.tmp"), *home.glob(".driver-*.aside")):
        with contextlib.suppress(OSError, ValueError):
            if process_runs(_holder_in(left.read_bytes())) is not False:
                continue
        with contextlib.suppress(OSError):
            left.unlink()


def _nonce_in(content: bytes) -> str | None:
    try:
        return _holder_in(content).nonce
    except ValueError:
        return None


def _put_aside(path: Path, own: LeaseHolder, expected: str | None) -> None:
    """Rename a dead holder's file, or one that names nobody (None): of two that try, one succeeds."""
    aside = path.with_name(f".driver-{own.nonce}.aside")
    try:
        path.rename(aside)
        content = aside.read_bytes()
    except FileNotFoundError:  # another was quicker; what it finds aside of the dead it removes
        return
    if _nonce_in(content) != expected:
        # Another was quicker, and this was its new file: give it back, and lose.
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()
        raise LeaseError(f"{path}: another process has just taken over; `echo-matrix status` shows which, wait for it")
    aside.unlink(missing_ok=True)


def _padded(holder: LeaseHolder, counter: int) -> bytes:
    text = json.dumps({**asdict(holder), "counter": counter}).encode("utf-8")
    return text.ljust(LENGTH - 1) + b"\n"
