"""The tracking child from outside: a process that writes to MLflow, fed line by line, and its log."""

import os
import queue
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from orchestrator.host.children import python_command

LOG = "tracking.log"
"""File in the study's folder with the output of the child."""

FOR_THE_USER = "echo-matrix: "
"""Beginning of the lines of the log that are passed on to the user."""

REFUSED = 1
"""Exit code of a child that could not send everything, and knows why."""

END_S = 5.0
"""From SIGTERM to SIGKILL."""


class TrackingChild:
    """One child process.

    Args:
        log: gets its output, which is appended.
        environment: of the child.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with log.open("a", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                python_command("orchestrator.tracking.mlflow"),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                text=True,
                encoding="utf-8",
                env=environment,
                start_new_session=True,
            )
        threading.Thread(target=self._feed, name="tracking", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None: it runs."""
        return self._process.poll()

    def put(self, line: str) -> None:
        """Give it a line; returns at once."""
        self._lines.put(line)

    def close_input(self) -> None:
        """Nothing more comes: it sends the rest and ends."""
        self._lines.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it has ended in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """End it: gently, and if it does not, at once."""
        self._process.terminate()
        if not self.wait(END_S):
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _feed(self) -> None:
        """Feed the pipe from a thread: while the child imports for seconds, the pipe may be full."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            while (line := self._lines.get()) is not None:
                pipe.write(line)
                pipe.flush()
            pipe.close()
        except (BrokenPipeError, ValueError, OSError):
            return  # whoever asks for `exit_code` notices its end


class Notes:
    """What children have written to their log for the user."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read_to = 0
        """Bytes that were looked through."""

    def new(self) -> list[str]:
        """What has come since the last call."""
        try:
            with self._log.open("rb") as log:
                if os.fstat(log.fileno()).st_size == self._read_to:
                    return []
                log.seek(self._read_to)
                content = log.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read_to += len(whole)
        lines = whole.decode(errors="replace").splitlines()
        return [line.removeprefix(FOR_THE_USER) for line in lines if line.startswith(FOR_THE_USER)]
