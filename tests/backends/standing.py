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

from orchestrator.backends.ray.environment import HOST_LABEL

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

    def __init__(
        self, cpus: int, *, inside: Sequence[str] = (), ip: str = "127.0.0.1", options: Sequence[str] = ()
    ) -> None:
        """Start the head; some 5 to 20 s. `inside`, `ip`: as of `add_node`."""
        self.folder = Path(tempfile.mkdtemp(prefix="em-standing-", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"{ip}:{port}"
        where = (f"--port={port}", f"--node-ip-address={ip}", f"--temp-dir={self.folder}")
        self.head = self._start("--head", *where, f"--num-cpus={cpus}", *options, inside=inside)

    def add_node(
        self, cpus: int, name: str = "", *options: str, inside: Sequence[str] = (), ip: str = "127.0.0.1"
    ) -> Marked:
        """Another raylet on this machine, with processes of its own mark.

        Args:
            cpus: of the node.
            name: of its host.
            options: of `ray start`.
            inside: the command that runs `ray start`, such as `unshare`.
            ip: address of the node.
        """
        named = [f"--labels={HOST_LABEL}={name}"] if name else []
        where = (f"--address={self.address}", f"--node-ip-address={ip}")
        return self._start(*where, f"--num-cpus={cpus}", *named, *options, inside=inside)

    def close(self) -> None:
        """Kill all of it and remove its folder."""
        end(self.head)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options: str, inside: Sequence[str] = ()) -> Marked:
        head = "--head" in options
        with marked() as mark:
            done = subprocess.run(
                [*inside, str(RAY), "start", *options, "--object-store-memory=83886080", "--disable-usage-stats"]
                + (["--include-dashboard=false"] if head else []),
                env={**os.environ, **SETTINGS},
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
