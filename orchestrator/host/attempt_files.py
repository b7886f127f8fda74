"""Files of attempts that come back from a node that does not see the study's folder: log, metrics, heartbeat, endings.

The driver's side says what it has (`FilesOfAttempts.wanted`), the node's answers with what is missing (`read_pieces`),
as much as is allowed at a time; the rest follows with the next answers. The node remembers nothing, so that another
driver, or another host on the same node, goes on in the same way. `ended.json` comes last: where it is, everything is.

What is fetched: the plain files in an attempt's folder. Checkpoints are in folders, and travel through the store.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.host.endings import ENDED
from orchestrator.store.commits import PLAIN_NAME

PIECES = 2 << 20
"""Bytes that one host sends at a time, at most; and of small files of each attempt `SMALL` more."""
SMALL = 1 << 16
"""Bytes of a file that does not wait for its turn: heartbeat, process.json."""
LARGEST = 64 << 20
"""Bytes of a file that is fetched; one that grows (a log, metrics) may have more."""
GROWING = (".jsonl", ".txt")
"""Files that are written at their end; others are replaced as a whole."""

_ENDED_ON = re.compile(re.escape(ENDED).replace(r"\.", r"-n\d+\.", 1))
"""Of a node that does not lead (`exchange.node_file`)."""

Have = Mapping[str, Sequence[Any]]
"""Name -> version and bytes of what has arrived of a file."""


def read_pieces(wanted: Mapping[Path, Have], limit: int = PIECES) -> dict[Path, dict[str, Any]]:
    """What is missing of attempts' files, bounded.

    Args:
        wanted: folder of an attempt -> what has arrived of it.
        limit: bytes of all pieces, but for small files.

    Returns:
        Folder -> `pieces` (each with `name`, `version`, `at`, `content` and `whole`: the file ends there), `rest` (more
        is to come) and `problems` (name -> why a file does not come).
    """
    answer: dict[Path, dict[str, Any]] = {}
    left = limit
    for number, (folder, have) in enumerate(wanted.items()):
        share = left // (len(wanted) - number)
        answer[folder] = _of_attempt(folder, have, share)
        left -= sum(len(piece["content"]) for piece in answer[folder]["pieces"] if len(piece["content"]) > SMALL)
    return answer


def _of_attempt(folder: Path, have: Have, share: int) -> dict[str, Any]:
    pieces: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    rest = False
    for name, about in _plain_files(folder):
        growing = name.endswith(GROWING)
        version = f"{about.st_ino}" if growing else f"{about.st_ino} {about.st_mtime_ns} {about.st_size}"
        if not growing and about.st_size > LARGEST:
            problems[name] = f"has {about.st_size >> 20} MiB; at most {LARGEST >> 20} are fetched"
            continue
        if _is_ending(name) and rest:
            continue
        seen, arrived = have.get(name, ("", 0))
        begun = seen == version and arrived <= about.st_size
        if begun and arrived == about.st_size:
            continue
        at = arrived if begun else 0
        allowed = max(share, SMALL) if about.st_size - at <= SMALL else share
        try:
            with (folder / name).open("rb") as file:
                if os.fstat(file.fileno()).st_ino != about.st_ino:
                    rest = True  # replaced just now
                    continue
                file.seek(at)
                data = file.read(min(allowed, about.st_size - at))
        except OSError as error:
            problems[name] = error.strerror or type(error).__name__
            continue
        whole = at + len(data) >= about.st_size
        rest = rest or not whole
        if data or whole:
            share -= len(data)
            pieces.append({"name": name, "version": version, "at": at, "content": data, "whole": whole})
    return {"pieces": pieces, "rest": rest, "problems": problems}


def _is_ending(name: str) -> bool:
    """Whether it is the `ended.json` of a node."""
    return name == ENDED or _ENDED_ON.fullmatch(name) is not None


def _plain_files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of the files that are fetched: the small and replaced ones first, `ended.json` last."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(about.st_mode) and PLAIN_NAME.fullmatch(entry.name):
                    found.append((entry.name, about))
    yield from sorted(found, key=lambda one: (_is_ending(one[0]), one[0].endswith(GROWING), one[1].st_size, one[0]))


@dataclass(kw_only=True)
class _Arrived:
    """What the driver has of one attempt."""

    work: Path
    have: dict[str, tuple[str, int]] = field(default_factory=dict)
    complete: bool = False
    """Everything that was there at the last answer has arrived."""
    problems: dict[str, str] = field(default_factory=dict)


class FilesOfAttempts:
    """The driver's side: writes what arrives into its own folders of the attempts."""

    def __init__(self) -> None:
        self._attempts: dict[str, _Arrived] = {}

    def wanted(self, works: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
        """What to ask a node for: attempt -> `work` and `have`; until it answers, nothing counts as complete.

        Args:
            works: attempt -> its folder on this machine.
        """
        for attempt, work in works.items():
            self._attempts.setdefault(attempt, _Arrived(work=work)).complete = False
        return {
            attempt: {"work": str(work), "have": {name: list(it) for name, it in self._attempts[attempt].have.items()}}
            for attempt, work in works.items()
        }

    def take(self, answer: Mapping[str, Mapping[str, Any]]) -> None:
        """Write what has arrived; what the disk refuses is asked for again."""
        for attempt, arrived in answer.items():
            if (known := self._attempts.get(attempt)) is not None:
                known.problems = dict(arrived["problems"])
                written = all([_write(known, piece) for piece in arrived["pieces"]])
                known.complete = written and not arrived["rest"]

    def complete(self, attempt: str) -> bool:
        """Whether everything of an attempt was here when its node last answered."""
        return attempt in self._attempts and self._attempts[attempt].complete

    def missing(self, attempt: str) -> str:
        """What of an attempt does not come, and why, for people; empty: all of it came."""
        known = self._attempts.get(attempt)
        return "" if known is None else "; ".join(f"{name} {why}" for name, why in sorted(known.problems.items()))

    def forget(self, attempt: str) -> None:
        """Nothing more is to come of an attempt."""
        self._attempts.pop(attempt, None)


def _write(known: _Arrived, piece: Mapping[str, Any]) -> bool:
    """Write a piece of a file; False: it could not be written, and is to be asked for again.

    A file that grows is written in place, another one appears when it is whole.
    """
    name, at = str(piece["name"]), int(piece["at"])
    if not PLAIN_NAME.fullmatch(name):  # the node's words: it becomes a path here
        known.problems[name[:100]] = "is no plain name"
        return True
    path = known.work / name
    target = path if name.endswith(GROWING) else path.with_name(f".{name}.arriving")
    try:
        with target.open("wb" if at == 0 else "r+b") as file:
            file.seek(at)
            file.write(piece["content"])
            file.truncate()
        if piece["whole"] and target != path:
            target.replace(path)
    except OSError as error:
        known.problems[name] = f"cannot be written to {known.work}: {error.strerror}"
        known.have.pop(name, None)
        return False
    known.have[name] = (str(piece["version"]), at + len(piece["content"]))
    return True
