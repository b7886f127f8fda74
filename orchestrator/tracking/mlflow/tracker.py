"""MLflow tracker, the controller's side: a queue, and a child process that writes to MLflow.

The controller never imports mlflow, never waits for it and never fails because of it. A child that dies is started
again, and told anew what there is to show. What the last one has not sent, the next run or `sync` sends later from the
commit records.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.pauses import pause_s
from orchestrator.plan.job import Plan, Standing
from orchestrator.requirements import install_command, missing_libraries
from orchestrator.tracking.mlflow.child import LOG, REFUSED, Notes, TrackingChild
from orchestrator.tracking.mlflow.environment import OWN_RETRIES, mlflow_environment
from orchestrator.tracking.mlflow.identity import experiment_of
from orchestrator.tracking.mlflow.job_view import case_lines
from orchestrator.tracking.mlflow.projection import cell_message, study_message
from orchestrator.tracking.protocol import JobChange

FOLLOW_S = 3.0
"""Between the child's looks at growing metrics."""

WITHIN_S = 3600.0
"""How long `sync` may take."""

PART = 0.9
"""Of the time that a run's end leaves the child, so that it ends by itself."""

START_S = 10.0
"""A child that dies at the end of the run is replaced if there is more time than this."""

AGAIN_S = (1.0, 300.0)
"""From the end of a child to the start of the next: doubled each time, from the first to the second."""

BEHIND = "tracking.unsent"
"""File in the study's folder from the first thing to send until everything has been sent, with the token of whoever
sends: a child that finds another one there is late."""


