"""The host's end of the warm server: starts `python -m workloads.runtime.server` and speaks JSON lines to it.

Its standard input is a socket, so that descriptors travel with a line: where a rank writes, and
the bound socket of rank 0's store. Closing that socket ends the server and all its ranks; it is
never inherited by another process.
"""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workloads.contract.defaults import DEFAULT

COMMAND = (sys.executable, "-m", "workloads.runtime.server", DEFAULT)
"""Of the workload that a matrix has by default; `server_command` gives that of another."""
TAIL_LINES = 60  # of what the server says beside its replies: the traceback of a failed import
LONGEST_LINE = 1 << 16  # bytes; what is longer is broken
PATIENCE_S = 5.0  # between a closed standard input and being killed


def server_command(workload: str) -> tuple[str, ...]:
    """Command line of the warm server of a workload, `package.module`."""
    return (*COMMAND[:-1], workload)


class WarmServer:
    """One warm server process.

    Replies are handed to `on_reply` in the reading thread; when the server has ended it gets
    `{"op": "gone", "code", "said"}` once.
    """

    def __init__(self, on_reply: Callable[[Mapping[str, Any]], None], *, command: Sequence[str], folder: Path) -> None:
        """Start it; returns at once, `{"op": "ready"}` follows seconds later.

        Args:
            on_reply: called from another thread; must not block.
            command: its command line; tests bring servers with stages of their own.
            folder: where the code lies: the server's working folder and PYTHONPATH.

        Raises:
            OSError: no process, thread or descriptor is left.
        """
        self._on_reply = on_reply
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._said: deque[str] = deque(maxlen=TAIL_LINES)
        ours, theirs = socket.socketpair()
        self._socket = ours
        environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        }
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        self._threads = [
            threading.Thread(target=self._read_replies, name="server replies", daemon=True),
            threading.Thread(target=self._read_said, name="server stderr", daemon=True),
        ]
        try:
            for thread in reversed(self._threads):  # last the one that says that it is gone: then nobody has to
                thread.start()
        except RuntimeError as error:
            self._socket.close()
            self._process.kill()
            self._process.wait()
            raise OSError(errno.EAGAIN, str(error)) from error

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def start(self, message: Mapping[str, Any], descriptors: Mapping[str, int]) -> None:
        """Ask for a rank; `descriptors` (`log`, `listen`) are duplicated into it, the caller keeps and closes its own.

        Raises:
            OSError: the server has ended.
        """
        self._send({**message, "op": "start", "fds": list(descriptors)}, list(descriptors.values()))

    def signal(self, attempt: str, number: int, *, group: bool) -> None:
        """Signal the ranks of an attempt (`group`: and all they started); the server does it, who knows which live."""
        try:
            self._send({"op": "signal", "attempt": attempt, "signal": int(number), "group": group}, [])
        except OSError:
            return  # the server has ended, and its ranks with it

    def give_up_after(self, import_s: float) -> None:
        """Kill a server that has imported for longer than this; idempotent, and `gone` follows."""
        if time.monotonic() - self._began > import_s and self._process.poll() is None:
            self._said.append(f"it had not imported everything within {import_s:g} s")
            self._process.kill()

    def close(self) -> None:
        """End the server and all ranks; idempotent."""
        self._socket.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE_S)

    def _send(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            sent = socket.send_fds(self._socket, [data], descriptors) if descriptors else 0
            self._socket.sendall(data[sent:])

    def _read_replies(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as replies:
            for line in replies:
                self._on_reply(json.loads(line))
        code = self._process.wait()
        self._threads[1].join(PATIENCE_S)
        self._on_reply({"op": "gone", "code": code, "said": "\n".join(self._said)})

    def _read_said(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while line := stream.readline(LONGEST_LINE):
                self._said.append(line.decode("utf-8", errors="replace").rstrip("\n"))
