"""Warm server, the host's side: starts `python -m workloads.runtime.server`, talks to it in JSON lines, restarts it.

Its standard input is a socket, so that descriptors can be sent with a line: where a rank writes its log,
and the rendezvous socket for rank 0. Closing that socket ends the server and all its ranks; no other
process inherits it.
"""

import errno
import json
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.host.children import child_environment, python_command
from workloads.contract.request import DEFAULT_WORKLOAD

COMMAND = tuple(python_command("workloads.runtime.server", DEFAULT_WORKLOAD))
"""Of the default workload; `server_command` gives that of another."""
STDERR_LINES = 60  # the last ones are kept: the traceback of a failed import
LONGEST_LINE = 1 << 16  # bytes; what is longer is broken
CLOSE_S = 5.0  # from closing its standard input to killing it
MAX_FAILURES = 3  # warm servers in a row that may end before they are ready; a later attempt adds one more try


def server_command(workload: str) -> tuple[str, ...]:
    """Command line of the warm server of a workload, `package.module`."""
    return (*COMMAND[:-1], workload)


class WarmServer:
    """One warm server process.

    `on_reply` is called with each reply, in the reading thread; last, when the server has ended, with
    `{"op": "exited", "code", "stderr"}`.
    """

    def __init__(
        self,
        on_reply: Callable[[Mapping[str, Any]], None],
        *,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Start it and return at once; `{"op": "ready"}` follows seconds later.

        Args:
            on_reply: called from another thread; must not block.
            command: its command line; tests use servers with stages of their own.
            folder: the code snapshot, which becomes its working folder and comes first on its import path.
            environment: its variables, but for those that are set here. Each rank gets its own.

        Raises:
            OSError: no process, thread or descriptor is left.
        """
        self._on_reply = on_reply
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        ours, theirs = socket.socketpair()
        self._socket = ours
        environment = {
            **child_environment(folder, environment),
            "PYTHONIOENCODING": "utf-8:backslashreplace",  # of the ranks' logs, whatever this shell's terminal takes
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
            threading.Thread(target=self._read_stderr, name="server stderr", daemon=True),
        ]
        try:
            for thread in reversed(self._threads):  # last the one that reports the exit: a failure here reports none
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
        """Fork a rank; `descriptors` (`log`, `listen`) are duplicated into it, and the caller closes its own.

        Raises:
            OSError: the server has ended.
        """
        self._send({**message, "op": "start", "fds": list(descriptors)}, list(descriptors.values()))

    def signal(self, attempt: str, number: int, *, group: bool) -> None:
        """Signal the living ranks of an attempt; `group`: and all processes they started."""
        try:
            self._send({"op": "signal", "attempt": attempt, "signal": int(number), "group": group}, [])
        except OSError:
            return  # the server has ended, and its ranks with it

    def kill_after(self, import_s: float) -> None:
        """Kill a server that has been importing for longer than this; idempotent. `exited` follows."""
        if time.monotonic() - self._started > import_s and self._process.poll() is None:
            self._stderr.append(f"it had not imported everything within {import_s:g} s")
            self._process.kill()

    def close(self) -> None:
        """End the server and all ranks; idempotent."""
        self._socket.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(CLOSE_S)

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
        self._threads[1].join(CLOSE_S)
        self._on_reply({"op": "exited", "code": code, "stderr": "\n".join(self._stderr)})

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while line := stream.readline(LONGEST_LINE):
                self._stderr.append(line.decode("utf-8", errors="replace").rstrip("\n"))


class WarmServerSupervisor:
    """Keeps one warm server running, and gives up after `MAX_FAILURES` in a row that ended before they were ready.

    Called only while holding the node's lock.
    """

    def __init__(
        self,
        on_reply: Callable[[Mapping[str, Any]], None],
        on_give_up: Callable[[str], None],
        *,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Prepare; `start` starts the first server.

        Args:
            on_reply, command, folder, environment: as for `WarmServer`.
            on_give_up: called with the reason when no further server is started.
        """
        self._on_reply = on_reply
        self._on_give_up = on_give_up
        self._command = command
        self._folder = folder
        self._environment = environment
        self._failed = 0
        self.ready = False
        """Whether the server has imported everything."""
        self.failure = ""
        """Why no further server is started before another attempt comes; empty: one is ready or starting."""
        self.server: WarmServer | None = None

    def start(self) -> None:
        """Start a server.

        Raises:
            OSError: no process, thread or descriptor is left, or the code folder is gone.
        """
        self.ready, self.failure = False, ""
        self.server = WarmServer(
            self._on_reply, command=self._command, folder=self._folder, environment=self._environment
        )

    def set_ready(self) -> None:
        """Note that the server has imported everything."""
        self.ready, self._failed = True, 0

    def restart(self, reason: str) -> None:
        """Start the next server; `reason` says how the last one ended."""
        was_ready, self.ready = self.ready, False
        self._start_next(0 if was_ready else self._failed + 1, reason)

    def ensure_started(self) -> None:
        """Try once more if an earlier attempt found that no server could be started."""
        if self._failed >= MAX_FAILURES:
            self._start_next(MAX_FAILURES - 1, "")

    def kill_after(self, import_s: float) -> None:
        """Kill a server that has been importing for longer than this."""
        if not self.ready and self.server is not None:
            self.server.kill_after(import_s)

    def signal(self, attempt: str, number: int, *, group: bool) -> None:
        """Signal the ranks of an attempt, where there is a server."""
        if self.server is not None:
            self.server.signal(attempt, number, group=group)

    def close(self) -> None:
        """End the server and all ranks."""
        if self.server is not None:
            self.server.close()

    def _start_next(self, failed: int, reason: str) -> None:
        while failed < MAX_FAILURES:
            self._failed = failed
            try:
                self.start()
                return
            except OSError as error:
                failed, reason = failed + 1, f"the warm server cannot be started: {error}"
        self._failed, self.failure = failed, reason
        self._on_give_up(reason)
