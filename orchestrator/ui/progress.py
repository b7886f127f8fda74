"""Progress for people: live lines in a terminal, plain lines in a pipe.

Plain lines and errors never go through rich: a folded path can be neither copied nor matched.
"""

import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from orchestrator.plan.job import State
from orchestrator.schedule.events import AttemptProgress, Event, RunProgress, SilentView, View

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


class PlainView:
    """One line at the start and the end of each attempt, whole, however long."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Print a line for starts and ends."""
        words = sentence(event)
        if words:
            self._print(f"{clock_words(elapsed_s)} [{share_words(counts)}] {words}")

    def tick(self, progress: RunProgress) -> None:
        """Nothing: lines come with events."""

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def close(self) -> None:
        """Nothing."""

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class LiveView:
    """One line per running job, counts and ETA, at most the terminal's height and `MOST_LINES`; ends go above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Print what ended other than well above the live lines."""
        if event.kind == "ended" and event.ending != "ok":
            self.say(f"{clock_words(elapsed_s)} {sentence(event)}")

    def tick(self, progress: RunProgress) -> None:
        """Draw anew."""
        self._live.update(self.render(progress), refresh=True)

    def render(self, progress: RunProgress) -> RenderableType:
        """The live lines: counts first, then running jobs, the rest as a count; each cut at the terminal's width."""
        room = max(1, min(self._console.size.height - 2, MOST_LINES) - 1)
        lines = list(progress.attempts)
        shown, rest = (lines, 0) if len(lines) <= room else (lines[: room - 1], len(lines) - room + 1)
        width = max((len(line.label) for line in shown), default=0)
        texts = [Text(headline(progress), no_wrap=True, overflow="ellipsis")]
        texts += [Text(line_words(line, width), no_wrap=True, overflow="ellipsis") for line in shown]
        if rest:
            texts.append(Text(f"  and {rest} more running", no_wrap=True, overflow="ellipsis"))
        return Group(*texts)

    def say(self, text: str) -> None:
        """Print a sentence above the live lines."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the live lines away."""
        self._live.stop()


def make_view(stream: TextIO | None = None, *, silent: bool = False) -> View:
    """The view for a stream (standard output by default): live in a terminal, plain lines otherwise."""
    if silent:
        return SilentView()
    stream = stream or sys.stdout
    if stream.isatty():
        return LiveView(Console(file=stream))
    return PlainView(stream)


def sentence(event: Event) -> str:
    """What an event says to people; empty for those that say nothing."""
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


def headline(progress: RunProgress) -> str:
    """Counts by state, elapsed time, ETA."""
    words = ", ".join(f"{progress.counts[state]} {state}" for state in ORDER if progress.counts.get(state))
    eta = "" if progress.eta_s is None else f" · about {clock_words(progress.eta_s)} to go"
    return f"{words} · {clock_words(progress.elapsed_s)}{eta}"


def line_words(line: AttemptProgress, width: int) -> str:
    """A running job in one line."""
    steps = f"{line.step}/{line.of}" if line.of else "-"
    return f"  {line.label:<{width}}  {steps:>11}  {line.phase:<12}  {clock_words(line.elapsed_s)}"


def clock_words(seconds: float) -> str:
    """`0:01:23`."""
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
