"""Background runs (`run --detach`): a process without a terminal, in a kernel session of its own.

Its output goes to the study's `driver.out`, of which only the first and the last part are kept. The command that
starts it waits until it holds the lease and has started an attempt, or has ended; errors are printed by that command,
which then has the exit code of the run. A backend may start it on another machine that sees the study's folder.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.backends.plugin import RemoteDriver
from orchestrator.errors import OrchestratorError
from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.log_collector import HEAD, TAIL
from orchestrator.schedule.lease_holder import LeaseHolder, process_runs, read_holder
from orchestrator.schedule.ledger.database import NAME, Ledger

OUT = "driver.out"
FLAG = "--detached-to"
LOG = "driver.log"
RECENT = 1 << 16
"""Bytes at the end of the log that are searched for the first attempt."""
POLL_S = 0.1
REMOTE_POLL_S = 1.0  # each look is a question to the cluster
WORKS_S = 90.0
"""How long to wait for the first attempt. Ray starts in about 10 s, on a busy machine in 60."""


@dataclass(frozen=True, kw_only=True)
class BackgroundRun:
    """A background run that was started."""

    name: str
    """For people: `pid 4711`, or the id of a job elsewhere."""
    pid: int
    """Of the holder of the lease, on its machine; 0: not known."""
    works: bool
    """It holds the lease and has submitted an attempt."""
    exit_code: int | None
    """None: it is running."""
    out: Path
    """File of its output."""
    output: str
    """Everything it has printed so far."""


def start_detached(
    arguments: Sequence[str], home: Path, say: Callable[[str], None], remote: RemoteDriver | None = None
) -> BackgroundRun:
    """Start `echo-matrix run` in the background, and wait until it has started an attempt or has ended.

    Args:
        arguments: of `run`.
        home: `outputs/{study}`; created if missing.
        say: receives what it waits for.
        remote: where it runs, if not on this machine.

    Raises:
        OrchestratorError: it cannot be started.
    """
    home.mkdir(parents=True, exist_ok=True)
    # Not `driver.out` itself: it belongs to the holder of the lease, which the new process may not become.
    out = home / f".{OUT}.{os.getpid()}"
    given = ["run", FLAG, str(home / OUT), *arguments]
    begun = time.time()
    if remote is not None:
        return _start_remote(remote, given, home, out, say)
    command = python_command("orchestrator.cli", *given)
    try:
        with out.open("ab") as file:  # append mode, since the file is shortened while it is written
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=child_environment(CHECKOUT),
                start_new_session=True,
            )
    except OSError as error:
        raise OrchestratorError(f"{' '.join(command)} cannot be started: {error}") from error
    try:
        run = _wait(
            f"pid {child.pid}",
            child.poll,
            lambda holder: holder.pid == child.pid and bool(process_runs(holder)),
            home,
            out,
            say,
            begun=begun,
        )
        return replace(run, pid=child.pid)
    except KeyboardInterrupt:  # the run, in another session, is not interrupted
        say(f"the run continues (pid {child.pid}); `echo-matrix stop` stops it")
        raise


def _start_remote(
    remote: RemoteDriver, arguments: Sequence[str], home: Path, out: Path, say: Callable[[str], None]
) -> BackgroundRun:
    before = read_holder(home)
    remote.start(arguments, python=sys.executable, code=CHECKOUT, home=home.resolve(), out=out.resolve())

    def is_new(holder: LeaseHolder) -> bool:
        return before is None or holder.nonce != before.nonce

    try:
        run = _wait(f"job {remote.id}", remote.exit_code, is_new, home, out, say, pause_s=REMOTE_POLL_S)
    except KeyboardInterrupt:
        say(f"the run continues (job {remote.id}); `echo-matrix stop` stops it")
        raise
    return replace(run, output=run.output or remote.output())


def _wait(
    name: str,
    exit_code: Callable[[], int | None],
    is_ours: Callable[[LeaseHolder], bool],
    home: Path,
    out: Path,
    say: Callable[[str], None],
    *,
    begun: float | None = None,
    pause_s: float = POLL_S,
) -> BackgroundRun:
    """Wait until a run has started an attempt or has ended; `begun` by the clock of its machine, if it is ours."""
    holder: LeaseHolder | None = None
    code, works = exit_code(), False
    deadline = time.monotonic() + WORKS_S
    while code is None and not works and time.monotonic() < deadline:
        found = read_holder(home)
        if holder is None and found is not None and is_ours(found):
            holder = found
            say(f"{name} has started; waiting for its first attempt")
        works = holder is not None and _has_started(home, holder.since if begun is None else begun)
        time.sleep(pause_s)
        code = exit_code()
    output = ""
    try:
        output = out.read_text(encoding="utf-8", errors="replace")
        if code is not None:
            out.unlink()  # it ended early; its output is printed
    except FileNotFoundError:  # it has been renamed, or never written
        with contextlib.suppress(FileNotFoundError):
            output = (home / OUT).read_text(encoding="utf-8", errors="replace") if holder is not None else ""
    pid = 0 if holder is None else holder.pid
    return BackgroundRun(name=name, pid=pid, works=works, exit_code=code, out=home / OUT, output=output)


def _has_started(home: Path, since: float) -> bool:
    """Whether the run that began then has submitted an attempt, or adopted a running one."""
    with contextlib.suppress(OrchestratorError), Ledger.read(home / NAME) as ledger:
        if any(attempt.intended >= since for attempt in ledger.open_attempts() if attempt.ticket):
            return True
    with contextlib.suppress(OSError, ValueError), (home / LOG).open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - RECENT))
        lines = [json.loads(line) for line in log.read().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        return any(line["what"] == "adopted" and line["at"] >= since for line in lines)
    return False


# The rest runs in the background process.


def enter_background(out: Path) -> "Callable[[], None]":
    """Ignore SIGHUP and limit the size of the output; returns a function to call once this process holds the lease.

    That function renames the output to `out`, which may belong to another run until then.
    """
    # Ignored as under `nohup`: the controller installs no handler over an ignored SIGHUP.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stream = BoundedFile(Path("/proc/self/fd/1").readlink(), sys.stdout.fileno())
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(stream), encoding="utf-8", errors="backslashreplace", write_through=True
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(stream), encoding="utf-8", errors="backslashreplace", write_through=True
    )

    def take_name() -> None:
        stream.path = stream.path.replace(out)

    return take_name


class BoundedFile(io.RawIOBase):
    """A file of which the first `head` and the last `tail` bytes are kept; shortened in place."""

    def __init__(self, path: Path, descriptor: int, *, head: int = HEAD, tail: int = TAIL) -> None:
        self.path = path
        self._descriptor = descriptor
        self._head = head
        self._tail = tail

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The file's descriptor; libraries may write to it directly."""
        return self._descriptor

    def write(self, content: Any) -> int:
        """Append `content`, or a part of it; returns the number of bytes."""
        number = os.write(self._descriptor, content)
        if os.fstat(self._descriptor).st_size > self._head + 2 * self._tail:
            self._shorten()
        return number

    def _shorten(self) -> None:
        content = self.path.read_bytes()
        first, last = content[: self._head], content[-self._tail :]
        first, last = first[: first.rfind(b"\n") + 1], last[last.find(b"\n") + 1 :]
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, first + b"... bytes left out\n" + last)
