"""Views of `status --watch`: live lines in a terminal, plain lines in a pipe, JSON lines for programs."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console, RenderableType

from orchestrator.plan.job import State
from orchestrator.schedule.progress import AttemptProgress
from orchestrator.ui.live import LiveLines
from orchestrator.ui.progress import PLAIN_EVERY_S, running_words
from orchestrator.ui.terminal import can_redraw
from orchestrator.ui.words import counts_words
from orchestrator.wording import local_time


@dataclass(frozen=True, kw_only=True)
class RunningAttempt(AttemptProgress):
    """An attempt in progress; its time left is at the pace so far."""

    attempt: str
    host: str


@dataclass(frozen=True, kw_only=True)
class RunProcess:
    """The process that runs the study."""

    pid: int
    host: str
    since: float | None
    """Seconds since 1970; None: not known, it runs on another machine."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a study at one moment."""

    study: str
    profile: str
    driver: RunProcess | None
    """None: no run is in progress."""
    counts: Mapping[State, int]
    running: Sequence[RunningAttempt]
    failed: Mapping[str, str]
    """Label -> reason."""
    done: Collection[str] = ()
    """Labels; not part of the JSON."""
    all_done: bool
    """Whether every job that the last run selected is done."""

    def as_json(self) -> dict[str, Any]:
        """One line of `status --watch --json`."""
        found = asdict(self)
        del found["done"]
        return {"version": 1, **found}


class WatchView(Protocol):
    """Shows snapshots."""

    def show(self, snapshot: Snapshot) -> None:
        """Show one."""

    def close(self) -> None:
        """The last one was shown."""


class JsonWatch:
    """One JSON object a line, when something has changed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._before: Any = None

    def show(self, snapshot: Snapshot) -> None:
        """Write a line if anything but the elapsed time has changed."""
        found = snapshot.as_json()
        still = {"elapsed_s": 0, "eta_s": 0, "rate": 0}
        same = {**found, "running": [{**one, **still} for one in found["running"]]}
        if same != self._before:
            self._before = same
            self._out.write(json.dumps(found) + "\n")
            self._out.flush()

    def close(self) -> None:
        """Nothing."""


class PlainWatch:
    """A line when counts or the process of the run change, when a job starts or fails, and each minute on what runs."""

    def __init__(self, out: TextIO, every_s: float = PLAIN_EVERY_S, now: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._every_s = every_s
        self._now = now
        self._told = now()
        self._head = ""
        self._known: set[str] = set()

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new."""
        head = watch_headline(snapshot)
        lines = [head] if head != self._head else []
        self._head = head
        for running in snapshot.running:
            if running.attempt not in self._known:
                self._known.add(running.attempt)
                lines.append(f"  running {running.label} ({running.attempt}) on {running.host}")
        lines += _new_failures(snapshot, self._known)
        if snapshot.running and self._now() - self._told >= self._every_s:
            self._told = self._now()
            lines.append(f"  {running_words(snapshot.running)}")
        if lines:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()

    def close(self) -> None:
        """Nothing."""


class LiveWatch:
    """Live lines; above them stays a line for each job that was done or failed meanwhile."""

    def __init__(self, console: Console) -> None:
        self._lines = LiveLines(console, transient=False)
        self._known: set[str] = set()
        self._done: frozenset[str] | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Redraw."""
        done = frozenset(snapshot.done)
        for label in () if self._done is None else sorted(done - self._done):
            self._lines.say(f"  done {label}")
        self._done = done
        for line in _new_failures(snapshot, self._known):
            self._lines.say(line)
        self._lines.draw(watch_headline(snapshot), snapshot.running)

    def render(self, snapshot: Snapshot) -> RenderableType:
        """What `show` draws."""
        return self._lines.render(watch_headline(snapshot), snapshot.running)

    def close(self) -> None:
        """Leave the last lines."""
        self._lines.close()


def make_watch_view(out: TextIO, *, as_json: bool) -> WatchView:
    """The view for a stream."""
    if as_json:
        return JsonWatch(out)
    return LiveWatch(Console(file=out)) if can_redraw(out) else PlainWatch(out)


def watch_headline(snapshot: Snapshot) -> str:
    """Study, counts, and the process that runs it."""
    words = counts_words(snapshot.counts)
    return f"{snapshot.study} · {snapshot.profile} · {words} · {process_words(snapshot.driver)}"


def process_words(process: RunProcess | None) -> str:
    """The process that runs the study, and since when."""
    if process is None:
        return "no run in progress"
    since = ""
    if process.since is not None:
        since = f" since {local_time(process.since)}"
    return f"run by pid {process.pid} on {process.host}{since}"


def _new_failures(snapshot: Snapshot, known: set[str]) -> list[str]:
    lines = []
    for label, reason in snapshot.failed.items():
        if f"failed {label}" not in known:
            known.add(f"failed {label}")
            lines.append(f"  failed {label}: {reason}; echo-matrix logs {label}")
    return lines
