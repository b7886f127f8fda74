"""A terminal or a reader of our output that goes away: the run ends as gently as by one Ctrl-C, and says no more.

Closing a terminal sends SIGHUP, and what is written to it afterwards fails with EIO; a pipe whose
reader has gone fails with EPIPE. None of that is an error of the study. Under `nohup` and with
`--detach` the run goes on.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping

from orchestrator.errors import FULL
from orchestrator.plan.job import State
from orchestrator.schedule.events import Event, RunProgress, View

GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO})
"""What a write to a reader that has gone away fails with."""


class SteadyView:
    """A view that survives the loss of what it writes to; `lost` is called once, when that happens."""

    def __init__(self, view: View, lost: Callable[[], None] | None = None) -> None:
        self._view: View | None = view
        self._lost = lost or hang_up

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """A job was started or ended."""
        self._show(lambda view: view.event(event, counts, elapsed_s))

    def tick(self, progress: RunProgress) -> None:
        """About once a second."""
        self._show(lambda view: view.tick(progress))

    def say(self, text: str) -> None:
        """A sentence for the user."""
        self._show(lambda view: view.say(text))

    def close(self) -> None:
        """The run has ended."""
        self._show(lambda view: view.close())

    def _show(self, act: Callable[[View], None]) -> None:
        if self._view is None:
            return
        try:
            act(self._view)
        except OSError as error:
            if error.errno in FULL:
                return  # these words are lost; the study is on another disk, or will say so itself
            if error.errno not in GONE:
                raise
            self._view = None
            mute()
            self._lost()


def hang_up() -> None:
    """Do what the end of a terminal does, where the loop listens to it: attempts are asked to stop at a checkpoint."""
    if callable(signal.getsignal(signal.SIGHUP)):
        os.kill(os.getpid(), signal.SIGHUP)


def steady_print(text: str) -> None:
    """Print, unless whoever read it has gone."""
    try:
        print(text)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in GONE:
            raise
        mute()


def mute() -> None:
    """Let what is still written to standard output and error go nowhere, where they have gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
