"""A standing Ray cluster on this machine for tests: `ray start` in a folder and under a mark of its own.

`ray stop` ends every Ray of the user, so it is never used: what carries the mark is killed.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from leftovers import Marked, expect_nothing, marked

RAY = Path(sys.executable).with_name("ray")
SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
}
START_S = 180.0


class Standing:
    """One cluster: a head, and nodes that come and go."""

    def __init__(self, cpus: int, command: Sequence[str] = (str(RAY),), **variables: str) -> None:
        """Start the head; some 5 to 20 s.

        Args:
            cpus: of the head.
            command: in the place of `ray`.
            variables: beside `SETTINGS`, for all of its nodes.
        """
        self._command, self._variables = command, {**SETTINGS, **variables}
        self.folder = Path(tempfile.mkdtemp(prefix="em-standing-", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.head = self._start(
            "--head", f"--port={port}", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", f"--temp-dir={self.folder}"
        )

    def add_node(self, cpus: int, **variables: str) -> Marked:
        """Another raylet on this machine, with processes of its own mark; `variables`: beside those of all nodes."""
        options = (f"--address={self.address}", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}")
        return self._start(*options, **variables)

    def close(self) -> None:
        """Kill all of it and remove its folder."""
        end(self.head)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options: str, **variables: str) -> Marked:
        head = "--head" in options
        with marked() as mark:
            done = subprocess.run(
                [*self._command, "start", *options, "--object-store-memory=83886080", "--disable-usage-stats"]
                + (["--include-dashboard=false"] if head else []),
                env={**os.environ, **self._variables, **variables},
                capture_output=True,
                text=True,
                timeout=START_S,
                start_new_session=True,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        return mark


def end(mark: Marked) -> None:
    """Kill all that carries a mark, and see that it is gone."""

    def left() -> list[str]:
        found = mark.processes()
        for process in found:
            process.signal(signal.SIGKILL)
        return [process.command for process in found]

    expect_nothing(left, 20.0)