class MlflowTracker:
    """Sends changes to a child process, which the first change starts."""

    def __init__(
        self,
        home: Path,
        plan: Plan,
        uri: str | None,
        report_problem: Callable[[str], None] = lambda message: print(message, file=sys.stderr, flush=True),
        *,
        live: bool = True,
        within_s: float = WITHIN_S,
        variables: Sequence[str] = (),
    ) -> None:
        """Prepare.

        Args:
            home: the study's folder under outputs/.
            plan: of the run.
            uri: `tracking.uri` of the cluster file.
            report_problem: is told what the user should know.
            live: jobs are running. `sync` sends what is completed, without a rate limit.
            within_s: how long the rest may take that is sent without being live.
            variables: `environment.tracking` of the cluster file.
        """
        self._variables = tuple(variables)
        self._home = home.resolve()
        self._token = uuid.uuid4().hex
        self._plan = plan
        self._uri = uri
        self._report_problem = report_problem
        self._live = live
        self._within_s = within_s
        self._child: TrackingChild | None = None
        self._notes = Notes(self._home / LOG)
        self._told: dict[str, str] = {}
        """The last line about each cell, each job and the report: what a new child is told."""
        self._announced: set[str] = set()
        self._states: dict[str, str] = {}
        self._measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
        """(job, part of its artifact) -> lines of its cases, of completed jobs, where metrics are derived from them."""
        self._is_underivable = False
        """Whether it was told that a metric cannot be derived."""
        self._cells = {cell.id: cell for cell in plan.cells}
        self._deaths = 0
        self._again_at = 0.0
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

    def wants_all(self) -> bool:
        """Whether something is sent, or an earlier run has not sent everything."""
        return self._sends and (self._child is not None or (self._home / BEHIND).exists())

    def job_changed(self, change: JobChange) -> None:
        """See `Tracker.job_changed`."""
        known = self._plan.jobs.get(change.job)
        if known is None or not known.spec.tracked or not self._sends or not self._ensure_started():
            return
        for cell in known.cells:
            if cell not in self._announced:
                self._announced.add(cell)
                message = cell_message(self._plan, self._cells[cell], self._states)
                self._put(f"cell {cell}", {"op": "cell", "cell": message})
        if known.branch is not None and change.artifact is not None and self._plan.workload.derived:
            for part in known.parts:
                self._measured[known.id, part] = case_lines(change.artifact / part, known.own_cases)
            for cell in known.cells:
                self._derive(cell, known.branch)
        self._put(
            f"job {change.job}",
            {
                "op": "job",
                "job": change.job,
                "stage": known.stage,
                "branch": known.branch,
                "curve": known.spec.curve,
                "files": [list(shown) for shown in known.spec.files],
                "pointer": known.spec.pointer,
                "cells": list(known.cells),
                "items": known.own_cases,
                "state": change.standing.state,
                "attempt": change.attempt,
                "work": None if change.work is None else str(change.work),
                "artifact": None if change.artifact is None else str(change.artifact),
                "record": change.record,
                "place": change.place,
                "git": change.git,
                "version": change.version,
                "manifest": change.manifest,
                "started": change.started,
                "ended": change.ended,
            },
        )

    def _derive(self, cell: str, branch: str) -> None:
        """Tell the derived metrics of a cell on a branch, as far as the jobs that they need are completed."""
        jobs = [job for name in self._plan.jobs_of[cell].values() if (job := self._plan.jobs[name]).branch == branch]
        parts = [(job.id, job.part_of(self._cells[cell])) for job in jobs]
        measured = [line for part in parts for line in self._measured.get(part, ())]
        try:
            lines = self._plan.workload.derive(branch, measured)
        except ValueError as error:  # the study's own function
            if not self._is_underivable:
                self._is_underivable = True
                self._report_problem(f"tracking: {error}")
            return
        if lines:
            message = {"op": "derived", "cell": cell, "branch": branch, "lines": lines}
            self._put(f"derived {cell} {branch}", message)

    def report(self, folder: Path) -> None:
        """Show the report, if a child is running."""
        if self._child is not None and self._sends:
            self._put("report", {"op": "report", "folder": str(folder.resolve())})

    def tick(self) -> None:
        """Pass on what the child has written for the user; start another one if it has died."""
        if self._child is None or not self._sends:
            return
        for note in self._notes.new():
            self._report_problem(f"tracking: {note}")
        if self._child.exit_code is None:
            return
        now = time.monotonic()
        if self._again_at == 0.0:
            self._deaths += 1
            after = pause_s(self._deaths, *AGAIN_S)
            self._again_at = now + after
            if self._deaths == 1:
                self._report_problem(
                    f"tracking ended with code {self._child.exit_code} and is started again in {after:g} s, with all "
                    f"that is to be shown; the run continues; log: {self._home / LOG}"
                )
        elif now >= self._again_at:
            self._start()

    def leave(self) -> None:
        """Kill the child, which would otherwise set the runs of another controller KILLED at its end."""
        self._failed = self._closed = True
        if self._child is not None:
            self._child.close_input()
            self._child.kill()

    def close(self, timeout_s: float) -> bool:
        """Let the child send the rest for at most `timeout_s`, then end it. True: everything was sent."""
        if self._closed or self._child is None:
            self._closed = True
            return not self._failed
        until = time.monotonic() + timeout_s
        while not self._failed:
            if self._child.exit_code is not None:  # it died before its time
                self._start()
            self._child.put(_line({"op": "hurry", "within_s": max(0.1, (until - time.monotonic()) * PART)}))
            self._child.close_input()
            left_s = max(0.0, until - time.monotonic())
            if not self._child.wait(left_s):
                self._fail(f"was not done after {left_s:.0f} s", self._notes.new())
                self._child.end()
            if self._child.exit_code in (0, REFUSED) or time.monotonic() + START_S > until:
                break
        self._closed = True
        if self._failed:
            return False
        notes = self._notes.new()
        if self._child.exit_code != 0:
            self._fail(f"ended with code {self._child.exit_code}", notes)
        else:
            (self._home / BEHIND).unlink(missing_ok=True)
            for note in notes:
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
            (self._home / LOG).write_bytes(b"")
            (self._home / BEHIND).write_text(self._token, encoding="utf-8")
        except OSError as error:
            self._fail(f"cannot start: {error}")
            return False
        return self._start()

    def _start(self) -> bool:
        """Start a child, and tell it everything."""
        if self._child is not None:
            self._child.close_input()  # the thread that fed it ends
        try:
            child = TrackingChild(
                self._home / LOG, mlflow_environment(os.environ, self._uri, self._variables) | OWN_RETRIES
            )
        except OSError as error:
            self._fail(f"cannot start: {error}")
            return False
        self._child, self._again_at = child, 0.0
        experiment = experiment_of(self._plan, self._home)
        study = study_message(self._plan, self._states, experiment=experiment, live=self._live)
        first = {"home": str(self._home), "uri": self._uri, "token": self._token, "follow_s": FOLLOW_S, "study": study}
        child.put(_line({"op": "study", **first}))
        if not self._live:
            child.put(_line({"op": "hurry", "within_s": self._within_s}))
        for line in list(self._told.values()):  # a late answer of the store may add to it
            child.put(line)
        return True

    def _put(self, about: str, message: Mapping[str, Any]) -> None:
        self._told.pop(about, None)
        self._told[about] = _line(message)
        if self._child is not None:
            self._child.put(self._told[about])

    def _fail(self, what: str, notes: Sequence[str] = ()) -> None:
        if not self._failed:
            self._failed = True
            self.problem = "; ".join((f"tracking {what}", *notes))
            goes_on = "" if self._closed else "the run continues; "
            self._report_problem(
                f"{self.problem}: {goes_on}the next run sends what is missing, or `echo-matrix sync`; "
                f"log: {self._home / LOG}"
            )


def _line(message: Mapping[str, Any]) -> str:
    return json.dumps(message) + "\n"
