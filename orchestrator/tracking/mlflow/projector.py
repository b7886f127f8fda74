"""MLflow projection: idempotent writes of runs, metrics and files.

A run is looked up by tag before it is created. What has been sent already is read back from MLflow when a
run is first used, so no second record can disagree with it after a kill. The time of a value is the run's
start plus its step in seconds. Only this process writes.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, RunTag, ViewType

from orchestrator.tracking.mlflow.database import prepare_database
from orchestrator.tracking.mlflow.projection import (
    CELL_TAG,
    PARAMS,
    PARENT_TAG,
    STUDY_TAG,
    Point,
    artifact_path,
    batches,
    branch_points,
    final_status,
    series_points,
    status,
)
from orchestrator.tracking.mlflow.sqlite_file import ARTIFACTS, SQLITE, database_path, follow_home
from workloads.contract.metrics import case_of, metric_of

REQUESTS_PER_S = 20  # design, Budgets: in all


@dataclass(kw_only=True)
class Run:
    """One MLflow run, and what it contains already."""

    id: str
    start_ms: int
    status: str
    sent: dict[str, int]
    """Metric -> last step."""
    params: set[str]
    tags: dict[str, str]


@dataclass(kw_only=True)
class MetricsTail:
    """A growing metrics.jsonl, read up to `offset`."""

    path: Path
    offset: int = 0


@dataclass(kw_only=True)
class CellView:
    """One cell, as its message described it."""

    message: Mapping[str, Any]
    run: Run | None = None


@dataclass(kw_only=True)
class JobView:
    """One job, as its last message described it."""

    state: str
    stage: str
    branch: str
    curve: str
    """Metric of its series that is kept whole; empty: no series is followed."""
    files: list[tuple[str, str, int | None]]
    """Folder of the artifact, glob, and how many at most are shown."""
    pointer: str
    """File of the artifact that is only pointed to; empty: none."""
    cells: list[str]
    attempt: str | None = None
    tail: MetricsTail | None = None
    artifact: Path | None = None
    git: str = ""
    """Commit of the code that made the artifact."""
    version: str = ""
    """And its version."""
    shown: set[str] = field(default_factory=set)
    """Cells its artifact has been shown with."""


class Projector:
    """Brings MLflow in line with the messages."""

    def __init__(self, home: Path, uri: str | None, study: Mapping[str, Any], hurry: threading.Event) -> None:
        """Open or create the study's parent run; once `hurry` is set, requests are not rate-limited.

        Raises:
            TrackingError, MlflowException, sqlite3.Error: MLflow cannot be used.
        """
        self.notes: list[str] = []
        """What the user should know."""
        self._home = home
        experiment, database = str(study["experiment"]), database_path(home, uri)
        if database is not None:
            note = prepare_database(database, own=uri is None)
            self.notes += [note] if note else []
            follow_home(database, experiment, home / ARTIFACTS)
        self._client = MlflowClient(tracking_uri=uri or f"{SQLITE}{database}")
        self._next = 0.0
        self._hurry = hurry
        self._experiment = self._experiment_of(experiment, None if database is None else home / ARTIFACTS)
        self._parent = self._find_or_create(STUDY_TAG, study["key"], study["name"], study["tags"])
        self._cells: dict[str, CellView] = {}
        self._jobs: dict[str, JobView] = {}
        self._end_orphaned_runs()
        self._set_status(self._parent, "RUNNING")

    def cell(self, message: Mapping[str, Any]) -> None:
        """Record a cell; its run is created when one of its jobs changes."""
        self._cells.setdefault(message["id"], CellView(message=message))

    def job(self, message: Mapping[str, Any]) -> None:
        """Record a job's new state, and update the statuses of its cells."""
        view = self._jobs.setdefault(
            message["job"],
            JobView(
                state=message["state"],
                stage=message["stage"],
                branch=message["branch"] or "",
                curve=message["curve"],
                files=message["files"],
                pointer=message["pointer"],
                cells=message["cells"],
            ),
        )
        view.state, view.attempt = message["state"], message["attempt"]
        if view.curve and message["work"] is not None:
            path = Path(message["work"]) / "metrics.jsonl"
            if view.tail is None or view.tail.path != path:
                view.tail = MetricsTail(path=path)
        if message["artifact"] is not None:
            view.artifact, view.tail = Path(message["artifact"]), None
        view.git, view.version = message["git"] or view.git, message["version"] or view.version
        if view.state in ("running", "done", "failed", "cancelled", "unknown"):
            for cell in view.cells:
                self._show_status(cell)
        if view.artifact is not None and view.state == "done":
            self._show_artifact(message["job"], view)

    def follow(self) -> None:
        """Send what has been appended to the series of running jobs."""
        for view in list(self._jobs.values()):
            if view.tail is None or view.state not in ("running", "unknown"):
                continue
            lines = list(_appended(view.tail))
            for cell in view.cells if lines else ():
                run = self._run(cell)
                self._send(run, series_points(view.stage, view.curve, lines, run.sent))

    def report(self, folder: Path) -> None:
        """Log the report to the parent run."""
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                self._call(self._client.log_artifact, self._parent.id, str(path), "report")

    def finish(self) -> None:
        """Send the rest, and leave no run RUNNING."""
        self._hurry.set()
        self.follow()
        ends = []
        for cell, view in self._cells.items():
            if view.run is not None:
                ends.append(final_status(self._states(cell), list(view.message["jobs"])))
                self._set_status(view.run, ends[-1])
                self._tag(view.run, "state", ends[-1].lower())
        whole = "FAILED" if "FAILED" in ends else "KILLED" if "KILLED" in ends else "FINISHED"
        self._set_status(self._parent, whole)

    def _end_orphaned_runs(self) -> None:
        """Set KILLED the runs of this study that a killed controller left RUNNING."""
        for found in self._search("attributes.status = 'RUNNING'"):
            tags = found.data.tags
            if CELL_TAG in tags and tags.get(PARENT_TAG) == self._parent.id:
                self._call(self._client.set_terminated, found.info.run_id, status="KILLED")

    def _show_status(self, cell: str) -> None:
        run = self._run(cell)
        jobs, states = self._cells[cell].message["jobs"], self._states(cell)
        found = status(states, list(jobs))
        # A cell whose jobs all wait has begun nevertheless.
        self._set_status(run, "RUNNING" if found == "SCHEDULED" else found)
        self._tag(run, "state", found.lower())
        for job, name in jobs.items():
            if job in states:
                self._tag(run, f"state.{name.replace('/', '.')}", states[job])

    def _states(self, cell: str) -> dict[str, str]:
        """The states of a cell's jobs: as last reported, else as they were when the run started."""
        message = self._cells[cell].message
        return {**message["states"], **{job: self._jobs[job].state for job in message["jobs"] if job in self._jobs}}

    def _show_artifact(self, job: str, view: JobView) -> None:
        folder = view.artifact
        if folder is None:
            return
        for cell in view.cells:
            if cell in view.shown:
                continue
            run = self._run(cell)
            if view.curve:
                for key, value in (("commit", view.git), ("version", view.version)):
                    if value:
                        self._tag(run, key, value)
                lines = _appended(MetricsTail(path=folder / "metrics.jsonl"))
                self._send(run, series_points(view.stage, view.curve, lines, run.sent))
            if view.pointer:
                self._log_pointer(run, cell, job, view, folder)
            if view.branch:
                lines = _appended(MetricsTail(path=folder / "cases.jsonl"), case_of)
                self._send(run, branch_points(view.branch, lines, run.sent))
            for kind, pattern, most in view.files:
                paths = sorted((folder / kind).glob(pattern))[:most]
                self._log_files(run, paths, artifact_path(view.branch or view.stage, kind))
            view.shown.add(cell)

    def _log_pointer(self, run: Run, cell: str, job: str, view: JobView, folder: Path) -> None:
        fingerprint = self._cells[cell].message["fingerprints"].get(job, "")
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "checkpoint.json"
            # Relative to the study's folder, so that it still leads there when that has been moved.
            place = folder.relative_to(self._home) if folder.is_relative_to(self._home) else folder
            pointer = {"job": job, "fingerprint": fingerprint, "folder": str(place), "weights": view.pointer}
            path.write_text(json.dumps(pointer, indent=1), encoding="utf-8")
            self._log_files(run, [path], view.stage)

    def _log_files(self, run: Run, paths: Sequence[Path], where: str) -> None:
        """Log the files that the run does not have yet."""
        if not paths:
            return
        logged = {item.path.rsplit("/", 1)[-1] for item in self._call(self._client.list_artifacts, run.id, where)}
        for path in paths:
            if path.name not in logged:
                self._call(self._client.log_artifact, run.id, str(path), where)

    def _send(self, run: Run, points: Sequence[Point]) -> None:
        for batch in batches(points):
            metrics = [Metric(p.name, p.value, run.start_ms + 1000 * p.step, p.step) for p in batch]
            self._call(self._client.log_batch, run.id, metrics=metrics)
            for point in batch:
                run.sent[point.name] = max(point.step, run.sent.get(point.name, -1))

    def _run(self, cell: str) -> Run:
        view = self._cells[cell]
        if view.run is None:
            message = view.message
            tags = {**message["tags"], PARENT_TAG: self._parent.id}
            view.run = self._find_or_create(CELL_TAG, message["key"], message["name"], tags)
            fresh = sorted((k, v) for k, v in message["params"].items() if k not in view.run.params)
            for i in range(0, len(fresh), PARAMS):
                params = [Param(k, v) for k, v in fresh[i : i + PARAMS]]
                self._call(self._client.log_batch, view.run.id, params=params)
        return view.run

    def _find_or_create(self, tag: str, key: str, name: str, tags: Mapping[str, str]) -> Run:
        wanted = {**tags, tag: key, "mlflow.runName": name, "mlflow.source.name": "echo-matrix"}
        found = self._search(f"tags.`{tag}` = '{key}'")
        if not found:
            start_ms = int(time.time() * 1000)
            made = self._call(self._client.create_run, self._experiment, start_ms, tags=wanted, run_name=name)
            return Run(id=made.info.run_id, start_ms=start_ms, status="RUNNING", sent={}, params=set(), tags=wanted)
        # The oldest: two controllers at once may have created two, and both must choose the same one.
        run = min(found, key=lambda r: (r.info.start_time, r.info.run_id))
        sent = {metric: self._last_step(run.info.run_id, metric) for metric in run.data.metrics}
        known = Run(
            id=run.info.run_id,
            start_ms=run.info.start_time,
            status=run.info.status,
            sent=sent,
            params=set(run.data.params),
            tags=dict(run.data.tags),
        )
        changed = [RunTag(k, v) for k, v in wanted.items() if known.tags.get(k) != v]
        if changed:
            self._call(self._client.log_batch, known.id, tags=changed)
            known.tags |= wanted
        return known

    def _last_step(self, run: str, metric: str) -> int:
        history = self._call(self._client.get_metric_history, run, metric)
        return max((point.step for point in history), default=-1)

    def _set_status(self, run: Run, wanted: str) -> None:
        if run.status == wanted:
            return
        if wanted in ("FINISHED", "FAILED", "KILLED"):
            self._call(self._client.set_terminated, run.id, status=wanted)
        else:
            self._call(self._client.update_run, run.id, status=wanted)
        run.status = wanted

    def _tag(self, run: Run, key: str, value: str) -> None:
        if run.tags.get(key) != value:
            self._call(self._client.set_tag, run.id, key, value)
            run.tags[key] = value

    def _search(self, condition: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            experiments = [self._experiment]
            page = self._call(
                self._client.search_runs, experiments, condition, ViewType.ACTIVE_ONLY, 1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _experiment_of(self, name: str, artifacts: Path | None) -> str:
        """The study's experiment; one that was deleted is restored, since its name cannot be given again."""
        known = self._call(self._client.get_experiment_by_name, name)
        if known is not None:
            if known.lifecycle_stage == LifecycleStage.DELETED:
                self._call(self._client.restore_experiment, known.experiment_id)
                self.notes.append(
                    f"the experiment {name!r} had been deleted in MLflow, and is restored with its runs; "
                    "tracking.kind: none in the cluster file turns tracking off"
                )
            return str(known.experiment_id)
        location = None if artifacts is None else artifacts.resolve().as_uri()
        # Without the kind, MLflow 3 shows the experiment as traces and prompts, without its trainings.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._call(self._client.create_experiment, name, artifact_location=location, tags=kind))

    def _call(self, request: Callable[..., Any], *values: Any, **options: Any) -> Any:
        """Make one request, within the rate limit while a study runs."""
        wait = self._next - time.monotonic()
        if wait > 0:
            self._hurry.wait(wait)
        self._next = time.monotonic() + 1 / REQUESTS_PER_S
        return request(*values, **options)


def _appended(
    tail: MetricsTail, line_of: Callable[[bytes], dict[str, Any] | None] = metric_of
) -> Iterator[dict[str, Any]]:
    """Complete lines after `offset`, which moves behind them; a line still being written is left for later.

    An invalid line (`line_of` returns None) is skipped.
    """
    try:
        with tail.path.open("rb") as file:
            file.seek(tail.offset)
            data = file.read()
    except OSError:
        return
    whole = data[: data.rfind(b"\n") + 1]
    tail.offset += len(whole)
    for line in whole.splitlines():
        known = line_of(line)
        if known is not None:
            yield known
