"""Tracking child process: `python -m orchestrator.tracking.mlflow` reads JSON lines from standard input until its end.

| op | fields |
|---|---|
| `study` | comes first: `home`, `uri`, `follow_s` between looks at growing metrics, `projection.study_message` |
| `cell` | `projection.cell_message` |
| `job` | `job`, `stage`, `branch`, `cells`, `state`, `attempt`, `work`, `artifact`; its `curve`, `files`, `pointer` |
| `report` | `folder` |
| `hurry` | none; from now on requests are not rate-limited |

Exit code 0: everything was sent and no run is left RUNNING. 1: otherwise; standard error says why. Lines of it that
begin with `FOR_THE_USER` are what the controller passes on.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.host.masked_stream import MaskedStream
from orchestrator.tracking.mlflow.tracker import FOR_THE_USER
from workloads.runtime.masking import mask, secrets_of

LONGEST_LOG = 8 << 20
"""Characters of output that are kept, so that a server that refuses for a week does not fill the disk."""
LONGEST_REASON = 300
PAGE = (
    "a web page answers where MLflow should: is a login page in front of it, or another server at tracking.uri? set "
    "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; `echo-matrix doctor` asks again"
)
HURRY = json.dumps({"op": "hurry"}) + "\n"


def main() -> int:
    """Project until the input ends."""
    # Ctrl-C reaches the whole foreground group, but this process ends when the parent closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr = MaskedStream(sys.stderr, LONGEST_LOG)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    hurry = threading.Event()
    threading.Thread(target=_read, args=(sys.stdin, lines, hurry), daemon=True).start()
    try:
        return _project(lines, hurry)
    except Exception as error:
        # The run continues without tracking; the log must say why.
        print(traceback.format_exc(), file=sys.stderr)
        print(f"{FOR_THE_USER}{reason_of(error)}", file=sys.stderr, flush=True)
        return 1


def _read(source: Iterable[str], lines: "queue.SimpleQueue[str | None]", hurry: threading.Event) -> None:
    for line in source:
        if line == HURRY:  # takes effect at once: it is about the lines still in the queue
            hurry.set()
        else:
            lines.put(line)
    lines.put(None)


def _project(lines: "queue.SimpleQueue[str | None]", hurry: threading.Event) -> int:
    first = lines.get()
    if first is None:
        return 0
    message = json.loads(first)
    from orchestrator.tracking.mlflow.projector import Projector

    projector = Projector(Path(message["home"]), message["uri"], message["study"], hurry)
    for note in projector.notes:
        print(f"{FOR_THE_USER}{note}", file=sys.stderr, flush=True)
    follow_s = float(message["follow_s"])
    followed = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=max(0.05, followed + follow_s - time.monotonic()))
        except queue.Empty:
            line = ""
        if line is None:
            projector.finish()
            return 0
        if line:
            _apply(projector, json.loads(line))
        if time.monotonic() - followed >= follow_s:
            projector.follow()
            followed = time.monotonic()


def _apply(projector: Any, message: dict[str, Any]) -> None:
    if message["op"] == "cell":
        projector.cell(message["cell"])
    elif message["op"] == "job":
        projector.job(message)
    elif message["op"] == "report":
        projector.report(Path(message["folder"]))


def reason_of(error: Exception) -> str:
    """Why MLflow cannot be used, in one line."""
    text = mask(str(error), secrets_of(os.environ))  # before it is cut: half a secret is not recognised
    if "<html" in text.lower() or "<!doctype" in text.lower():
        return PAGE
    return f"{type(error).__name__}: {' '.join(text.split())[:LONGEST_REASON]}"


if __name__ == "__main__":
    ended = main()
    sys.stderr.flush()
    # A reader thread may still wait for input; nothing is left to clean up.
    os._exit(ended)
