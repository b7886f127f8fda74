"""What the loop tells others while it goes: the view, the tracker, the log. They answer nothing."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestrator.plan.job import Standing

Kind = Literal["submitted", "started", "ended", "done", "tick"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a job, or (`tick`, about once a second) time went on."""

    kind: Kind
    at: float
    """Seconds since 1970, by the driver's clock."""
    job: str = ""
    """Job id; empty for `tick`."""
    label: str = ""
    attempt: str = ""
    ending: str = ""
    """`ended` only."""
    detail: str = ""
    alike: str = ""
    """`ended` only: label of an earlier job of this run that failed with the same traceback."""
    standing: Standing | None = None
    """Of the job, after the event."""
    paths: Mapping[str, Path] = field(default_factory=dict)
    """`attempt`: its folder. For `tick`: job id -> folder of its live attempt."""


Observer = Callable[[Event], None]
"""Called from the loop; must be quick. What it raises is logged, and the loop goes on."""


class DriverLog:
    """`driver.log`: what the driver did, a JSON object a line. No study stops because its log has no room."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._now = now

    def write(self, what: str, **fields: Any) -> None:
        """Append one line; flushed, so that it can be followed."""
        line = json.dumps({"at": round(self._now(), 3), "what": what, **fields}, default=str) + "\n"
        with contextlib.suppress(OSError):  # what has no room now is tried again with the next line
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            self._file.close()
