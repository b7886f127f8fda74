"""The runs of one study in MLflow: found, created and brought in line with few requests.

All of them are read at once; from then on only differences are sent, as explicit ids and whole batches. What is
written twice is one point: the time of a value is the run's start plus its step in seconds. Only this process writes.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, RunTag, ViewType

from orchestrator.tracking.mlflow.projection import BATCH, IN_TAG, PARAMS, PARENT_TAG, STUDY_TAG, Point

REQUESTS_PER_S = 20  # design, Budgets: in all
PAGE = 1000
"""Runs of one answer."""
CLOCKS_MS = 60_000
"""By how much two clocks may differ without a time being corrected."""
ENDED = ("FINISHED", "FAILED", "KILLED")

HOME_TAG = "echo_matrix.home"
"""Tag with the identity of the study's folder."""


class RequestPace:
    """Makes requests one after the other, within a rate limit until `hurry` is set."""

    def __init__(self, hurry: threading.Event) -> None:
        self._hurry = hurry
        self._next = 0.0
        self.requests = 0
        """How many have been made."""

    def __call__(self, request: Callable[..., Any], *values: Any, **options: Any) -> Any:
        """Make one request, and return its answer."""
        wait = self._next - time.monotonic()
        if wait > 0:
            self._hurry.wait(wait)
        self._next = time.monotonic() + 1 / REQUESTS_PER_S
        self.requests += 1
        return request(*values, **options)


@dataclass(kw_only=True)
class Run:
    """One MLflow run, and what it contains already."""

    id: str
    start_ms: int
    end_ms: int | None
    status: str
    sent: dict[str, int] = field(default_factory=dict)
    """Metric -> last step."""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    """Metric -> last value."""
    has_model: bool = False
    """It has a logged model."""
    new: bool = False
    """This process has created it, so it has no files yet."""


@dataclass(frozen=True, kw_only=True)
class RunName:
    """Which run is meant."""

    kind: str
    """Tag that holds its key: a cell's, the parent's."""
    key: str
    name: str
    """For people."""
    of: str = ""
    """Key of the parent; empty: it is the parent."""


