"""The pump: what ranks write to stdout and stderr, into `log.txt`, bounded and without secrets.

Every line becomes `HH:MM:SS.mmm r0 | text`, UTF-8. The first `HEAD` and the last `TAIL` bytes are
kept. Values of environment variables that look like secrets are masked.
"""

import os
import re
import selectors
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

HEAD = 1 << 20  # bytes kept from the beginning
TAIL = 8 << 20  # and from the end
LONGEST_LINE = 1 << 16  # bytes; what is longer is broken
SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD", re.IGNORECASE)
SHORTEST_SECRET = 6  # a shorter value (`TOKENIZERS_PARALLELISM=false`) would mask ordinary words
MASK = "***"


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values to mask, longest first, so that one that holds another goes whole."""
    values = {
        value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    }
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


class Log:
    """One attempt's `log.txt`: the first `head` and the last `tail` bytes of all lines written."""

    def __init__(self, path: Path, secrets: tuple[str, ...], *, head: int = HEAD, tail: int = TAIL) -> None:
        self._path = path
        self._secrets = secrets
        self._head = head
        self._tail = tail
        self._left_out = 0
        self._file: BinaryIO = path.open("wb", buffering=0)

    def write(self, rank: int, text: str, wall: float) -> None:
        """Append one line without its end."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        clock = time.strftime("%H:%M:%S", time.localtime(wall))
        self._file.write(f"{clock}.{int(wall % 1 * 1000):03d} r{rank} | {text}\n".encode())
        if self._file.tell() > self._head + 2 * self._tail:
            self._shorten()

    def close(self) -> None:
        """Shorten to what is kept, and let go."""
        if self._file.closed:
            return
        if self._file.tell() > self._head + self._tail:
            self._shorten()
        self._file.close()

    def _shorten(self) -> None:
        content = self._path.read_bytes()
        note = b"... bytes left out: "
        head_end = content.find(b"\n", self._head - 1) + 1
        rest = content[head_end:]
        if rest.startswith(note):
            rest = rest[rest.index(b"\n") + 1 :]
        begin = rest.find(b"\n", max(len(rest) - self._tail - 1, 0)) + 1
        self._left_out += begin
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        temporary.write_bytes(content[:head_end] + note + str(self._left_out).encode() + b"\n" + rest[begin:])
        self._file.close()
        temporary.replace(self._path)
        self._file = self._path.open("ab", buffering=0)


@dataclass
class Source:
    """One rank's pipe."""

    log: Log
    rank: int
    ended: threading.Event
    pending: bytes = b""


@dataclass
class LogPump:
    """Reads all ranks' pipes of a host in one thread."""

    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._awake, self._wake = os.pipe()
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log pump", daemon=True)
        self._thread.start()

    def open(self, log: Log, rank: int) -> tuple[int, threading.Event]:
        """A descriptor for a rank to write to (the caller closes its copy); the event says that all is in the log."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        ended = threading.Event()
        with self._lock:
            self._selector.register(reading, selectors.EVENT_READ, Source(log, rank, ended))
        os.write(self._wake, b"\0")
        return writing, ended

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
                    self._take(key.fd, key.data)

    def _take(self, reading: int, source: Source) -> None:
        try:
            data = os.read(reading, LONGEST_LINE)
        except BlockingIOError:
            return
        wall = time.time()
        # A progress bar's carriage return ends a line as well: else it would be one line for hours.
        *lines, rest = (source.pending + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if rest and (not data or len(rest) >= LONGEST_LINE):
            lines.append(rest)
            rest = b""
        source.pending = rest
        for line in lines:
            source.log.write(source.rank, line.decode("utf-8", errors="replace"), wall)
        if not data:
            with self._lock:
                self._selector.unregister(reading)
            os.close(reading)
            source.ended.set()
