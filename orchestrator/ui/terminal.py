"""Terminal output: tolerates a closed terminal, prints JSON, asks for confirmation.

Closing a terminal sends SIGHUP, and later writes to it fail with EIO; writes to a pipe without a reader fail with
EPIPE. Neither is an error of the study: the run stops as after one Ctrl-C, and prints nothing more. Under `nohup` and
with `--detach` the run continues.
"""

import codecs
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import typer

from orchestrator.errors import FULL

if TYPE_CHECKING:  # `echo-matrix --help` needs none of these
    from orchestrator.plan.job import State
    from orchestrator.schedule.events import Event, View
    from orchestrator.schedule.progress import RunProgress

READER_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO})
"""Errors of a write to a terminal or pipe that has been closed."""

ANYTHING = "echo-matrix-anything"
"""Name of the error handler of standard output."""
DUMB = ("dumb", "unknown")
"""Values of TERM for which rich draws nothing until the end."""


class SteadyView:
    """A view that tolerates a closed output; `lost` is called when it is closed, until it returns true."""

    def __init__(self, view: "View", lost: Callable[[], bool] | None = None) -> None:
        self._view: View | None = view
        self._lost = lost or send_hangup
        self._told = False

    def event(self, event: "Event", counts: "Mapping[State, int]", elapsed_s: float) -> None:
        """A job was started or has ended."""
        self._show(lambda view: view.event(event, counts, elapsed_s))

    def tick(self, progress: "RunProgress") -> None:
        """About once a second."""
        self._show(lambda view: view.tick(progress))

    def say(self, text: str) -> None:
        """A sentence for the user."""
        self._show(lambda view: view.say(text))

    def close(self) -> None:
        """The run has ended."""
        self._show(lambda view: view.close())

    def _show(self, act: "Callable[[View], None]") -> None:
        if self._view is None:
            self._tell()
            return
        try:
            act(self._view)
        except OSError as error:
            if error.errno in FULL:
                return  # the text is lost; a full disk of the study is reported elsewhere
            if error.errno not in READER_GONE:
                raise
            self._view = None
            discard_output()
            self._tell()

    def _tell(self) -> None:
        """Call `lost` until it has had an effect: before the controller runs, nobody can be told."""
        if not self._told:
            self._told = self._lost()


def send_hangup() -> bool:
    """Send SIGHUP to this process if the controller handles it, which says so: attempts then stop at a checkpoint."""
    handled = callable(signal.getsignal(signal.SIGHUP))
    if handled:
        os.kill(os.getpid(), signal.SIGHUP)
    return handled


def steady_print(text: str) -> None:
    """Print, unless the output is closed."""
    try:
        print(text)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in READER_GONE:
            raise
        discard_output()


def discard_output() -> None:
    """Redirect standard output and error to /dev/null if they are closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def open_closed_streams() -> None:
    """Open /dev/null in place of standard streams that are closed (`>&-`), so that no other file gets their number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w", encoding="utf-8"))


def print_anything() -> None:
    """Let standard output and error take every text: a finished run must not end with a traceback over a path."""
    codecs.register_error(ANYTHING, _written)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ANYTHING)


def _written(error: UnicodeError) -> tuple[bytes, int]:
    """What an encoding lacks, as `\\xe9` or `\\u2713`; a byte of a path that Python could not read, as that byte."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    found = (
        bytes([ord(letter) & 0xFF]) if "\udc80" <= letter <= "\udcff" else letter.encode("ascii", "backslashreplace")
        for letter in lacking
    )
    return b"".join(found), error.end


def can_redraw(stream: TextIO) -> bool:
    """Whether lines can be redrawn in place: a terminal that moves its cursor. TERM=dumb, as in Emacs, does not."""
    return stream.isatty() and os.environ.get("TERM") not in DUMB and os.environ.get("TTY_COMPATIBLE") != "0"


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    json.dump(value, sys.stdout, indent=1, sort_keys=False)
    sys.stdout.write("\n")


def confirm(question: str, yes: bool) -> bool:
    """Ask the user in a terminal; without one, or with `--yes`, the answer is yes."""
    return yes or not is_interactive() or typer.confirm(question, err=True)


def is_interactive() -> bool:
    """Whether there is a user to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()