class Runs:
    """The runs of a study's folder in one experiment."""

    def __init__(self, client: MlflowClient, experiment: str, home: str, pace: RequestPace) -> None:
        """Read all of them; `home`: identity of the folder, empty where the database is its own.

        Raises:
            MlflowException: MLflow does not answer.
        """
        self._client = client
        self.experiment = experiment
        """Its id."""
        self._experiment_tags: dict[str, str] | None = None
        self._home = home
        self._call = pace
        self._found: dict[tuple[str, str, str], Run] = {}
        """By parent's key, kind and key."""
        self._all: list[Run] = []
        self._read()

    def open(self, name: RunName, tags: Mapping[str, str], start_ms: int) -> Run:
        """Find or create a run; `start_ms` is the start of one that is created."""
        known = self._found.get((name.of, name.kind, name.key))
        wanted = {**tags, name.kind: name.key, "mlflow.runName": name.name, "mlflow.source.name": "echo-matrix"}
        wanted |= {IN_TAG: name.of} if name.of else {}
        wanted |= {HOME_TAG: self._home} if self._home else {}
        if known is None:
            made = self._call(self._client.create_run, self.experiment, start_ms, tags=wanted, run_name=name.name)
            known = Run(id=made.info.run_id, start_ms=start_ms, end_ms=None, status="RUNNING", tags=wanted, new=True)
            self._found[name.of, name.kind, name.key] = known
            self._all.append(known)
        else:
            self.log(known, tags=wanted)
        return known

    def find(self, name: RunName) -> Run | None:
        """A run, if there is one."""
        return self._found.get((name.of, name.kind, name.key))

    def discard(self, name: RunName) -> None:
        """Delete a run whose values are no longer the study's; MLflow keeps it among the deleted ones.

        Values of a run can be added and never changed.
        """
        run = self._found.pop((name.of, name.kind, name.key))
        self._all.remove(run)
        self._call(self._client.delete_run, run.id)

    def log(
        self,
        run: Run,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send what the run does not have, in as few requests as MLflow's limits allow.

        Parameters cannot be changed: only missing ones are sent. Of `points`, the caller leaves out what was sent.
        """
        changed = [(key, value) for key, value in (tags or {}).items() if run.tags.get(key) != value]
        fresh = [(key, value) for key, value in sorted((params or {}).items()) if key not in run.params]
        while changed or fresh or points:
            some, changed = changed[:PARAMS], changed[PARAMS:]
            few, fresh = fresh[:PARAMS], fresh[PARAMS:]
            room = BATCH - len(some) - len(few)
            batch, points = points[:room], points[room:]
            self._call(
                self._client.log_batch,
                run.id,
                metrics=[Metric(p.name, p.value, run.start_ms + 1000 * p.step, p.step) for p in batch],
                params=[Param(key, value) for key, value in few],
                tags=[RunTag(key, value) for key, value in some],
            )
            for point in batch:
                run.values[point.name] = point.value
                run.sent[point.name] = max(point.step, run.sent.get(point.name, -1))
            run.params |= dict(few)
            run.tags |= dict(some)

    def add_files(self, run: Run, paths: Collection[Path], where: str, *, replace: bool = False) -> None:
        """Log the files that the folder `where` of the run does not have yet; with `replace`, all."""
        if not paths:
            return
        logged: set[str] = set()
        if not (run.new or replace):
            logged = {item.path.rsplit("/", 1)[-1] for item in self._call(self._client.list_artifacts, run.id, where)}
        for path in paths:
            if path.name not in logged:
                self._call(self._client.log_artifact, run.id, str(path), where)

    def set_status(self, run: Run, wanted: str, end_ms: int | None = None) -> None:
        """Set a run's status.

        Args:
            run: the run.
            wanted: the status.
            end_ms: when it ended; None: it goes on, or nobody knows.
        """
        moved = end_ms is not None and (run.end_ms is None or abs(run.end_ms - end_ms) > CLOCKS_MS)
        if run.status == wanted and not moved:
            return
        if wanted in ENDED or end_ms is not None:
            end_ms = max(end_ms or int(time.time() * 1000), run.start_ms)
            self._call(self._client.set_terminated, run.id, status=wanted, end_time=end_ms)
            run.end_ms = end_ms
        else:
            self._call(self._client.update_run, run.id, status=wanted)
        run.status = wanted

    def of(self, parent: str) -> list[Run]:
        """The runs of rows and cells of a parent, given its key."""
        return [run for run in self._all if run.tags.get(IN_TAG) == parent]

    def request(self, name: str, *values: Any, **options: Any) -> Any:
        """Make a request of MlflowClient by its name."""
        return self._call(getattr(self._client, name), *values, **options)

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment where they differ."""
        if self._experiment_tags is None:
            self._experiment_tags = dict(self.request("get_experiment", self.experiment).tags)
        for key, value in tags.items():
            if self._experiment_tags.get(key) != value:
                self.request("set_experiment_tag", self.experiment, key, value)
                self._experiment_tags[key] = value

    def end_orphans(self, kept: Collection[str] = ()) -> None:
        """Set KILLED the runs that a killed controller left RUNNING, but for those with an id in `kept`."""
        for run in self._all:
            if run.status == "RUNNING" and run.id not in kept:
                self.set_status(run, "KILLED")

    def _read(self) -> None:
        found = sorted(self._search(), key=lambda run: (run.info.start_time, run.info.run_id))
        # Earlier versions named the parent by the id of its run alone.
        parents = {run.info.run_id: run.data.tags[STUDY_TAG] for run in found if STUDY_TAG in run.data.tags}
        for run in found:
            tags = dict(run.data.tags)
            known = Run(
                id=run.info.run_id,
                start_ms=run.info.start_time,
                end_ms=run.info.end_time or None,
                status=run.info.status,
                # Only this form of the answer has the steps.
                sent={metric.key: metric.step for metric in run.data.to_proto().metrics},
                params=dict(run.data.params),
                values=dict(run.data.metrics),
                has_model=bool(run.outputs and run.outputs.model_outputs),
                tags=tags,
            )
            self._all.append(known)
            of = tags.get(IN_TAG) or parents.get(tags.get(PARENT_TAG, ""), "")
            for kind in (tag for tag in tags if tag.startswith("echo_matrix.") and tag not in (HOME_TAG, IN_TAG)):
                # The oldest: two controllers at once may have created two, and both must choose the same one.
                self._found.setdefault((of, kind, tags[kind]), known)

    def _search(self) -> Iterator[Any]:
        condition = f"tags.`{HOME_TAG}` = '{self._home}'" if self._home else ""
        token = None
        while True:
            page = self._call(
                self._client.search_runs, [self.experiment], condition, ViewType.ACTIVE_ONLY, PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def experiment_id(client: MlflowClient, pace: RequestPace, name: str, artifacts: Path | None) -> tuple[str, str]:
    """The experiment of this name, made where there is none, and what the user should know (or nothing).

    One that was deleted is restored, since its name cannot be given again.

    Args:
        client: of MLflow.
        pace: makes the requests.
        name: of the experiment.
        artifacts: folder with the files of its runs; None: the server has its own place.
    """
    known = pace(client.get_experiment_by_name, name)
    if known is not None:
        if known.lifecycle_stage != LifecycleStage.DELETED:
            return str(known.experiment_id), ""
        pace(client.restore_experiment, known.experiment_id)
        return str(known.experiment_id), (
            f"the experiment {name!r} had been deleted in MLflow, and is restored with its runs; "
            "tracking.kind: none in the cluster file turns tracking off"
        )
    location = None if artifacts is None else artifacts.resolve().as_uri()
    # Without the kind, MLflow 3 shows the experiment as traces and prompts, without its trainings.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return str(pace(client.create_experiment, name, artifact_location=location, tags=kind)), ""
