"""MLflow tracker, the controller's side: a queue, and a child process that writes to MLflow.

The controller never imports mlflow, never waits for it and never fails because of it. What a dead child has
not sent, `sync` sends later from the committed artifacts.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.plan.job import Plan, Standing
from orchestrator.requirements import install_command, missing_libraries
from orchestrator.tracking.mlflow.projection import cell_message, study_message
from orchestrator.tracking.protocol import JobChange

LOG = "tracking.log"
"""File in the study's folder with the output of the child."""

FOR_THE_USER = "echo-matrix: "
"""Beginning of the lines of the log that are passed on to the user."""

SCRUBBED = ("MLFLOW_RUN_ID", "MLFLOW_PARENT_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
"""Variables that would redirect values to another run."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # it loses its queue when it is killed
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTHONSAFEPATH": "1",
}

FOLLOW_S = 3.0
"""Between the child's looks at growing metrics."""

END_S = 5.0
"""From SIGTERM to SIGKILL."""


def mlflow_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that uses MLflow: without variables that redirect it, and without telemetry.

    MLflow's server starts `python -m uvicorn`, which must not import from the current folder either.
    """
    kept = {key: value for key, value in environment.items() if key not in SCRUBBED}
    return child_environment(CHECKOUT, kept) | QUIET


class MlflowTracker:
    """Sends changes to a child process, which the first change starts."""

    def __init__(
        self,
        home: Path,
        plan: Plan,
        uri: str | None,
        report_problem: Callable[[str], None] = lambda message: print(message, file=sys.stderr, flush=True),
        *,
        hurried: bool = False,
    ) -> None:
        """Prepare; `hurried`: without a rate limit (for `sync`, which runs alone)."""
        self._home = home.resolve()
        self._plan = plan
        self._uri = uri
        self._report_problem = report_problem
        self._hurried = hurried
        self._child: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._announced: set[str] = set()
        self._states: dict[str, str] = {}
        self._cells = {cell.id: cell for cell in plan.cells}
        self._failed = False
        self._closed = False
        self.problem = ""
        """Why not everything was sent; empty: it was."""

    @property
    def pid(self) -> int | None:
        """Process id of the child; None before the first change."""
        return None if self._child is None else self._child.pid

    @property
    def _sends(self) -> bool:
        return not (self._failed or self._closed)

    def start(self, standings: Mapping[str, Standing] | None = None) -> None:
        """Remember the jobs' states; the child is started by the first change, so an idle run starts none."""
        self._states = {job: standing.state for job, standing in (standings or {}).items()}

    def job_changed(self, change: JobChange) -> None:
        """See `Tracker.job_changed`."""
        known = self._plan.jobs.get(change.job)
        if known is None or not known.spec.tracked or not self._sends or not self._ensure_started():
            return
        for cell in known.cells:
            if cell not in self._announced:
                self._announced.add(cell)
                self._put({"op": "cell", "cell": cell_message(self._plan, self._cells[cell], self._states)})
        self._put(
            {
                "op": "job",
                "job": change.job,
                "stage": known.stage,
                "branch": known.branch,
                "curve": known.spec.curve,
                "files": [list(shown) for shown in known.spec.files],
                "pointer": known.spec.pointer,
                "cells": list(known.cells),
                "state": change.standing.state,
                "attempt": change.attempt,
                "work": None if change.work is None else str(change.work),
                "artifact": None if change.artifact is None else str(change.artifact),
                "git": change.git,
                "version": change.version,
            }
        )

    def report(self, folder: Path) -> None:
        """Show the report, if a child is running."""
        if self._child is not None and self._sends:
            self._put({"op": "report", "folder": str(folder.resolve())})

    def tick(self) -> None:
        """Report once that the child has died."""
        if self._child is not None and self._sends and self._child.poll() is not None:
            self._fail(f"ended with code {self._child.returncode}")

    def leave(self) -> None:
        """Kill the child, which would otherwise set the runs of another controller KILLED at its end."""
        self._failed = self._closed = True
        self._lines.put(None)
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def close(self, timeout_s: float) -> bool:
        """Let the child send the rest for at most `timeout_s`, then end it. True: everything was sent."""
        if self._closed or self._child is None:
            self._closed = True
            return not self._failed
        self._closed = True
        if not self._failed:
            self._put({"op": "hurry"})
        self._lines.put(None)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.terminate()
            self._fail(f"was not done after {timeout_s:g} s")
            try:
                self._child.wait(END_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._child.returncode != 0 and not self._failed:
            self._fail(f"ended with code {self._child.returncode}")
        elif not self._failed:
            for note in self._said():
                self._report_problem(f"tracking: {note}")
        return not self._failed

    def _ensure_started(self) -> bool:
        if self._child is not None:
            return True
        if missing := missing_libraries(("mlflow",)):
            self._failed, self.problem = True, f"mlflow is not installed; {install_command(missing)}"
            self._report_problem(f"tracking is off: {self.problem}; then `echo-matrix sync` sends what is completed")
            return False
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            with (self._home / LOG).open("w", encoding="utf-8") as log:
                self._child = subprocess.Popen(
                    python_command("orchestrator.tracking.mlflow"),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    env=mlflow_environment(os.environ),
                    start_new_session=True,
                )
        except OSError as error:
            self._fail(f"cannot start: {error}")
            return False
        self._writer = threading.Thread(target=self._write, name="tracking", daemon=True)
        self._writer.start()
        study = study_message(self._plan, self._states)
        self._put({"op": "study", "home": str(self._home), "uri": self._uri, "follow_s": FOLLOW_S, "study": study})
        if self._hurried:
            self._put({"op": "hurry"})
        return True

    def _put(self, message: Mapping[str, Any]) -> None:
        self._lines.put(json.dumps(message) + "\n")

    def _write(self) -> None:
        """Feed the pipe from a thread: while the child imports for seconds, the pipe may be full."""
        assert self._child is not None and self._child.stdin is not None
        try:
            while (line := self._lines.get()) is not None:
                self._child.stdin.write(line)
                self._child.stdin.flush()
            self._child.stdin.close()
        except (BrokenPipeError, ValueError, OSError):
            # `tick` and `close` notice the end of the child and report it.
            return

    def _fail(self, what: str) -> None:
        if not self._failed:
            self._failed = True
            self.problem = "; ".join((f"tracking {what}", *self._said()))
            goes_on = "" if self._closed else "the run continues; "
            self._report_problem(
                f"{self.problem}: {goes_on}send what is missing later with `echo-matrix sync`; log: {self._home / LOG}"
            )

    def _said(self) -> list[str]:
        """What the child has written for the user."""
        try:
            lines = (self._home / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        return [line.removeprefix(FOR_THE_USER) for line in lines if line.startswith(FOR_THE_USER)]
