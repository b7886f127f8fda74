"""Log collector: writes the stdout and stderr of all ranks to `log.txt`, bounded in size and with secrets masked.

Every line becomes `HH:MM:SS.mmm r0 | text`, UTF-8. The first `HEAD` and the last `TAIL` bytes are kept.
Secrets are masked (`workloads.runtime.masking`). One collector serves all attempts of a host: when the disk
is full, a log loses lines and says how many, and nothing else is held up.
"""

import contextlib
import os
import selectors
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from workloads.runtime.masking import Secret, mask, spans_of
from workloads.runtime.secret_forms import LONGEST

HEAD = 1 << 20  # bytes kept from the beginning
TAIL = 8 << 20  # and from the end
LONGEST_LINE = 1 << 16  # bytes; what is longer is broken
RETRY_S = 1.0  # after a line that could not be written


class LogFile:
    """One attempt's `log.txt`: the first `head` and the last `tail` bytes of all lines written."""

    def __init__(self, path: Path, secrets: Sequence[Secret], *, head: int = HEAD, tail: int = TAIL) -> None:
        self.path = path
        self._secrets = secrets
        longest = max((len(secret.value) for secret in secrets), default=0)
        self._held = min(max(LONGEST, 4 * longest), LONGEST_LINE // 2)
        self._head = head
        self._tail = tail
        self._left_out = 0
        self._lost = 0
        self._retry_at = 0.0
        self._file: BinaryIO = path.open("wb", buffering=0)

    def split_long_line(self, begun: bytes) -> tuple[bytes, bytes]:
        """Split a line that is too long into a piece to write now and a rest to keep; no secret lies across the cut.

        The rest is so long that it holds any secret whose end is still to come.
        """
        cut = len(begun) - self._held
        while cut > 0 and begun[cut] & 0xC0 == 0x80:  # inside of a letter
            cut -= 1
        before, after = (part.decode("utf-8", errors="replace") for part in (begun[:cut], begun[cut:]))
        at, spans = len(before), list(spans_of(before + after, self._secrets))
        while across := [begin for begin, end in spans if begin < at < end]:
            at = min(across)
        at = at or len(before)  # secrets one upon the other, all along
        return before[:at].encode(), before[at:].encode() + begun[cut:]

    def write(self, rank: int, text: str, wall: float) -> None:
        """Append one line (without its line end); one that cannot be written, or comes after `close`, is counted."""
        clock = time.strftime("%H:%M:%S", time.localtime(wall))
        line = f"{clock}.{int(wall % 1 * 1000):03d} r{rank} | {mask(text, self._secrets)}\n".encode()
        if self._file.closed or (self._lost and time.monotonic() < self._retry_at):
            self._lost += 1
            return
        note = f"... {self._lost} lines lost: they could not be written\n".encode() if self._lost else b""
        place = -1
        try:
            place = self._file.tell()
            written = self._file.write(note + line)
            if written < len(note + line):  # room for half of it
                raise OSError("short write")
            self._lost = 0
            if place + written > self._head + 2 * self._tail:
                self._shorten()
        except OSError:
            with contextlib.suppress(OSError):
                if place >= 0 and not self._file.closed:
                    self._file.truncate(place)
                    self._file.seek(place)
            self._lost += 1
            self._retry_at = time.monotonic() + RETRY_S

    def close(self) -> None:
        """Cut out the middle if the log is too long, and close the file."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError):
            if self._file.tell() > self._head + self._tail:
                self._shorten()
        with contextlib.suppress(OSError):
            self._file.close()

    def _shorten(self) -> None:
        """Cut out the middle: by a second file, or, where the disk has no room for one, in place.

        Raises:
            OSError: neither can be written; the file is unchanged.
        """
        content = self.path.read_bytes()
        note = b"... bytes left out: "
        head_end = content.find(b"\n", self._head - 1) + 1
        rest = content[head_end:]
        left_out = self._left_out
        if rest.startswith(note):
            rest = rest[rest.index(b"\n") + 1 :]
        begin = rest.find(b"\n", max(len(rest) - self._tail - 1, 0)) + 1
        left_out += begin
        kept = note + str(left_out).encode() + b"\n" + rest[begin:]
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        try:
            temporary.write_bytes(content[:head_end] + kept)
            temporary.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            with self.path.open("r+b") as file:
                file.seek(head_end)
                file.write(kept)
                file.truncate()
        self._left_out = left_out
        self._file.close()
        self._file = self.path.open("ab", buffering=0)


@dataclass
class RankPipe:
    """One rank's pipe."""

    log: LogFile
    rank: int
    drained: threading.Event
    """Set when everything is in the log."""
    pending: bytes = b""
    returned: bool = False
    """Whether the last byte read was a carriage return; a line feed after it ends no other line."""


@dataclass
class LogCollector:
    """Reads the pipes of all ranks of a host in one thread."""

    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._awake, self._wake = os.pipe()
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log collector", daemon=True)
        self._thread.start()

    def open(self, log: LogFile, rank: int) -> tuple[int, threading.Event]:
        """A descriptor for a rank to write to (the caller closes its copy), and an event: everything is in the log."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        drained = threading.Event()
        with self._lock:
            self._selector.register(reading, selectors.EVENT_READ, RankPipe(log, rank, drained))
        os.write(self._wake, b"\0")
        return writing, drained

    def close(self) -> None:
        """Stop reading; what is still in the pipes is lost."""
        self._closing = True
        os.write(self._wake, b"\0")
        self._thread.join()
        with self._lock:
            for key in list(self._selector.get_map().values()):
                self._selector.unregister(key.fd)
                os.close(key.fd)
            self._selector.close()
        os.close(self._wake)

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.fd == self._awake:
                    os.read(self._awake, 1 << 12)
                else:
                    try:
                        self._take(key.fd, key.data)
                    except Exception:
                        # One pipe or log is broken; this thread must keep serving the others.
                        self._end(key.fd, key.data)

    def _take(self, reading: int, pipe: RankPipe) -> None:
        try:
            data = os.read(reading, LONGEST_LINE)
        except BlockingIOError:
            return
        wall = time.time()
        text = data.removeprefix(b"\n") if pipe.returned else data
        pipe.returned = data.endswith(b"\r")
        # A progress bar's carriage return ends a line as well: else it would be one line for hours.
        *lines, rest = (pipe.pending + text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if rest and not data:
            lines.append(rest)
            rest = b""
        elif len(rest) >= LONGEST_LINE:
            piece, rest = pipe.log.split_long_line(rest)
            lines.append(piece)
        pipe.pending = rest
        for line in lines:
            pipe.log.write(pipe.rank, line.decode("utf-8", errors="replace"), wall)
        if not data:
            self._end(reading, pipe)

    def _end(self, reading: int, pipe: RankPipe) -> None:
        with self._lock, contextlib.suppress(KeyError, OSError):
            self._selector.unregister(reading)
            os.close(reading)
        pipe.drained.set()
