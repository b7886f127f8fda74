"""The tracking child: `python -m orchestrator.tracking`, JSON lines on its standard input, ends at their end.

| op | fields |
|---|---|
| `study` | comes first: `home`, `uri`, `follow_s` between looks at growing metrics, `projection.study_message` |
| `cell` | `projection.cell_message` |
| `job` | `job`, `stage`, `branch`, `cells`, `state`, `attempt`, `work`, `artifact`; its `curve`, `files`, `pointer` |
| `report` | `folder` |
| `hurry` | none: no more waiting between requests |

Exit code 0: everything was sent and no run was left RUNNING. 1: it was not; standard error says why.
"""

import io
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

from workloads.runtime.masking import mask, secrets_of

LONGEST_LOG = 8 << 20
"""Characters that are kept of what is said: a server that refuses for a week fills no disk."""
HURRY = json.dumps({"op": "hurry"}) + "\n"


def main() -> int:
    """Project until the input ends."""
    # Ctrl-C reaches the whole foreground group: the driver says by closing the pipe when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr = Masked(sys.stderr)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    hurry = threading.Event()
    threading.Thread(target=_read, args=(sys.stdin, lines, hurry), daemon=True).start()
    try:
        return _project(lines, hurry)
    except Exception:
        # Whatever went wrong, the driver must hear of it in words; it goes on without us.
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        return 1


def _read(source: Iterable[str], lines: "queue.SimpleQueue[str | None]", hurry: threading.Event) -> None:
    for line in source:
        if line == HURRY:  # heard at once: what it is about are the lines before it
            hurry.set()
        else:
            lines.put(line)
    lines.put(None)


def _project(lines: "queue.SimpleQueue[str | None]", hurry: threading.Event) -> int:
    first = lines.get()
    if first is None:
        return 0
    message = json.loads(first)
    from orchestrator.tracking.mlflow_store import Projector

    projector = Projector(Path(message["home"]), message["uri"], message["study"], hurry)
    follow_s = float(message["follow_s"])
    looked = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=max(0.05, looked + follow_s - time.monotonic()))
        except queue.Empty:
            line = ""
        if line is None:
            projector.finish()
            return 0
        if line:
            _take(projector, json.loads(line))
        if time.monotonic() - looked >= follow_s:
            projector.follow()
            looked = time.monotonic()


def _take(projector: Any, message: dict[str, Any]) -> None:
    if message["op"] == "cell":
        projector.cell(message["cell"])
    elif message["op"] == "job":
        projector.job(message)
    elif message["op"] == "report":
        projector.report(Path(message["folder"]))


class Masked(io.TextIOBase):
    """Writes on to a stream what is said, without secrets: MLflow and its libraries name addresses as they like."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._secrets = secrets_of(os.environ)
        self._left = LONGEST_LOG

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Write all of `text`."""
        if self._left > 0:
            self._left -= len(text)
            more = "" if self._left > 0 else "\n... what was said after this is not kept\n"
            self._stream.write(mask(text, self._secrets) + more)
        return len(text)

    def flush(self) -> None:
        """Bring it to the file."""
        self._stream.flush()


if __name__ == "__main__":
    ended = main()
    sys.stderr.flush()
    # A reader thread may still wait for input; there is nothing left to tidy up.
    os._exit(ended)
