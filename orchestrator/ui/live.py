"""Progress of a run as lines that are redrawn in a terminal; shared by `run` and `status --watch`."""

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
from orchestrator.ui.progress import headline
from orchestrator.ui.words import clock_words, left_words, metric_words, rate_words, sentence, steps_words

MOST_LINES = 30
SHORTEST_LABEL = 12
BAR_WIDTH = 12


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
        _print(self._console, text)

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
            _print(self._console, text)
        else:
            self._drawn.say(text)

    def close(self) -> None:
        """Erase the live lines."""
        if self._drawn is not None:
            self._drawn.close()
            self._drawn = None


def live_view(stream: TextIO) -> View:
    """The view for a terminal."""
    return LiveView(Console(file=stream))


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
