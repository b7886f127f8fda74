"""JSON lines to a child process and its answers back, with a deadline for each."""

import json
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import BackendError
from orchestrator.host.children import child_environment

TAIL_LINES = 40  # of what the child says beside its answers
CLOSE_S = 8.0  # for an orderly end
SEND_S = 60.0  # for a child to take a request that its pipe has no room for, until it is killed
SAID_S = 1.0  # for the last line of a child that has ended to be read
REFUSED = 3
"""Exit code of a child that cannot do what it was started for; the last line of its stderr says why."""
SILENT = 4
"""The same where the cluster does not answer."""


class ChildGone(BackendError):
    """The child process has ended."""


class NoAnswer(BackendError):
    """The child process has not answered in time; it may be stopped, or busy, and still do what it was asked."""


class Pipe:
    """One child process: `{"id", "op", ...}` to it, `{"id", "answer" | "error"}` from it.

    The child leads a session of its own: Ctrl-C in the terminal is the driver's to act on.
    """

    def __init__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        """Start it with the code in `folder` and variables of its own; returns at once."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=child_environment(folder, environment),
            start_new_session=True,
        )
        self._stderr: deque[str] = deque(maxlen=TAIL_LINES)
        self._news = threading.Condition()
        self._sending = threading.Lock()
        self._answers: dict[int, Any] = {}
        self._waited: set[int] = set()
        self._next = 0
        self._gone = False
        self._open_id: int | None = None
        self.opened = False
        """Whether the first request was answered well."""
        threading.Thread(target=self._read_answers, name="ray child", daemon=True).start()
        self._stderr_reader = threading.Thread(target=self._read_stderr, name="ray child", daemon=True)
        self._stderr_reader.start()

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return not self._gone

    @property
    def refusal(self) -> str:
        """Why what it was asked for cannot be, in its own words, if it has ended for that; else empty.

        Trying again would not help.
        """
        return self._last_line_of(REFUSED, "Ray cannot be used")

    @property
    def silence(self) -> str:
        """That the cluster does not answer, in its own words, if it has ended for that; else empty."""
        return self._last_line_of(SILENT, "the Ray cluster does not answer")

    def _last_line_of(self, code: int, otherwise: str) -> str:
        """The last line of a child that has ended with this code; empty where it has not."""
        if not self._gone or self._process.wait() != code:
            return ""
        self._stderr_reader.join(SAID_S)
        return next((line for line in reversed(self._stderr) if line.strip()), "") or otherwise

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def stderr_tail(self) -> str:
        """The last lines it wrote to stderr."""
        return "\n".join(self._stderr)

    def open(self, **fields: Any) -> None:
        """Send the first request, whose answer `wait_open` waits for."""
        self._open_id = self._send("open", fields, waited=False)

    def wait_open(self, within_s: float) -> None:
        """Wait until the first request was answered well; a child that refuses it ends.

        Raises:
            ChildGone: it ended. NoAnswer: not in time.
        """
        with self._news:
            self._news.wait_for(lambda: self.opened or self._gone, within_s)
            if self._gone:
                raise ChildGone("the Ray child process has ended")
            if not self.opened:
                raise NoAnswer(f"Ray: open: no answer within {within_s:.0f} s")

    def request(self, op: str, within_s: float, **fields: Any) -> Any:
        """Send a request and wait for its answer.

        Raises:
            ChildGone: it ended. NoAnswer: not in time. BackendError: it refused.
        """
        number = self._send(op, fields, waited=True)
        with self._news:
            self._news.wait_for(lambda: number in self._answers or self._gone, within_s)
            return self._take(number, op, within_s)

    def notify(self, op: str, **fields: Any) -> None:
        """Send a request and wait for nothing; a child that has ended is noticed elsewhere."""
        try:
            self._send(op, fields, waited=False)
        except ChildGone:
            return

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """Close its input and wait for an orderly end; idempotent."""
        with self._sending:
            if self._process.stdin is not None and not self._process.stdin.closed:
                try:
                    self._process.stdin.close()
                except BrokenPipeError:
                    self._gone = True
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, op: str, fields: dict[str, Any], *, waited: bool) -> int:
        with self._sending:
            number = self._next
            self._next += 1
            if waited:
                self._waited.add(number)
            # Many submissions do not fit into the pipe, and a child that is stopped reads none.
            deadline = threading.Timer(SEND_S, self.kill)
            deadline.start()
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps({"id": number, "op": op, **fields}).encode() + b"\n")
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError) as error:
                raise ChildGone("the Ray child process has ended") from error
            finally:
                deadline.cancel()
        return number

    def _take(self, number: int, op: str, within_s: float) -> Any:
        self._waited.discard(number)
        if number in self._answers:
            message = self._answers.pop(number)
            if "error" in message:
                raise BackendError(f"Ray: {op}: {message['error']}")
            return message["answer"]
        if self._gone:
            raise ChildGone("the Ray child process has ended")
        raise NoAnswer(f"Ray: {op}: no answer within {within_s:.0f} s")

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                if not line.endswith(b"\n"):
                    break  # half an answer: the child was killed while it wrote
                message = json.loads(line)
                with self._news:
                    if message["id"] == self._open_id and "answer" in message:
                        self.opened = True
                    elif message["id"] in self._waited:
                        self._answers[message["id"]] = message
                    self._news.notify_all()
        with self._news:
            self._gone = True
            self._news.notify_all()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self._stderr.append(line.decode("utf-8", errors="replace").rstrip("\n"))
