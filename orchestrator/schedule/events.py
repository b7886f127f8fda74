"""What the loop tells others while it goes: the view, the tracker, the log. They answer nothing."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.plan.job import Standing, State
from workloads.runtime.masking import mask, secrets_of

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


@dataclass(frozen=True, kw_only=True)
class AttemptProgress:
    """How far a live attempt has got."""

    label: str
    step: int
    of: int
    """0: not known."""
    phase: str
    elapsed_s: float
    eta_s: float | None = None
    """Estimated seconds until it ends; None: not known."""


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """How far the run has got, for one refresh of the screen."""

    counts: Mapping[State, int]
    attempts: Sequence[AttemptProgress]
    """Longest running first."""
    elapsed_s: float
    eta_s: float | None
    """Estimated seconds until all is done; None: nothing to estimate from."""


class View(Protocol):
    """Shows a run to the user; `ui.progress` has the implementations."""

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """A job was started or ended."""

    def tick(self, progress: RunProgress) -> None:
        """Called about once a second."""

    def say(self, text: str) -> None:
        """Show a sentence."""

    def close(self) -> None:
        """The run has ended."""


class SilentView:
    """Shows nothing: for `--json` and tests."""

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Nothing."""

    def tick(self, progress: RunProgress) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


LARGEST_LOG = 32 << 20
"""Bytes of `driver.log`, some 150,000 lines, before it goes on in a new file."""


class DriverLog:
    """`driver.log`: what the driver did, a JSON object a line, without secrets.

    No study stops because its log has no room, and a grid of weeks fills no disk with it.
    """

    def __init__(self, path: Path, now: Callable[[], float], *, largest: int = LARGEST_LOG) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._largest = largest
        self._secrets = secrets_of(os.environ)
        self._file = path.open("a", encoding="utf-8")
        self._now = now

    def write(self, what: str, **fields: Any) -> None:
        """Append one line; flushed, so that it can be followed."""
        line = json.dumps({"at": round(self._now(), 3), "what": what, **fields}, default=str)
        with contextlib.suppress(OSError):  # what has no room now is tried again with the next line
            self._file.write(mask(line, self._secrets) + "\n")
            self._file.flush()
            if self._file.tell() > self._largest:
                self._turn()

    def _turn(self) -> None:
        """Go on in a new file; the one before is kept as `driver.log.1`, those before that are not."""
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file.close()
        self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            self._file.close()
