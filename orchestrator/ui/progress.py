"""Progress view: live lines in a terminal, plain lines in a pipe; shared by `run` and `status --watch`.

Plain lines do not go through rich, which would wrap them, so that paths can be copied and matched.
"""

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from orchestrator.plan.job import State
from orchestrator.schedule.events import AttemptProgress, Event, RunProgress, View
from orchestrator.ui.terminal import can_redraw
from orchestrator.wording import state_words

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
    """One line at the start and the end of each attempt, never wrapped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Print a line for starts and ends."""
        words = sentence(event)
        if words:
            self._print(f"{clock_words(elapsed_s)} [{share_words(counts)}] {words}")

    def tick(self, progress: RunProgress) -> None:
        """Nothing: lines are printed at events."""

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def close(self) -> None:
        """Nothing."""

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class LiveLines:
    """A headline and one line per running job, redrawn in place and never larger than the terminal.

    At most `MOST_LINES` lines; the running jobs that do not fit are counted. `say` prints above them.
    """

    def __init__(self, console: Console, *, transient: bool) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=transient)
        self._live.start()

    def draw(self, headline: str, attempts: Sequence[AttemptProgress]) -> None:
        """Replace the lines."""
        self._live.update(self.render(headline, attempts), refresh=True)

    def render(self, headline: str, attempts: Sequence[AttemptProgress]) -> RenderableType:
        """The lines, each cut at the terminal's width."""
        room = max(1, min(self._console.size.height - 2, MOST_LINES) - 1)
        shown = attempts if len(attempts) <= room else attempts[: room - 1]
        width = max((len(one.label) for one in shown), default=0)
        lines = [headline, *(attempt_line(one, width) for one in shown)]
        if len(shown) < len(attempts):
            lines.append(f"  and {len(attempts) - len(shown)} more running")
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
        """Print an attempt that did not succeed."""
        if event.kind == "ended" and event.ending != "ok":
            self.say(f"{clock_words(elapsed_s)} {sentence(event)}")

    def tick(self, progress: RunProgress) -> None:
        """Redraw."""
        self._lines.draw(headline(progress), progress.attempts)

    def render(self, progress: RunProgress) -> RenderableType:
        """What `tick` draws."""
        return self._lines.render(headline(progress), progress.attempts)

    def say(self, text: str) -> None:
        """Print a sentence above the live lines."""
        self._lines.say(text)

    def close(self) -> None:
        """Erase the live lines."""
        self._lines.close()


def make_view(stream: TextIO) -> View:
    """The view for a stream: live in a terminal that can redraw, plain lines otherwise."""
    return LiveView(Console(file=stream)) if can_redraw(stream) else PlainView(stream)


def sentence(event: Event) -> str:
    """An event as a sentence; empty for events that are not shown."""
    match event.kind:
        case "started":
            return f"started {event.label} ({event.attempt})"
        case "ended":
            standing = event.standing
            done = standing is None or standing.state == "done"
            after = "" if standing is None or done else f" -> {state_words(standing.state, standing.reason)}"
            if event.alike and standing is not None:  # equal tracebacks are shown once
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


def attempt_line(one: AttemptProgress, width: int) -> str:
    """One line for a running attempt."""
    steps = f"{one.step}/{one.of}" if one.of else "-"
    eta = "" if one.eta_s is None else f", about {clock_words(one.eta_s)} to go"
    return f"  {one.label:<{width}}  {steps:>11}  {one.phase:<12}  {clock_words(one.elapsed_s)}{eta}"


def clock_words(seconds: float) -> str:
    """`0:01:23`."""
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
