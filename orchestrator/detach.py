"""`run --detach`: a driver that needs no terminal, in a kernel session of its own.

What it says goes to `driver.out` of the study: the first and the last part of it, so that a grid of
weeks fills no disk. The command that starts it stays until the driver holds the lease and works, or
has ended: whatever is wrong is said there, with the driver's own exit code.
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
from orchestrator.host.log_collector import HEAD, TAIL
from orchestrator.schedule.lease import read_driver, runs_here
from orchestrator.schedule.ledger.database import NAME, Ledger

OUT = "driver.out"
FLAG = "--detached-to"
LOG = "driver.log"
RECENT = 1 << 16
"""Bytes of the log's end in which a driver's first deeds are looked for."""
LOOK_S = 0.1
WORKS_S = 90.0
"""How long the first attempt may be waited for: Ray starts in some 10 s, on a busy machine in 60."""


@dataclass(frozen=True, kw_only=True)
class Detached:
    """What became of a driver that was started."""

    pid: int
    works: bool
    """It holds the lease and has given an attempt to the backend."""
    holds: bool
    """It holds the lease, or held it."""
    exit_code: int | None
    """It has ended."""
    out: Path
    said: str
    """All that it has said so far."""


def start_detached(arguments: Sequence[str], home: Path, say: Callable[[str], None]) -> Detached:
    """Start `echo-matrix run` with these arguments in a session of its own, and wait until it works or has ended.

    Args:
        arguments: of `run`, without the verb.
        home: `outputs/{study}`; made if absent.
        say: is told what is waited for.

    Raises:
        OrchestratorError: it cannot be started.
    """
    home.mkdir(parents=True, exist_ok=True)
    # Not `driver.out` itself: that belongs to whoever holds the lease, and this one may be refused.
    out = home / f".{OUT}.{os.getpid()}"
    command = [sys.executable, "-m", "orchestrator.cli", "run", FLAG, str(home / OUT), *arguments]
    begun = time.time()
    try:
        with out.open("ab") as file:  # appended: whoever shortens it, the next line is written at its end
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
    except OSError as error:
        raise OrchestratorError(f"{' '.join(command)} cannot be started: {error}") from error
    try:
        return _wait(child, home, out, begun, say)
    except KeyboardInterrupt:  # the driver is in another session and has not heard of it
        say(f"the driver (pid {child.pid}) goes on; `echo-matrix stop` ends it")
        raise


def _wait(
    child: "subprocess.Popen[bytes]", home: Path, out: Path, begun: float, say: Callable[[str], None]
) -> Detached:
    holds = works = False
    deadline = time.monotonic() + WORKS_S
    while child.poll() is None and not works and time.monotonic() < deadline:
        holder = read_driver(home)
        if not holds and holder is not None and holder.pid == child.pid and runs_here(holder):
            holds = True
            say(f"pid {child.pid} holds the study; waiting for its first attempt")
        works = holds and _has_started(home, begun)
        time.sleep(LOOK_S)
    try:
        said = out.read_text(encoding="utf-8", errors="replace")
        if child.returncode is not None:
            out.unlink()  # it was refused, and this is all there was to say
    except FileNotFoundError:  # it has the name now
        holds, said = True, (home / OUT).read_text(encoding="utf-8", errors="replace")
    return Detached(pid=child.pid, works=works, holds=holds, exit_code=child.returncode, out=home / OUT, said=said)


def _has_started(home: Path, since: float) -> bool:
    """Whether the driver that began then has given an attempt to the backend, or taken one up that goes on."""
    with contextlib.suppress(OrchestratorError), Ledger.read(home / NAME) as ledger:
        if any(attempt.intended >= since for attempt in ledger.open_attempts() if attempt.ticket):
            return True
    with contextlib.suppress(OSError, ValueError), (home / LOG).open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - RECENT))
        lines = [json.loads(line) for line in log.read().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        return any(line["what"] == "adopted" and line["at"] >= since for line in lines)
    return False


# In the driver


def settle(out: Path) -> "Callable[[], None]":
    """Become deaf to the end of any terminal and write bounded output; returns what is to be called with the lease.

    That call gives the output its name `out`: until then another driver may be the one that drives.
    """
    # Ignored rather than handled: the loop leaves an ignored SIGHUP alone, as after `nohup`.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stream = Bounded(Path("/proc/self/fd/1").readlink(), sys.stdout.fileno())
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(stream), encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(stream), encoding="utf-8", write_through=True)

    def take_name() -> None:
        stream.path = stream.path.replace(out)

    return take_name


class Bounded(io.RawIOBase):
    """Writes to a file of which the first `head` and the last `tail` bytes are kept; shortened in place."""

    def __init__(self, path: Path, descriptor: int, *, head: int = HEAD, tail: int = TAIL) -> None:
        self.path = path
        self._descriptor = descriptor
        self._head = head
        self._tail = tail

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Of the file itself: what a library writes there past us is kept as well."""
        return self._descriptor

    def write(self, content: Any) -> int:
        """Append some or all of `content`; returns how many bytes."""
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
