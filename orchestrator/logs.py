"""What a job said: the log of one attempt, or of one after the other as the job is tried again.

A log is shortened while it is written (`host/log_collector`): its middle is replaced by a line that counts
the bytes left out, and the file by another of the same name. So a place in it is counted in bytes
that were ever written, not in bytes of the file.
"""

import codecs
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from orchestrator.errors import PlanError
from orchestrator.plan.job import Job
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.lease import Onlooker
from orchestrator.schedule.ledger.database import Attempt
from orchestrator.study import Study

LOOK_S = 0.5
NAME = "log.txt"
OF_OTHER_NODES = "log-n*.txt"
TIME_OF_DAY = len("HH:MM:SS.mmm")
NOTE = b"... bytes left out: "
BLOCK = 1 << 16


@dataclass(frozen=True)
class Gap:
    """Where a shortened log leaves out its middle, in bytes of the file."""

    begin: int
    end: int
    left_out: int

    def written(self, place: int) -> int:
        """A place in the file as bytes ever written."""
        return place if place <= self.begin else place - (self.end - self.begin) + self.left_out

    def place(self, written: int) -> int:
        """Bytes ever written as a place in the file; where they were left out, the line that says so."""
        if written <= self.begin:
            return written
        rest = written - self.left_out - self.begin
        return self.begin if rest < 0 else self.end + rest


NO_GAP = Gap(0, 0, 0)


class Tail:
    """Reads a log that grows, and that may be replaced by a shorter one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = -1
        self._gap = NO_GAP
        self._written = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def read(self) -> str:
        """What was written since the last call; where some of it is left out, the line that says so."""
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


class Logs:
    """The logs of all nodes of one attempt, as one: each line begins with its time of day and its rank."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails = {NAME: Tail(folder / NAME)}

    def read(self) -> str:
        """What was written since the last call, in order of time."""
        for path in self._folder.glob(OF_OTHER_NODES):
            self._tails.setdefault(path.name, Tail(path))
        texts = [text for tail in self._tails.values() if (text := tail.read())]
        if len(texts) < 2:
            return "".join(texts)
        lines = [line for text in texts for line in text.splitlines(keepends=True)]
        return "".join(sorted(lines, key=lambda line: line[:TIME_OF_DAY]))


def find_gap(file: BinaryIO) -> Gap:
    """Where an open log leaves out its middle."""
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


def last_attempt(study: Study, job: Job) -> Attempt:
    """The newest attempt of a job.

    Raises:
        PlanError: there has been none.
    """
    found = study.attempts().get(job.fingerprint)
    if not found:
        raise PlanError(f"{job.label} has not been attempted; `echo-matrix plan` says what it waits for")
    return found[-1]


def find_attempt(study: Study, job: Job, name: str) -> Attempt:
    """The attempt of an id or a unique beginning of one.

    Raises:
        PlanError: none, or several.
    """
    attempts = study.attempts().get(job.fingerprint, ())
    found = [attempt for attempt in attempts if attempt.id.startswith(name)]
    if len(found) != 1:
        allowed = ", ".join(attempt.id for attempt in attempts) or "none yet"
        what = f"may be any of {len(found)}" if found else "is not known"
        raise PlanError(f"attempt {name!r} of {job.label} {what}; allowed: {allowed}")
    return found[0]


def print_log(study: Study, attempt: Attempt, out: TextIO, *, tail: int | None = None) -> None:
    """Print the log of one attempt, or its last `tail` lines."""
    _show(Logs(study.folder_of(attempt)), out, tail)


def follow_attempt(
    study: Study, attempt: Attempt, out: TextIO, *, tail: int | None = None, clock: Clock | None = None
) -> None:
    """Print the log of one attempt as it grows, until the attempt has ended."""
    clock = clock or SystemClock()
    onlooker = Onlooker(study.home, clock)
    log = Logs(study.folder_of(attempt))
    _show(log, out, tail)
    while not _ended(study, attempt, onlooker):
        clock.sleep(LOOK_S)
        _show(log, out, None)
    _show(log, out, None)


def follow_job(
    study: Study,
    job: Job,
    out: TextIO,
    *,
    tail: int | None = None,
    say: Callable[[str], None] = lambda _text: None,
    clock: Clock | None = None,
) -> None:
    """Print the log of the newest attempt, then of those that follow it, until nothing more can come.

    Nothing more can come when the job is done, failed or cancelled, or when nobody drives the study.

    Args:
        study: opened.
        job: whose log is wanted; it may wait for its first attempt.
        out: gets the logs, with a header before each attempt but the first.
        tail: begin with so many lines of the first.
        say: gets what is waited for.
        clock: the machine's by default.

    Raises:
        PlanError: it has not been attempted, and nobody drives the study.
    """
    clock = clock or SystemClock()
    onlooker = Onlooker(study.home, clock)
    if not study.attempts().get(job.fingerprint) and onlooker.driver():
        say(f"{job.label} waits for its first attempt")
        while _more_may_come(study, job, onlooker) and not study.attempts().get(job.fingerprint):
            clock.sleep(LOOK_S)
    attempt = last_attempt(study, job)
    while True:
        follow_attempt(study, attempt, out, tail=tail, clock=clock)
        tail = None
        while not (newer := _after(study, attempt)):
            if not _more_may_come(study, job, onlooker):
                return
            clock.sleep(LOOK_S)
        attempt = newer[0]
        out.write(f"==> {job.label}: attempt {attempt.id} on {attempt.backend}\n")


def _more_may_come(study: Study, job: Job, onlooker: Onlooker) -> bool:
    drives = onlooker.driver() is not None
    return drives and study.look()[job.id].state not in ("done", "failed", "cancelled", "blocked")


def _after(study: Study, attempt: Attempt) -> Sequence[Attempt]:
    ids = [one.id for one in study.attempts().get(attempt.fingerprint, ())]
    return study.attempts()[attempt.fingerprint][ids.index(attempt.id) + 1 :] if attempt.id in ids else ()


def _ended(study: Study, attempt: Attempt, onlooker: Onlooker) -> bool:
    """Whether nothing more can be written: it is booked as ended, or nobody is left who could book it."""
    mine = [one for one in study.attempts().get(attempt.fingerprint, ()) if one.id == attempt.id]
    return not mine or mine[0].ending is not None or onlooker.driver() is None


def _show(log: Logs, out: TextIO, lines: int | None) -> None:
    text = log.read()
    if lines is not None:
        text = "".join(deque(text.splitlines(keepends=True), maxlen=lines))
    if text:
        out.write(text)
        out.flush()
