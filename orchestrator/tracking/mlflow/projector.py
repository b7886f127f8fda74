"""MLflow projection: what the messages say of cells and jobs, brought into MLflow's runs.

Messages change what is wanted; `send` compares it with what the runs hold and sends the difference. Whatever fails, all
knowledge of MLflow is dropped and read anew before the next try: it may have lost its answer, or be another server.
"""

import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from orchestrator.tracking.mlflow.content import StudyContent
from orchestrator.tracking.mlflow.database import prepare_database
from orchestrator.tracking.mlflow.identity import home_id
from orchestrator.tracking.mlflow.job_view import JobView
from orchestrator.tracking.mlflow.outages import Outage, reason_of, refuses_one_request
from orchestrator.tracking.mlflow.projection import (
    CELL_TAG,
    PARENT_TAG,
    STUDY_TAG,
    artifact_path,
    branch_points,
    place_in,
)
from orchestrator.tracking.mlflow.runs import CLOCKS_MS, RequestPace, Run, RunName, Runs, experiment_id
from orchestrator.tracking.mlflow.sqlite_file import ARTIFACTS, SQLITE, database_path, follow_home
from orchestrator.tracking.mlflow.thinning import later_than
from orchestrator.tracking.mlflow.told import ToldStudy

SHOWN_TAG = "echo_matrix.shown"
"""Tag of a cell with what it shows, as JSON: job -> manifest of its artifact and the code that showed it."""
DERIVED = " derived"
"""End of the names in it that are no jobs: a branch with its derived metrics."""
REPORT_TAG = "echo_matrix.report"
"""Tag of the parent with the digest of its report."""


