"""Progress of a run as plain lines, and the choice between them and the bars of `orchestrator.ui.live`.

Plain lines do not go through rich, which would wrap them, so that paths can be copied and matched.
"""

from collections.abc import Mapping, Sequence
from typing import TextIO

from orchestrator.plan.job import State
from orchestrator.schedule.events import Event, View
from orchestrator.schedule.progress import AttemptProgress, RunProgress
from orchestrator.ui.terminal import can_redraw
from orchestrator.ui.words import (
    attempt_words,
    clock_words,
    counts_words,
    left_words,
    sentence,
    share_words,
    stopping_words,
)

PLAIN_EVERY_S = 60.0
"""Between plain lines on what runs."""
PLAIN_STOPPING_S = 5.0
"""The same while the run is being stopped."""
PLAIN_SHOWN = 4
"""Running attempts in such a line."""


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


def make_view(stream: TextIO) -> View:
    """The view for a stream: live in a terminal that can redraw, plain lines otherwise."""
    if not can_redraw(stream):
        return PlainView(stream)
    from orchestrator.ui.live import live_view  # rich, which a run with nothing to do has no use for

    return live_view(stream)


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
