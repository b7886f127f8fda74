"""Lease: one controller per study, by the file `driver.json`, created by hard link and renewed by a counter.

The file names the holder: host, boot id, pid namespace, pid, start time, a nonce, and a counter that
moves every `HEARTBEAT_S`. The lease of a dead pid of the same boot is taken over at once; where the reader cannot
see the process (another machine, another pid namespace), after the counter has stood still for `STALE_AFTER_S` of
the *reader's* monotonic clock: clocks of two machines are never compared.

The counter is written in place into the file that this controller created. A controller that was suspended
and comes back after a takeover therefore writes into the file that was removed, never over its
successor's; and it finds the other's nonce before its next tick, ledger transaction or submission (fencing).

A heartbeat that fails (a full or failing disk) is tried again; a controller that could not write one for half of
`STALE_AFTER_S` stops, so that it has ended before another may take over. A file that cannot be read is
written whole by a living controller's next heartbeat; one that stays unreadable for `STALE_AFTER_S` is removed.

Who takes over first creates a claim on the dead holder's file, by hard link as well: of many that find the same dead
holder one removes its file, and none can remove what has come in its place meanwhile. A claim whose claimant has died
is claimed in the same way.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from orchestrator.errors import LeaseError
from orchestrator.requirements import require_platform
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.lease_holder import (
    NAME,
    STALE_AFTER_S,
    LeaseHolder,
    parse_holder,
    process_runs,
    read_holder,
    this_process,
)
from orchestrator.store.link import create_once, sync_folder
from workloads.runtime.fault_points import point

HEARTBEAT_S = 5.0
ACQUIRE_ATTEMPTS = 5  # of several that start at once
LENGTH = 1024  # bytes of the file, padded: a heartbeat is one write of the same length


class Lease:
    """The right to run the study at `home`.

    A context manager: renews it every `HEARTBEAT_S` in a thread of its own, whatever the loop is busy with, and
    releases it at the end.
    """

    def __init__(self, home: Path, holder: LeaseHolder, descriptor: int, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._failing: tuple[float, str] | None = None
        self._home = home
        self.holder = holder
        """This process."""
        self._descriptor = descriptor
        self._counter = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="lease", daemon=True)

    def check(self) -> None:
        """Make sure that this process still holds the lease.

        Raises:
            LeaseError: another process took over, the file is gone, or heartbeats have failed for so long that
                another soon may: stop without a further act.
        """
        failing = self._failing
        if failing is not None and self._clock.monotonic() - failing[0] > STALE_AFTER_S / 2:
            raise LeaseError(
                f"{self._home / NAME}: this controller (pid {self.holder.pid}) could not renew its lease for "
                f"{STALE_AFTER_S / 2:g} s ({failing[1]}) and stops before another takes over; check that the disk "
                "works and has room, then `run` again: completed jobs stay completed"
            )
        try:
            holder = read_holder(self._home)
        except OSError as error:  # while heartbeats succeed no other can have taken over
            self._note_failure(error)
            return
        if holder is None or holder.nonce != self.holder.nonce:
            who = "nobody" if holder is None else f"pid {holder.pid} on {holder.host}"
            raise LeaseError(
                f"{self._home / NAME}: this controller (pid {self.holder.pid}) no longer holds the lease, {who} does; "
                "it stops here; nothing is lost, and `echo-matrix status` shows who continues"
            )

    def beat(self) -> None:
        """Move the counter; a failure is remembered, and `check` raises it in time."""
        self._counter += 1
        try:
            point("lease.beat")
            os.pwrite(self._descriptor, _padded(self.holder, self._counter), 0)
        except OSError as error:
            self._note_failure(error)
        else:
            self._failing = None

    def release(self) -> None:
        """Release it; idempotent. Another's lease is left alone."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError):  # a file that stays names a process that has ended
            holder = read_holder(self._home)
            if holder is not None and holder.nonce == self.holder.nonce:
                (self._home / NAME).unlink()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Lease":
        self._thread.start()
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
        holder: who acquires it; this process by default.
        say: called with what it waits for.

    Raises:
        RequirementError: this platform runs no studies.
        LeaseError: another process runs the study.
        StoreError: the file system has no hard links.
    """
    require_platform()
    clock = clock or SystemClock()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, FileExistsError) as error:
        raise LeaseError(
            f"{home} cannot be made: {error.strerror}; set $ECHO_MATRIX_HOME to a folder that can, then `run` again"
        ) from error
    for place in (home.parent, home.parent.parent):
        with contextlib.suppress(OSError):  # folders that were made survive a power cut where they can be synced
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
        found = read_holder(home)
        if found is None and not path.exists():
            continue  # its holder has released it since
        alive = None if found is None else process_runs(found)
        if found is None:
            say(f"{path} cannot be read; waiting {STALE_AFTER_S:g} s to see whether a running process writes it")
        elif alive is None:
            say(_unseen(found, "ran this study last"))
        change = _watch(path, found, clock) if alive is None else None
        if found is not None and (alive or change == "moved"):
            since = time.strftime(" since %Y-%m-%d %H:%M:%S UTC", time.gmtime(found.since)) if found.since else ""
            raise LeaseError(
                f"{path}: pid {found.pid} on {found.host} is running this study{since}; "
                "wait for it, or stop it with `echo-matrix stop`; `echo-matrix status` works meanwhile"
            )
        if found is not None or change is None:
            _remove_dead(path, own, found, clock, say)
    raise LeaseError(f"{path}: several processes start at once; run the command again")


def _take(path: Path, own: LeaseHolder) -> int | None:
    """A descriptor of the file that names this process, if it is at `path`; None: another's is, or was just now.

    What was opened is looked at, so that a heartbeat is never written into another's file.
    """
    try:
        create_once(path, _padded(own, 0), f"driver-{own.nonce}")
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    if own.nonce.encode() in os.pread(descriptor, LENGTH, 0):
        return descriptor
    os.close(descriptor)
    return None


def _unseen(holder: LeaseHolder, what: str) -> str:
    return (
        f"pid {holder.pid} on {holder.host} {what} and cannot be seen from here; "
        f"waiting {STALE_AFTER_S:g} s to see whether it still does"
    )


def _watch(path: Path, before: LeaseHolder | None, clock: Clock) -> Literal["moved", "gone"] | None:
    """Watch a file for `STALE_AFTER_S`; None: it stays as it is, so no living process writes into it.

    Args:
        path: of the file.
        before: the process that it names, which cannot be seen from here; None: it cannot be read.
        clock: of the wait.
    """
    began = clock.monotonic()
    while clock.monotonic() - began < STALE_AFTER_S:
        clock.sleep(1.0)
        now = read_holder(path.parent, path.name)
        if now is None and not path.exists():
            return "gone"
        if now is not None and now != before:
            return "moved"
    return None


def _sweep(home: Path) -> None:
    """Remove the temporary files and claims of processes that died while they started."""
    for left in (*home.glob(".driver-*.tmp"), *home.glob(".driver-*.claim")):
        with contextlib.suppress(OSError, ValueError):
            if process_runs(parse_holder(left.read_bytes())) is not False:
                continue
        with contextlib.suppress(OSError):
            left.unlink()


def _remove_dead(
    path: Path, own: LeaseHolder, dead: LeaseHolder | None, clock: Clock, say: Callable[[str], None]
) -> None:
    """Remove the file of a dead holder, or one that cannot be read (None), if it is still there.

    Claims go after the file that they are on, and who makes one later finds another file there: so the one claimant
    that finds it there removes it.

    Raises:
        LeaseError: another process is taking over.
    """
    claims = [path.with_name(f".driver-{'unreadable' if dead is None else dead.nonce}.claim")]
    while (claimant := _claim(claims[-1], own)) != own:
        if claimant is None:
            return  # another has taken over meanwhile
        alive = process_runs(claimant)
        if alive is None:
            say(_unseen(claimant, "began to take this study over"))
            if _watch(claims[-1], claimant, clock):
                return
        elif alive:
            raise LeaseError(
                f"{path}: pid {claimant.pid} on {claimant.host} is taking this study over; "
                "wait for it, `echo-matrix status` shows it"
            )
        claims.append(path.with_name(f".driver-{claimant.nonce}.claim"))
    point("lease.claimed")
    with contextlib.suppress(FileNotFoundError):
        try:
            names = parse_holder(path.read_bytes()).nonce
        except ValueError:
            names = None
        if names == (None if dead is None else dead.nonce):
            path.unlink()
    for claim in claims:
        claim.unlink(missing_ok=True)


def _claim(path: Path, own: LeaseHolder) -> LeaseHolder | None:
    """Create a claim if there is none; who made the one that is there, None if it is gone again."""
    try:
        return parse_holder(create_once(path, _padded(own, 0), f"driver-{own.nonce}"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LeaseError(f"{path} cannot be read ({error}); remove it, then `run` again") from error


def _padded(holder: LeaseHolder, counter: int) -> bytes:
    text = json.dumps({**asdict(holder), "counter": counter}).encode("utf-8")
    return text.ljust(LENGTH - 1) + b"\n"
