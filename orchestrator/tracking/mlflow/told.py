"""What the messages have told of a study's cells and jobs, and so which status its runs have. Asks no server."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.tracking.mlflow.job_view import JobView
from orchestrator.tracking.mlflow.projection import Status, final_status, status
from orchestrator.tracking.mlflow.thinning import Thinner
from workloads.contract.metrics import METRICS

WORST_FIRST: tuple[Status, ...] = ("RUNNING", "FAILED", "KILLED", "SCHEDULED")
"""The status of a row is the first of these that a cell of it has."""
FINISHED: tuple[Status, str] = ("FINISHED", "finished")
BEGUN = ("running", "done", "failed", "cancelled", "unknown")
"""States of a job whose cells have a run."""


class ToldStudy:
    """The cells and jobs of a study, as they were last told."""

    def __init__(self) -> None:
        self.cells: dict[str, Mapping[str, Any]] = {}
        """Id -> its message."""
        self.jobs: dict[str, JobView] = {}
        self.begun: set[str] = set()
        """Cells that have a run."""
        self.ended = False
        """The run of the study has ended."""
        self.end_s = 0.0
        """When, s since 1970."""
        self._derived: dict[str, dict[str, list[dict[str, Any]]]] = {}
        """Cell -> branch -> lines of its derived metrics, as in cases.jsonl."""

    def cell(self, message: Mapping[str, Any]) -> None:
        """Take up a cell; it begins when one of its jobs changes."""
        self.cells.setdefault(message["id"], message)

    def job(self, message: Mapping[str, Any]) -> set[str]:
        """Take up a job's new state; returns the begun cells that it belongs to."""
        view = self.jobs.get(message["job"])
        if view is None:
            view = self.jobs[message["job"]] = JobView(
                state=message["state"],
                stage=message["stage"],
                branch=message["branch"] or "",
                curve=message["curve"],
                files=message["files"],
                pointer=message["pointer"],
                cells=message["cells"],
                items=message.get("items"),
                thinner=Thinner(curve=f"{message['stage']}/{message['curve']}"),
            )
        view.state, view.attempt = message["state"], message["attempt"] or view.attempt
        if view.curve and message["work"] is not None:
            view.follow(Path(message["work"]) / METRICS)
        if message["artifact"] is not None:
            view.artifact, view.tail = Path(message["artifact"]), None
            view.record, view.place = message["record"], message["place"] or message["artifact"]
            view.manifest = message["manifest"] or str(message["attempt"])
        view.started, view.ended = message["started"] or view.started, message["ended"]
        view.git, view.version = message["git"] or view.git, message["version"] or view.version
        if view.state in BEGUN:
            self.begun.update(view.cells)
        return self.begun.intersection(view.cells)

    def derive(self, message: Mapping[str, Any]) -> set[str]:
        """Take up the derived metrics of a cell on a branch; returns the cell, if it has begun."""
        self._derived.setdefault(message["cell"], {})[message["branch"]] = message["lines"]
        return self.begun.intersection([message["cell"]])

    def derived_of(self, cell: str) -> Mapping[str, list[dict[str, Any]]]:
        """Branch -> lines of a cell's derived metrics."""
        return self._derived.get(cell, {})

    def end(self) -> None:
        """The run of the study has ended."""
        self.ended, self.end_s = True, time.time()

    def views_of(self, jobs: Iterable[str]) -> dict[str, JobView]:
        """Those of these jobs that were told of."""
        return {job: self.jobs[job] for job in jobs if job in self.jobs}

    def parts_of(self, cell: str) -> dict[str, JobView]:
        """The jobs of a cell that were told of, each as the cell sees it."""
        message = self.cells[cell]
        views = self.views_of(message["jobs"])
        return {job: view.part(message["parts"].get(job, "")) for job, view in views.items()}

    def rows(self) -> set[str]:
        """Rows of the begun cells."""
        return {self.cells[cell]["row"] for cell in self.begun}

    def start_ms(self, views: Iterable[JobView]) -> int:
        """When the first of these jobs started, ms since 1970; now if none has."""
        return int(1000 * min((view.started for view in views if view.started is not None), default=time.time()))

    def status_of(self, cell: str) -> tuple[Status, str]:
        """A cell's status, and the same for people."""
        message = self.cells[cell]
        # As last told, else as they were when the run started.
        told = {job: view.state for job, view in self.views_of(message["jobs"]).items()}
        states, jobs = {**message["states"], **told}, list(message["jobs"])
        if self.ended:
            found = final_status(states, jobs)
            return found, "incomplete" if found == "SCHEDULED" else found.lower()
        now = status(states, jobs)
        # A cell whose jobs all wait has begun nevertheless.
        return "RUNNING" if now == "SCHEDULED" else now, now.lower()

    def status_of_row(self, row: str) -> tuple[Status, str]:
        """The worst status of a row's begun cells, and the same for people."""
        found = [self.status_of(cell) for cell in self.begun if self.cells[cell]["row"] == row]
        return next((one for kind in WORST_FIRST for one in found if one[0] == kind), FINISHED)

    def status_of_all(self) -> Status:
        """The last status of the study."""
        ends = {self.status_of(cell)[0] for cell in self.begun}
        return "FAILED" if "FAILED" in ends else "KILLED" if "KILLED" in ends else "FINISHED"

    def end_ms(self, jobs: Mapping[str, JobView], found: Status) -> int | None:
        """When a run of these jobs ended; None: it goes on, or nobody knows."""
        if found == "RUNNING":
            return None
        if any(view.state in ("running", "unknown") for view in jobs.values()):
            return int(1000 * self.end_s)
        ends = [view.ended for view in jobs.values() if view.ended is not None]
        return int(1000 * max(ends)) if ends else None
