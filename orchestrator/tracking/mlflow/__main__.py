"""Tracking child process: `python -m orchestrator.tracking.mlflow` reads JSON lines from standard input until its end.

| op | fields |
|---|---|
| `study` | comes first: `home`, `uri`, `token`, `follow_s` between looks at series, `projection.study_message` |
| `cell` | `projection.cell_message` |
| `job` | `job`, `stage`, `branch`, `cells`, `items`, `state`, `attempt`, `work`, `artifact` and how it is shown |
| `derived` | `cell`, `branch`, `lines`: its derived metrics there, as in cases.jsonl |
| `report` | `folder` |
| `hurry` | `within_s`: how long the rest may take. From now on requests are not rate-limited |

While MLflow does not answer, it waits and tries again. Exit code 0: everything was sent and no run is left RUNNING.
1: otherwise; standard error says why. Lines of it that begin with `FOR_THE_USER` are what the controller passes on.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.host.masked_stream import MaskedStream
from orchestrator.tracking.mlflow.child import FOR_THE_USER, LOG, REFUSED
from orchestrator.tracking.mlflow.reason import short
from orchestrator.tracking.mlflow.tracker import BEHIND
from orchestrator.tracking.mlflow.turns import is_overtaken, take_turn

LONGEST_LOG = 8 << 20
"""Characters of output that are kept, so that a server that refuses for a week does not fill the disk."""
WITHIN_S = 60.0
"""How long the rest may take if the controller has died, which says nothing of it."""
TRIES = 2
"""Of what is refused, once the run has ended."""
LOOK_S = 0.2
"""Between two tries at the end."""

Lines = queue.SimpleQueue[dict[str, Any] | None]


def main() -> int:
    """Project until the input ends."""
    # Ctrl-C reaches the whole foreground group, but this process ends when the parent closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr = MaskedStream(sys.stderr, LONGEST_LOG)
    lines: Lines = queue.SimpleQueue()
    hurry = Hurry()
    threading.Thread(target=_read, args=(sys.stdin, lines, hurry), daemon=True).start()
    try:
        return _project(lines, hurry)
    except Exception as error:
        # The run continues without tracking; the log must say why.
        print(traceback.format_exc(), file=sys.stderr)
        _tell(short(error))
        return 1


class Hurry(threading.Event):
    """Set when nothing more than the rest is to be sent."""

    within_s = WITHIN_S
    """How long that may take."""

    def turn_s(self) -> float:
        """How long to wait for an older child: it ends by itself, unless this one has to end before."""
        return min(WITHIN_S, self.within_s / 2) + 1.0 if self.is_set() else 2 * WITHIN_S


def _read(source: Iterable[str], lines: Lines, hurry: Hurry) -> None:
    for line in source:
        message = json.loads(line)
        if message["op"] == "hurry":  # takes effect at once: it is about the lines still in the queue
            hurry.within_s = float(message["within_s"])
            hurry.set()
        else:
            lines.put(message)
    lines.put(None)


def _project(lines: Lines, hurry: Hurry) -> int:
    message = lines.get()
    if message is None:
        return 0
    from orchestrator.tracking.mlflow.projector import Projector

    home = Path(message["home"])
    overtaken = partial(is_overtaken, home / BEHIND, message["token"])
    take_turn(home / LOG, lambda: 0.0 if overtaken() else hurry.turn_s())
    if overtaken():
        print("a later controller tracks this study: nothing is sent", file=sys.stderr, flush=True)
        return REFUSED
    projector = Projector(home, message["uri"], message["study"], hurry)
    follow_s = float(message["follow_s"])
    followed = time.monotonic()
    ended = False
    while not ended:
        ended = not _apply_waiting(projector, lines, max(0.05, followed + follow_s - time.monotonic()))
        if ended or time.monotonic() - followed >= follow_s:
            projector.follow()
            followed = time.monotonic()
        if not ended:
            projector.send()
            _tell_notes(projector)
    return _finish(projector, time.monotonic() + hurry.within_s, overtaken)


def _apply_waiting(projector: Any, lines: Lines, timeout_s: float) -> bool:
    """Take in all messages that are there, or the first that comes; False: the input has ended."""
    try:
        message = lines.get(timeout=timeout_s)
        while message is not None:
            if message["op"] == "cell":
                projector.cell(message["cell"])
            elif message["op"] == "job":
                projector.job(message)
            elif message["op"] == "derived":
                projector.derived(message)
            elif message["op"] == "report":
                projector.report(Path(message["folder"]))
            message = lines.get_nowait()
    except queue.Empty:
        return True
    return False


def _finish(projector: Any, until: float, overtaken: Callable[[], bool]) -> int:
    """Send the rest; a server that is away is waited for, unless a later controller tracks the study."""
    projector.end()
    projector.until = until
    while not projector.send():
        _tell_notes(projector)
        refused = projector.outage.refusals >= TRIES or not projector.outage.reason
        if refused or time.monotonic() > until or overtaken():
            _tell(projector.problem)
            return REFUSED
        time.sleep(LOOK_S)
    _tell_notes(projector)
    print(f"{projector.pace.requests} requests to MLflow", file=sys.stderr, flush=True)
    return 0


def _tell_notes(projector: Any) -> None:
    for note in projector.notes:
        _tell(note)
    projector.notes.clear()


def _tell(text: str) -> None:
    print(f"{FOR_THE_USER}{text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    ended = main()
    sys.stderr.flush()
    # A reader thread may still wait for input; nothing is left to clean up.
    os._exit(ended)
