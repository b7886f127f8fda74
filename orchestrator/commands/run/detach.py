"""Background runs (`run --detach`): a process without a terminal, in a kernel session of its own.

Its output goes to the study's `driver.out`, of which only the first and the last part are kept. The command that
starts it waits until it holds the lease and has started an attempt, or has ended; errors are printed by that command,
which then has the exit code of the run.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.log_collector import HEAD, TAIL
from orchestrator.schedule.lease_holder import process_runs, read_holder
from orchestrator.schedule.ledger.database import NAME, Ledger

OUT = "driver.out"
FLAG = "--detached-to"
LOG = "driver.log"
RECENT = 1 << 16
"""Bytes at the end of the log that are searched for the first attempt."""
POLL_S = 0.1
WORKS_S = 90.0
"""How long to wait for the first attempt. Ray starts in about 10 s, on a busy machine in 60."""


@dataclass(frozen=True, kw_only=True)
class BackgroundRun:
    """A background run that was started."""

    pid: int
    works: bool
    """It holds the lease and has submitted an attempt."""
    exit_code: int | None
    """None: it is running."""
    out: Path
    """File of its output."""
    output: str
    """Everything it has printed so far."""


def start_detached(arguments: Sequence[str], home: Path, say: Callable[[str], None]) -> BackgroundRun:
    """Start `echo-matrix run` in the background, and wait until it has started an attempt or has ended.

    Args:
        arguments: of `run`.
        home: `outputs/{study}`; created if missing.
        say: receives what it waits for.

    Raises:
        OrchestratorError: it cannot be started.
    """
    home.mkdir(parents=True, exist_ok=True)
    # Not `driver.out` itself: it belongs to the holder of the lease, which the new process may not become.
    out = home / f".{OUT}.{os.getpid()}"
    command = python_command("orchestrator.cli", "run", FLAG, str(home / OUT), *arguments)
    begun = time.time()
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
        return _wait(child, home, out, begun, say)
    except KeyboardInterrupt:  # the run, in another session, is not interrupted
        say(f"the run continues (pid {child.pid}); `echo-matrix stop` stops it")
        raise


def _wait(
    child: "subprocess.Popen[bytes]", home: Path, out: Path, begun: float, say: Callable[[str], None]
) -> BackgroundRun:
    holds = works = False
    deadline = time.monotonic() + WORKS_S
    while child.poll() is None and not works and time.monotonic() < deadline:
        holder = read_holder(home)
        if not holds and holder is not None and holder.pid == child.pid and process_runs(holder):
            holds = True
            say(f"pid {child.pid} has started; waiting for its first attempt")
        works = holds and _has_started(home, begun)
        time.sleep(POLL_S)
    try:
        output = out.read_text(encoding="utf-8", errors="replace")
        if child.returncode is not None:
            out.unlink()  # it ended early; its output is printed
    except FileNotFoundError:  # it has been renamed
        output = (home / OUT).read_text(encoding="utf-8", errors="replace")
    return BackgroundRun(pid=child.pid, works=works, exit_code=child.returncode, out=home / OUT, output=output)


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
