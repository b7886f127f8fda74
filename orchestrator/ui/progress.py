"""Progress of a run: live lines in a terminal, plain lines in a pipe. `run` and `status --watch` share them.

Plain lines and errors never go through rich: a folded path can be neither copied nor matched.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from orchestrator.plan.job import State
from orchestrator.schedule.events import Event

MOST_LINES = 30
ORDER: tuple[State, ...] = (
    "done",
    "running",
    "waiting",
    "new",
    "retry",
    "unknown",
    "blocked",
    "failed",
    "cancelled",
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One running job."""

    label: str
    step: int
    of: int
    """0: not known."""
    phase: str
    elapsed_s: float
    eta_s: float | None = None
    """Estimated seconds until it ends; None: not known."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The progress of a run, for one refresh."""

    counts: Mapping[State, int]
    lines: Sequence[Line]
    """Longest running first."""
    elapsed_s: float
    eta_s: float | None
    """Estimated seconds until all is done; None: nothing to estimate from."""


class View(Protocol):
    """Shows a run."""

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """A job was started or ended."""

    def tick(self, picture: Picture) -> None:
        """About once a second."""

    def say(self, text: str) -> None:
        """A sentence for the user."""

    def close(self) -> None:
        """The run has ended."""


class SilentView:
    """Shows nothing: for `--json` and tests."""

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Nothing."""

    def tick(self, picture: Picture) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainView:
    """One line at the start and the end of each attempt, never wrapped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Print a line for starts and ends."""
        words = sentence(event)
        if words:
            self._print(f"{clock_words(elapsed_s)} [{share_words(counts)}] {words}")

    def tick(self, picture: Picture) -> None:
        """Nothing: lines come with events."""

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def close(self) -> None:
        """Nothing."""

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class RunningJob(Protocol):
    """What a line shows of a running job."""

    @property
    def label(self) -> str:
        """Of the job."""

    @property
    def step(self) -> int:
        """Steps done."""

    @property
    def of(self) -> int:
        """Steps in all; 0: not known."""

    @property
    def phase(self) -> str:
        """What the attempt is doing."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since it started."""

    @property
    def eta_s(self) -> float | None:
        """Estimated seconds until it ends; None: not known."""


class LiveLines:
    """A headline and one line per running job, redrawn in place and never larger than the terminal.

    At most `MOST_LINES` lines; the running jobs that do not fit are counted. `say` prints above them.
    """

    def __init__(self, console: Console, *, transient: bool) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=transient)
        self._live.start()

    def draw(self, headline: str, jobs: Sequence[RunningJob]) -> None:
        """Replace the lines."""
        self._live.update(self.render(headline, jobs), refresh=True)

    def render(self, headline: str, jobs: Sequence[RunningJob]) -> RenderableType:
        """The lines, each cut at the terminal's width."""
        room = max(1, min(self._console.size.height - 2, MOST_LINES) - 1)
        shown = jobs if len(jobs) <= room else jobs[: room - 1]
        width = max((len(job.label) for job in shown), default=0)
        lines = [headline, *(job_line(job, width) for job in shown)]
        if len(shown) < len(jobs):
            lines.append(f"  and {len(jobs) - len(shown)} more running")
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    def say(self, text: str) -> None:
        """Print a whole line above the live ones."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Stop drawing; transient lines are erased."""
        self._live.stop()


class LiveView:
    """Live lines of a run; failed attempts are printed above them."""

    def __init__(self, console: Console) -> None:
        self._lines = LiveLines(console, transient=True)

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Print an attempt that did not end well."""
        if event.kind == "ended" and event.ending != "ok":
            self.say(f"{clock_words(elapsed_s)} {sentence(event)}")

    def tick(self, picture: Picture) -> None:
        """Redraw."""
        self._lines.draw(headline(picture), picture.lines)

    def render(self, picture: Picture) -> RenderableType:
        """What `tick` draws."""
        return self._lines.render(headline(picture), picture.lines)

    def say(self, text: str) -> None:
        """Print a sentence above the live lines."""
        self._lines.say(text)

    def close(self) -> None:
        """Erase the live lines."""
        self._lines.close()


def make_view(stream: TextIO | None = None, *, silent: bool = False) -> View:
    """The view for a stream, by default standard output: live in a terminal, plain lines otherwise."""
    if silent:
        return SilentView()
    stream = stream or sys.stdout
    if stream.isatty():
        return LiveView(Console(file=stream))
    return PlainView(stream)


def sentence(event: Event) -> str:
    """An event in words; empty for those that are not shown."""
    match event.kind:
        case "started":
            return f"started {event.label} ({event.attempt})"
        case "ended":
            standing = event.standing
            after = "" if standing is None or standing.state == "done" else f" -> {standing.state}: {standing.reason}"
            if event.alike and standing is not None:  # one traceback is shown once
                after = f" -> {standing.state}, with the same traceback as {event.alike}"
            return f"ended {event.label} ({event.attempt}): {event.ending}{after}"
        case "submitted" | "done" | "tick":
            return ""


def share_words(counts: Mapping[State, int]) -> str:
    """`12/130 done, 2 failed`."""
    words = [f"{counts.get('done', 0)}/{sum(counts.values())} done"]
    words += [
        f"{counts[state]} {state}" for state in ("unknown", "blocked", "failed", "cancelled") if counts.get(state)
    ]
    return ", ".join(words)


def headline(picture: Picture) -> str:
    """Counts by state, elapsed time, ETA."""
    words = ", ".join(f"{picture.counts[state]} {state}" for state in ORDER if picture.counts.get(state))
    eta = "" if picture.eta_s is None else f" · about {clock_words(picture.eta_s)} to go"
    return f"{words} · {clock_words(picture.elapsed_s)}{eta}"


def job_line(job: RunningJob, width: int) -> str:
    """A running job in one line."""
    steps = f"{job.step}/{job.of}" if job.of else "-"
    eta = "" if job.eta_s is None else f", about {clock_words(job.eta_s)} to go"
    return f"  {job.label:<{width}}  {steps:>11}  {job.phase:<12}  {clock_words(job.elapsed_s)}{eta}"


def clock_words(seconds: float) -> str:
    """`0:01:23`."""
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
