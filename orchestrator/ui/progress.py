"""Progress view: bars in a terminal, plain lines in a pipe; shared by `run` and `status --watch`.

Plain lines do not go through rich, which would wrap them, so that paths can be copied and matched.
"""

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from orchestrator.plan.job import State
from orchestrator.schedule.events import Event, View
from orchestrator.schedule.progress import AttemptProgress, RunProgress
from orchestrator.ui.terminal import can_redraw
from orchestrator.ui.words import (
    attempt_words,
    clock_words,
    counts_words,
    left_words,
    metric_words,
    rate_words,
    sentence,
    share_words,
    steps_words,
    stopping_words,
)

MOST_LINES = 30
PLAIN_EVERY_S = 60.0
"""Between plain lines on what runs."""
PLAIN_STOPPING_S = 5.0
"""The same while the run is being stopped."""
PLAIN_SHOWN = 4
"""Running attempts in such a line."""
SHORTEST_LABEL = 12
BAR_WIDTH = 12


class PlainView:
    """A line at the start and the end of each attempt, and every minute one on what runs; never wrapped."""

    def __init__(self, stream: TextIO, every_s: float = PLAIN_EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s
        self._told_s = 0.0
        self._eta_s: float | None = None

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Print a line for starts and ends."""
        words = sentence(event)
        if words:
            self._print(f"{self._head(counts, elapsed_s)} {words}")

    def tick(self, progress: RunProgress) -> None:
        """Print what runs, now and then."""
        self._eta_s = progress.eta_s
        every_s = self._every_s if progress.stops_in_s is None else min(self._every_s, PLAIN_STOPPING_S)
        if progress.attempts and progress.elapsed_s - self._told_s >= every_s:
            self._told_s = progress.elapsed_s
            words = running_words(progress.attempts)
            if progress.stops_in_s is not None:
                words = stopping_words(len(progress.attempts), progress.stops_in_s)
            self._print(f"{self._head(progress.counts, progress.elapsed_s)} {words}")

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def close(self) -> None:
        """Nothing."""

    def _head(self, counts: Mapping[State, int], elapsed_s: float) -> str:
        left = left_words(self._eta_s) if counts.get("done") != sum(counts.values()) else ""
        return f"{clock_words(elapsed_s)} [{share_words(counts)}{left and f', about {left}'}]"

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
        lines: list[RenderableType] = [_line(headline)]
        if shown:
            lines.append(self._bars(shown))
        if len(shown) < len(attempts):
            lines.append(_line(f"  and {len(attempts) - len(shown)} more running"))
        return Group(*lines)

    def _bars(self, attempts: Sequence[AttemptProgress]) -> Table:
        """Label, bar, steps, metric, pace and time left of each attempt; without steps, its phase and elapsed time.

        Where a line is too short, labels are cut first.
        """
        numbers = [
            (
                steps_words(one),
                metric_words(one.metric),
                rate_words(one.rate),
                left_words(one.eta_s) or f"{clock_words(one.elapsed_s)} so far",
            )
            for one in attempts
        ]
        widths = [max(map(len, column)) for column in zip(*numbers, strict=True)]
        room = self._console.size.width - BAR_WIDTH - sum(widths) - len(widths) - 1
        table = Table.grid(
            Column(max_width=max(SHORTEST_LABEL, room), no_wrap=True, overflow="ellipsis"),
            Column(width=BAR_WIDTH, no_wrap=True, overflow="ellipsis"),
            *(Column(justify="right", no_wrap=True, overflow="ellipsis") for _ in widths),
            padding=(0, 1),
            pad_edge=False,
        )
        for one, row in zip(attempts, numbers, strict=True):
            bar: RenderableType = Text(one.phase)
            if one.of:
                bar = ProgressBar(total=one.of, completed=one.step, width=BAR_WIDTH)
            table.add_row(Text(f"  {one.label}"), bar, *map(Text, row))
        return table

    def say(self, text: str) -> None:
        """Print a whole line above the live ones."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Stop drawing; transient lines are erased."""
        self._live.stop()


class LiveView:
    """Live lines of a run; above them stays a line for each attempt that has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: LiveLines | None = None

    @property
    def _lines(self) -> LiveLines:
        """Made at the first tick: what is printed before is plain text, to which a signal handler may add a line."""
        if self._drawn is None:
            self._drawn = LiveLines(self._console, transient=True)
        return self._drawn

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Print what ended."""
        if event.kind == "ended":
            self.say(f"{clock_words(elapsed_s)} {sentence(event)}")

    def tick(self, progress: RunProgress) -> None:
        """Redraw."""
        self._lines.draw(headline(progress), progress.attempts)

    def render(self, progress: RunProgress) -> RenderableType:
        """What `tick` draws."""
        return self._lines.render(headline(progress), progress.attempts)

    def say(self, text: str) -> None:
        """Print a sentence above the live lines."""
        if self._drawn is None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._drawn.say(text)

    def close(self) -> None:
        """Erase the live lines."""
        if self._drawn is not None:
            self._drawn.close()
            self._drawn = None


def make_view(stream: TextIO) -> View:
    """The view for a stream: live in a terminal that can redraw, plain lines otherwise."""
    return LiveView(Console(file=stream)) if can_redraw(stream) else PlainView(stream)


def headline(progress: RunProgress) -> str:
    """Counts by state, elapsed time, ETA."""
    left = left_words(progress.eta_s)
    after = f" · about {left}" if left else ""
    if progress.stops_in_s is not None:
        after = f" · {stopping_words(len(progress.attempts), progress.stops_in_s)}"
    return f"{counts_words(progress.counts)} · {clock_words(progress.elapsed_s)}{after}"


def running_words(attempts: Sequence[AttemptProgress]) -> str:
    """What runs, in one line."""
    words = [attempt_words(one) for one in attempts[:PLAIN_SHOWN]]
    if len(attempts) > PLAIN_SHOWN:
        words.append(f"and {len(attempts) - PLAIN_SHOWN} more")
    return "running " + "; ".join(words)


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
