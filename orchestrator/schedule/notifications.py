"""Notifications: runs the user's `on_event` command when something finished, failed, was paused or is unknown.

The command gets a JSON object on its standard input and the event's name in `ECHO_MATRIX_EVENT`. It is split into
words like a shell does and run without one. A process of its own (`notification_process.py`) ends it after `LIMIT_S`
and writes its failure to driver.log, so that it can neither delay the controller nor be cut off by its end. Secrets
are masked in the object, and the command itself, which may hold one, is never written anywhere.

    {"version": 1, "event", "study", "profile", "at", "counts": {state: n}, ...}

`failed`: `job`, `label`, `stage`, `reason`, once a failure; `paused`: `stage`, `reason`, once a stage;
`unknown`: `reason`, `attempts`, once when nothing has been known of any attempt for a minute;
`finished`: `exit_code`, `interrupted`, `reason`, at the end of a run that did anything.
"""

import json
import os
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import MatrixError
from orchestrator.host.environment import COMMAND, passed
from orchestrator.schedule.clock import Clock
from workloads.runtime.masking import mask, secrets_of

Occasion = Literal["finished", "failed", "paused", "unknown"]

VERSION = 1
VARIABLE = "ECHO_MATRIX_EVENT"
LIMIT_S = 60.0
"""How long the command may take."""
AT_ONCE = 4
"""Commands that run at the same time."""
WAITING = 100
"""Events in the queue; of more, the oldest are dropped, and driver.log says so."""
END_S = 5.0
"""How long a run that ends waits until all events are sent; it never waits for a command."""
LONGEST_TEXT = 2000
"""Characters of a text that is sent."""
RUNNER = (
    sys.executable,
    "-I",
    "-c",
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.schedule import notification_process; notification_process.run()",
    str(Path(__file__).parents[2]),
)
"""The command line of `notification_process`, of this very code."""


class Notifier:
    """The command of one run; does nothing where there is none.

    Args:
        command: `on_event` of cluster/*.yaml.
        study, profile: of the run.
        log: driver.log.
        note: writes a line to driver.log.
        clock: the controller's.
        variables: `environment.on_event` of cluster/*.yaml.

    Raises:
        MatrixError: the command cannot be split into words.
    """

    def __init__(
        self,
        command: str | None,
        *,
        study: str,
        profile: str,
        log: Path,
        note: Callable[..., None],
        clock: Clock,
        variables: Sequence[str] = (),
    ) -> None:
        self._words = words_of(command)
        self._header = {"version": VERSION, "study": study, "profile": profile}
        self._log = log
        self._note = note
        self._clock = clock
        self._variables = tuple(variables)
        self._secrets = secrets_of(os.environ)
        self._waiting: deque[tuple[Occasion, str]] = deque()
        self._running: list[subprocess.Popen[bytes]] = []

    def notify(self, event: Occasion, **fields: Any) -> None:
        """Queue an event, which `tick` sends."""
        if not self._words:
            return
        if len(self._waiting) == WAITING:
            dropped, _ = self._waiting.popleft()
            self._note("on_event dropped", event=dropped, why=f"{WAITING} events are queued already")
        about = {**self._header, "event": event, "at": round(self._clock.time(), 3), **fields}
        self._waiting.append((event, json.dumps(self._clean(about), ensure_ascii=False)))

    def tick(self) -> None:
        """Start commands, up to `AT_ONCE` at a time."""
        self._running = [process for process in self._running if process.poll() is None]
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(*self._waiting.popleft())

    def close(self) -> None:
        """Start what is left, and in any case the newest; running commands are not waited for."""
        until = self._clock.monotonic() + END_S
        self.tick()
        while self._waiting and self._clock.monotonic() < until:
            self._clock.sleep(0.05)
            self.tick()
        if self._waiting:
            *left, last = self._waiting
            for event, _ in left:
                self._note("on_event dropped", event=event, why=f"{AT_ONCE} commands before it have not ended")
            self._start(*last)
        self._waiting.clear()

    def _start(self, event: Occasion, about: str) -> None:
        order = {"words": self._words, "event": event, "about": about, "log": str(self._log), "limit_s": LIMIT_S}
        try:
            process = subprocess.Popen(
                RUNNER,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is not meant for it
                env={**passed(os.environ, (*COMMAND, *self._variables)), VARIABLE: event},
            )
            assert process.stdin is not None
            with process.stdin as pipe:  # less than a pipe holds: never waits for the reader
                pipe.write(json.dumps(order).encode())
        except OSError as error:
            self._note("on_event failed", event=event, error=error.strerror or str(error))
        else:
            self._running.append(process)

    def _clean(self, value: Any) -> Any:
        match value:
            case str():
                text = mask(value, self._secrets)
                return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
            case dict():
                return {key: self._clean(item) for key, item in value.items()}
            case list() | tuple():
                return [self._clean(item) for item in value]
            case _:
                return value


def words_of(command: str | None) -> list[str]:
    """The words of a command line; none for none.

    Raises:
        MatrixError: a quote that is not closed.
    """
    try:
        return shlex.split(command or "")
    except ValueError as error:
        raise MatrixError(
            f"cluster: on_event cannot be split into words ({error}); write it as in a shell, "
            "e.g. on_event: notify-send 'echo-matrix'; a shell itself is sh -c '…'"
        ) from error
