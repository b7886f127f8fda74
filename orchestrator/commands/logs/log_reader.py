"""Log tailing: reads logs that grow, that are shortened meanwhile, and that come from several nodes.

`host/log_collector` shortens a log by replacing the file with one whose middle is a line with the number of omitted
bytes. So positions are counted in bytes ever written, not in bytes of the file.
"""

import codecs
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

NAME = "log.txt"
OF_OTHER_NODES = "log-n*.txt"
TIME_OF_DAY = len("HH:MM:SS.mmm")
NOTE = b"... bytes left out: "
BLOCK = 1 << 16


def has_log(folder: Path) -> bool:
    """Whether the log of an attempt is in its folder; not that of an attempt of another outputs folder."""
    return (folder / NAME).is_file() or any(folder.glob(OF_OTHER_NODES))


@dataclass(frozen=True)
class Gap:
    """The line of a shortened log that replaces its middle, in bytes of the file."""

    begin: int
    end: int
    left_out: int

    def written(self, place: int) -> int:
        """Bytes ever written up to a position in the file."""
        return place if place <= self.begin else place - (self.end - self.begin) + self.left_out

    def place(self, written: int) -> int:
        """Position in the file after so many bytes ever written; that of the gap if they were omitted."""
        if written <= self.begin:
            return written
        rest = written - self.left_out - self.begin
        return self.begin if rest < 0 else self.end + rest


NO_GAP = Gap(0, 0, 0)


class LogTail:
    """Reads one growing file, which may be replaced by a shortened one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = -1
        self._gap = NO_GAP
        self._written = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def read(self) -> str:
        """What was written since the last call; omitted parts are replaced by their line."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return ""
        with file:
            now = os.fstat(file.fileno())
            if now.st_ino != self._inode or now.st_size < self._gap.place(self._written):
                self._inode, self._gap = now.st_ino, find_gap(file)
            file.seek(self._gap.place(self._written))
            new = file.read()
            self._written = self._gap.written(file.tell())
        return self._decoder.decode(new)


class AttemptLog:
    """The logs of all nodes of one attempt, merged: each line begins with its time of day and its rank."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails = {NAME: LogTail(folder / NAME)}

    def read(self) -> str:
        """What was written since the last call, ordered by time."""
        for path in self._folder.glob(OF_OTHER_NODES):
            self._tails.setdefault(path.name, LogTail(path))
        texts = [text for tail in self._tails.values() if (text := tail.read())]
        if len(texts) < 2:
            return "".join(texts)
        lines = [line for text in texts for line in text.splitlines(keepends=True)]
        return "".join(sorted(lines, key=lambda line: line[:TIME_OF_DAY]))


def find_gap(file: BinaryIO) -> Gap:
    """The gap of an open log."""
    file.seek(0)
    passed, before = 0, b""
    while block := file.read(BLOCK):
        text = before + block
        found = text.find(b"\n" + NOTE)
        if found >= 0:
            begin = passed - len(before) + found + 1
            file.seek(begin)
            line = file.readline()
            number = line[len(NOTE) :].strip()
            if number.isdigit():
                return Gap(begin, begin + len(line), int(number))
        passed += len(block)
        before = text[-len(NOTE) :]
    return NO_GAP