class Projector:
    """Brings MLflow in line with the messages."""

    def __init__(self, home: Path, uri: str | None, study: Mapping[str, Any], hurry: threading.Event) -> None:
        """Nothing is sent yet; once `hurry` is set, requests are not rate-limited."""
        self.notes: list[str] = []
        """What the user should know; whoever passes it on empties it."""
        self.pace = RequestPace(hurry)
        self.outage = Outage()
        self.until = float("inf")
        """When to give up, by the monotonic clock."""
        self._home = home
        self._uri = uri
        self._study = study
        self._live = bool(study["live"])
        self._runs: Runs | None = None
        self._parent: Run | None = None
        self._prepared = False
        self._files_lost = False
        """The database says what is shown, and its folder of files is gone."""
        self._code = _digest_of_code()
        self._told = ToldStudy()
        self._dirty: set[str] = set()
        """Begun cells whose run may differ from what is wanted."""
        self._refused: dict[str, Exception] = {}
        """Those that MLflow refuses, while it takes the others."""
        self._objections: dict[str, int] = {}
        """How often that was."""
        self._content = StudyContent(home, study)
        self._changed_rows: set[str] = set()
        """Rows whose run may differ from what is wanted."""
        self._report: Path | None = None
        self._swept = False
        """Runs that a killed controller left RUNNING have been ended."""

    def cell(self, message: Mapping[str, Any]) -> None:
        """Record a cell; its run is created when one of its jobs changes."""
        self._told.cell(message)

    def job(self, message: Mapping[str, Any]) -> None:
        """Record a job's new state."""
        self._dirty |= self._told.job(message)
        self._content.states[message["job"]] = message["state"]

    def derived(self, message: Mapping[str, Any]) -> None:
        """Record the derived metrics of a cell on a branch."""
        self._dirty |= self._told.derive(message)

    def report(self, folder: Path) -> None:
        """The report was written: show it with the parent run; one that is gone meanwhile is not."""
        self._report = folder if folder.is_dir() else None
        self._content.load_report(folder)
        self._changed_rows.update(self._content.rows_with_values())

    def end(self) -> None:
        """The run has ended: its cells get their last status at the next `send`."""
        if not self._told.ended:
            self._told.end()
            self._dirty |= self._told.begun
            self._refused = {}

    def follow(self) -> None:
        """Read what has been appended to the series of running jobs."""
        for view in self._told.jobs.values():
            if view.grow():
                self._dirty.update(view.cells)

    def send(self) -> bool:
        """Send what differs; True: nothing is left to send. It never raises; `outage` says what went wrong."""
        if self.outage.lasts():
            return False
        try:
            runs = self._open()
            for cell in sorted(self._dirty - self._refused.keys()):
                if time.monotonic() > self.until:
                    raise TimeoutError("the time for the rest is over")
                try:
                    self._show(runs, cell)
                except Exception as error:
                    # The first time, what is known of MLflow may be outdated: somebody has deleted the run.
                    self._objections[cell] = self._objections.get(cell, 0) + 1
                    if not refuses_one_request(error) or self._objections[cell] == 1:
                        raise
                    self._refuse(cell, error)
            for view in self._told.jobs.values():
                view.fresh = []
            self._dirty = set(self._refused)
            self._show_report(runs)
            self._show_rows(runs)
            if self._told.ended:
                self._show_end(runs)
            elif not self._swept:
                runs.end_orphans(self._shown_runs(runs))
                self._swept = True
        except Exception as error:
            self._fail(error)
            return False
        if note := self.outage.end():
            self.notes.append(note)
        return not self._refused

    @property
    def problem(self) -> str:
        """Why not everything could be sent; empty: it could."""
        if self.outage.reason:
            return self.outage.reason
        refused = next(iter(self._refused.items()), None)
        return "" if refused is None else f"MLflow refuses the run of {refused[0]}: {reason_of(refused[1])}"

    def _open(self) -> Runs:
        """The runs as MLflow has them; read again after each failure."""
        if self._runs is not None:
            return self._runs
        experiment, database = str(self._study["experiment"]), database_path(self._home, self._uri)
        if database is not None and not (self._prepared and database.exists()):
            note = prepare_database(database, own=self._uri is None)
            self.notes += [note] if note else []
            follow_home(database, experiment, self._home / ARTIFACTS)
            self._prepared = True
        client = MlflowClient(tracking_uri=self._uri or f"{SQLITE}{database}")
        artifacts = None if database is None else self._home / ARTIFACTS
        self._files_lost = artifacts is not None and not artifacts.is_dir()
        number, note = experiment_id(client, self.pace, experiment, artifacts)
        self.notes += [note] if note else []
        owner = "" if self._uri is None else home_id(self._home)
        runs = Runs(client, number, owner, self.pace)
        key = str(self._study["key"]) + (f"-{owner}" if owner else "")
        start_ms = self._told.start_ms(self._told.jobs.values())
        name = RunName(kind=STUDY_TAG, key=key, name=str(self._study["name"]))
        known = runs.find(name)
        if known is not None and not self._live and known.start_ms > start_ms + CLOCKS_MS:
            runs.discard(name)
        self._parent = runs.open(name, self._study["tags"], start_ms)
        self._content.show_study(runs, self._parent)
        if self._live and not self._told.ended:
            runs.set_status(self._parent, "RUNNING")
        self._runs = runs
        return runs

    def _fail(self, error: Exception) -> None:
        """Forget what is known of MLflow, and wait."""
        note = self.outage.begin(error)
        if note and self._live and not self._told.ended:
            self.notes.append(note)
        self._runs = self._parent = None
        self._dirty |= self._told.begun
        self._changed_rows.update(self._content.rows_with_values())
        for view in self._told.jobs.values():
            view.rewind()

    def _refuse(self, cell: str, error: Exception) -> None:
        """Leave a cell out until the end of the run, which tries it once more."""
        self._refused[cell] = error
        for view in self._told.jobs.values():
            if cell in view.cells:
                view.rewind()

    def _show(self, runs: Runs, cell: str) -> None:
        """Bring one cell's run in line."""
        message, jobs = self._told.cells[cell], self._told.parts_of(cell)
        assert self._parent is not None
        name = self._name_of(cell)
        start_ms = self._told.start_ms(jobs.values())
        shown = {message["jobs"][job]: f"{view.manifest}:{self._code}" for job, view in jobs.items() if view.artifact}
        derived = self._told.derived_of(cell)
        shown |= {f"{branch}{DERIVED}": f"{_digest_of(lines)}:{self._code}" for branch, lines in derived.items()}
        known = runs.find(name)
        if known is not None and _is_of_other_results(known, shown, start_ms):
            runs.discard(name)
        found, words = self._told.status_of(cell)
        row = self._row(runs, message["row"])
        tags = {**message["tags"], PARENT_TAG: row.id, "state": words, **self._content.cell_tags(message, jobs)}
        for view in jobs.values():
            if view.curve and view.artifact:
                tags |= {key: text for key, text in (("commit", view.git), ("version", view.version)) if text}
        run = runs.open(name, {} if runs.find(name) else tags, start_ms)
        before = {} if self._files_lost else json.loads(run.tags.get(SHOWN_TAG, "{}"))
        new = {
            job: view
            for job, view in jobs.items()
            if view.artifact and before.get(message["jobs"][job]) != shown[message["jobs"][job]]
        }
        computed = [branch for branch in derived if before.get(f"{branch}{DERIVED}") != shown[f"{branch}{DERIVED}"]]
        points = [point for view in jobs.values() if not view.artifact for point in later_than(view.fresh, run.sent)]
        points += [point for view in new.values() for point in view.points(run.sent)]
        points += [point for branch in computed for point in branch_points(branch, derived[branch], run.sent)]
        tags |= self._content.description(runs, run, message, jobs, points)
        runs.log(run, points, self._content.params(message), tags)
        for job, view in new.items():
            self._add_files(runs, run, message["fingerprints"].get(job, ""), job, view)
        if new or computed:
            self._content.show_results(runs, run, message, jobs, list(new), derived, computed)
            runs.log(run, tags={SHOWN_TAG: json.dumps({**before, **shown}, sort_keys=True)})
        runs.set_status(run, found, self._told.end_ms(jobs, found))

    def _name_of(self, cell: str) -> RunName:
        assert self._parent is not None
        message = self._told.cells[cell]
        return RunName(kind=CELL_TAG, key=message["key"], name=message["name"], of=self._parent.tags[STUDY_TAG])

    def _shown_runs(self, runs: Runs) -> list[str]:
        """Ids of the runs that this study run shows."""
        assert self._parent is not None
        found = [runs.find(self._name_of(cell)) for cell in self._told.begun]
        found += [runs.find(self._content.row_name(row, self._parent)) for row in self._told.rows()]
        return [run.id for run in (self._parent, *found) if run is not None]

    def _row(self, runs: Runs, label: str) -> Run:
        """The run above a row's cells; `_show_rows` brings it in line."""
        assert self._parent is not None
        name = self._content.row_name(label, self._parent)
        self._changed_rows.add(label)
        known = runs.find(name)
        if known is not None:
            return known
        start_ms = self._told.start_ms(self._views_of(label).values())
        return runs.open(name, self._content.row_tags(label, self._parent), start_ms)

    def _views_of(self, label: str) -> dict[str, JobView]:
        """The jobs of a row, as far as they are known."""
        return self._told.views_of(self._study["rows"][label]["jobs"])

    def _show_rows(self, runs: Runs) -> None:
        """Bring the runs of rows in line, and what the study's own says of all."""
        assert self._parent is not None
        for label in sorted(self._changed_rows):
            run = self._row(runs, label)
            whole, words = self._told.status_of_row(label)
            tags = {**self._content.row_tags(label, self._parent), "state": words}
            runs.log(run, self._content.row_points(label, run), self._content.row_params(label), tags)
            runs.set_status(run, whole, self._told.end_ms(self._views_of(label), whole))
        if self._changed_rows:
            self._content.show_order(runs, self._parent)
            runs.log(self._parent, tags=self._content.study_tags(runs, self._parent))
        self._changed_rows = set()

    def _add_files(self, runs: Runs, run: Run, fingerprint: str, job: str, view: JobView) -> None:
        folder = view.artifact
        assert folder is not None
        if view.pointer:
            place = place_in(self._home, view.place)
            pointer = {"job": job, "fingerprint": fingerprint, "folder": place, "weights": view.pointer}
            with tempfile.TemporaryDirectory() as temporary:
                path = Path(temporary) / "checkpoint.json"
                path.write_text(json.dumps(pointer, indent=1), encoding="utf-8")
                runs.add_files(run, [path], view.stage)
        for kind, pattern, most in view.files:
            paths = sorted((folder / kind).glob(pattern))[:most]
            runs.add_files(run, paths, artifact_path(view.branch or view.stage, kind))

    def _show_report(self, runs: Runs) -> None:
        """Log the report to the parent run, if it has another one."""
        if self._report is None or self._parent is None:
            return
        paths = sorted(path for path in self._report.iterdir() if path.is_file() and not path.name.startswith("."))
        digest = hashlib.sha256()
        for path in paths:
            digest.update(path.name.encode() + path.read_bytes())
        if self._files_lost or self._parent.tags.get(REPORT_TAG) != digest.hexdigest():
            runs.add_files(self._parent, paths, "report", replace=True)
            self._content.show_views(runs, self._parent)
            runs.log(self._parent, tags={REPORT_TAG: digest.hexdigest()})
        self._report = None

    def _show_end(self, runs: Runs) -> None:
        """Give the parent its last status, and leave no run RUNNING."""
        assert self._parent is not None
        whole = self._told.status_of_all()
        end_ms = self._told.end_ms(self._told.jobs, whole) or (int(1000 * self._told.end_s) if self._live else None)
        runs.set_status(self._parent, whole, end_ms)
        runs.end_orphans()


def _is_of_other_results(run: Run, shown: Mapping[str, str], start_ms: int) -> bool:
    """Whether a run shows an artifact that has been made again since, or began long after what it shows."""
    before = json.loads(run.tags.get(SHOWN_TAG, "{}"))
    manifests = {name: text.partition(":")[0] for name, text in shown.items()}
    if any(name in manifests and text.partition(":")[0] != manifests[name] for name, text in before.items()):
        return True
    return run.start_ms > start_ms + CLOCKS_MS


def _digest_of(lines: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode("utf-8")).hexdigest()[:16]


def _digest_of_code() -> str:
    """Of what decides what is shown: another version shows everything anew."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
