"""What the runs of a study hold besides series and files: rows above cells, scores, descriptions, data, models, tables.

Everything follows from the messages, the artifacts and report.json, so that `sync` gives an empty server the same.
"""

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from orchestrator.host.checkpoints import attempt_folder
from orchestrator.tracking.mlflow.case_tables import CASES, TABLES_TAG, case_of_slug, case_tables, tables_tag
from orchestrator.tracking.mlflow.descriptions import DESCRIPTION_TAG, cell_text, row_text, study_text
from orchestrator.tracking.mlflow.job_view import JobView
from orchestrator.tracking.mlflow.projection import (
    IN_TAG,
    PARENT_TAG,
    ROW_TAG,
    STUDY_TAG,
    Point,
    artifact_path,
    place_in,
)
from orchestrator.tracking.mlflow.rows import (
    column_metric,
    column_title,
    columns_of,
    orders,
    progress,
    row_values,
    score_text,
    seeds_text,
)
from orchestrator.tracking.mlflow.runs import Run, RunName, Runs
from orchestrator.tracking.mlflow.views import ALL, CELLS, ROWS, runs_page, view_tags
from reports.input import NUMBERS
from workloads.contract.json_files import read_object

SETTINGS = "settings.json"
"""Artifact of the parent: the parameters in which no cells differ."""
SETTINGS_TAG = "echo_matrix.settings"
"""Tag of the parent with the digest of `SETTINGS`."""
LARGEST_REPORT = 64 << 20
SOURCE = "echo-matrix"
"""Type of a dataset's source: a job's artifact."""


class StudyContent:
    """Content of one study's run, of its rows and of its cells."""

    def __init__(self, home: Path, study: Mapping[str, Any]) -> None:
        """`study`: its message."""
        self._home = home
        self._study = study
        self.states: dict[str, str] = dict(study["states"])
        """Of all jobs, as last reported."""
        self._report: dict[str, Any] | None = None
        self._orders = orders(study, None)
        """Label of a row -> its place."""
        self.load_report(home / "report")

    def load_report(self, folder: Path) -> None:
        """Take means, intervals, ranking and findings from a report, unless it is of other settings."""
        try:
            found = read_object(folder / NUMBERS, LARGEST_REPORT)
        except (OSError, ValueError):
            return
        whole = {"rows", "columns", "findings", "controls", "missing", "intervals", "profile"} <= found.keys()
        tags = self._study["tags"]
        if whole and (found["profile"], found["controls"]["fingerprint"]) == (tags["profile"], tags["controls"]):
            self._report, self._orders = found, orders(self._study, found)

    # Rows

    def row_name(self, label: str, parent: Run) -> RunName:
        """The run of a row."""
        return RunName(kind=ROW_TAG, key=label, name=label, of=parent.tags[STUDY_TAG])

    def row_tags(self, label: str, parent: Run) -> dict[str, str]:
        """The tags of a row's run, without its state."""
        row = self._study["rows"][label]
        scores = {c["branch"]: score_text(self._report, label, c) for c in columns_of(self._study, self._report)}
        return {
            **{key: parent.tags[key] for key in ("study", "profile") if key in parent.tags},
            "kind": "reference row" if row["reference"] else "row",
            "row": row["row"],
            "family": row["family"],
            "seed": seeds_text(row["seeds"]),
            "alias_of": row["alias_of"],
            **row["axes"],
            **{f"score.{branch}": text for branch, text in scores.items() if text},
            "progress": progress(self.states, row["jobs"]),
            **self._ordered(label),
            PARENT_TAG: parent.id,
            DESCRIPTION_TAG: row_text(self._study, self.states, self._report, label),
        }

    def row_points(self, label: str, run: Run) -> list[Point]:
        """Means and limits of a row that its run does not show yet.

        The step is the number of values behind a mean, so that a later report continues the curve.
        """
        if self._report is None:
            return []
        found: list[Point] = []
        for name, (value, count) in row_values(self._study, self._report, label).items():
            if run.values.get(name) == value:
                continue
            last = run.sent.get(name, -1)
            found.append(Point(name=name, step=count if count > last else last + 1, value=value))
        return found

    def row_params(self, label: str) -> dict[str, str]:
        """The parameters in which rows differ and its own cells do not."""
        found: dict[str, str] = self._study["rows"][label]["params"]
        return found

    def rows_with_values(self) -> list[str]:
        """Rows of which the report has values."""
        entries: Mapping[str, Any] = {} if self._report is None else self._report["rows"]
        return [
            label
            for label in self._study["rows"]
            if any(entry["mean"] is not None for entry in entries.get(label, {}).values())
        ]

    def show_order(self, runs: Runs, parent: Run) -> None:
        """Sort the runs of rows and cells best first, those of earlier controllers too."""
        found = self._orders
        for run in runs.of(parent.tags[STUDY_TAG]):
            label = run.tags.get(ROW_TAG) or run.tags.get("mlflow.runName", "").rpartition("/")[0]
            if label in found and (self._report is not None or "order" not in run.tags):
                place = found[label]
                runs.log(run, tags={"order": place if ROW_TAG in run.tags else _under(place, run.tags.get("seed", ""))})

    def _ordered(self, label: str, seed: str | None = None) -> dict[str, str]:
        """The tag by which a row's or cell's run is sorted; without a report the one that it has remains."""
        found = {} if self._report is None else self._orders
        if label not in found:
            return {}
        return {"order": found[label] if seed is None else _under(found[label], seed)}

    # Cells

    def cell_tags(self, cell: Mapping[str, Any], jobs: Mapping[str, JobView]) -> dict[str, str]:
        """Progress of a cell's run, and a tag for each job that leads to its log and commit record."""
        told = self._told(cell, jobs)
        return {
            "progress": progress(self.states, cell["jobs"]),
            **self._ordered(cell["row"], cell["tags"]["seed"]),
            **{
                f"job.{one['name'].replace('/', '.')}": "; ".join(
                    filter(None, (one["state"], one["job"], one["commit"], one["log"]))
                )
                for one in told
                if one["state"]
            },
        }

    def description(
        self, runs: Runs, run: Run, cell: Mapping[str, Any], jobs: Mapping[str, JobView], points: Iterable[Point]
    ) -> dict[str, str]:
        """The tag with the description of a cell's run, which is about to get `points`."""
        values = {**run.values, **{point.name: point.value for point in points}}
        scores = {
            column_title(column): f"{values[name]:.{column['decimals']}f}"
            for column in columns_of(self._study, self._report)
            if (name := column_metric(column)) in values
        }
        here = f"#/experiments/{runs.experiment}/runs/{run.id}/artifacts"
        done = [view for view in jobs.values() if view.branch and view.artifact is not None]
        links = {f"cases of {view.branch}": f"{here}/{view.branch}/{CASES}" for view in done}
        stages = {view.stage for view in jobs.values()}
        about = [text for stage, text in self._study["about"].items() if stage in stages]
        return {DESCRIPTION_TAG: cell_text(cell, self._told(cell, jobs), scores, links, about)}

    def _told(self, cell: Mapping[str, Any], jobs: Mapping[str, JobView]) -> list[dict[str, str]]:
        return [self._job_facts(cell, job, name, jobs.get(job)) for job, name in cell["jobs"].items()]

    def params(self, cell: Mapping[str, Any]) -> dict[str, str]:
        """The parameters in which cells differ."""
        return {key: cell["params"][key] for key in self._study["varying"] if key in cell["params"]}

    def _job_facts(self, cell: Mapping[str, Any], job: str, name: str, view: JobView | None) -> dict[str, str]:
        fingerprint = cell["fingerprints"].get(job, "")
        attempt = None if view is None else view.attempt
        log = "" if attempt is None else str(attempt_folder(self._home, fingerprint, attempt) / "log.txt")
        committed = view is not None and view.artifact is not None and view.state == "done"
        return {
            "name": name,
            "job": job,
            "state": self.states.get(job, ""),
            "commit": place_in(self._home, view.record) if view is not None and committed else "",
            "log": place_in(self._home, log),
        }

    def show_results(
        self,
        runs: Runs,
        run: Run,
        cell: Mapping[str, Any],
        jobs: Mapping[str, JobView],
        new: Collection[str],
        derived: Mapping[str, Sequence[Mapping[str, Any]]],
        computed: Iterable[str],
    ) -> None:
        """Data, models and tables of the results `new` (ids of jobs); all jobs of the cell are in `jobs`.

        `derived`: branch -> lines of derived metrics; `computed`: branches on which these are new.
        """
        self._show_data(runs, run, cell)
        for job in new:
            if jobs[job].pointer:
                self._show_model(runs, run, cell, job, jobs[job])
        tables = {str(one["path"]) for one in json.loads(run.tags.get(TABLES_TAG, "[]"))}
        for branch in dict.fromkeys([*(jobs[job].branch for job in new if jobs[job].branch), *computed]):
            views = [view for view in jobs.values() if view.branch == branch]
            tables |= self._show_tables(runs, run, branch, views, derived.get(branch, ()))
        if tables:
            runs.log(run, tags={TABLES_TAG: tables_tag(tables)})

    def _show_data(self, runs: Runs, run: Run, cell: Mapping[str, Any]) -> None:
        inputs = [
            DatasetInput(
                Dataset(
                    name=one["name"],
                    digest=one["fingerprint"][:12],
                    source_type=SOURCE,
                    source=json.dumps({"job": one["job"], "fingerprint": one["fingerprint"]}),
                ),
                [InputTag(MLFLOW_DATASET_CONTEXT, one["for"])],
            )
            for one in cell["inputs"]
        ]
        if inputs:
            runs.request("log_inputs", run.id, inputs)

    def _show_model(self, runs: Runs, run: Run, cell: Mapping[str, Any], job: str, view: JobView) -> None:
        """A logged model that says where the weights are; they are not copied."""
        borrowed = cell["tags"]["kind"] != "cell"  # a ceiling or floor trains nothing
        if borrowed or view.artifact is None or run.has_model:
            return
        name = cell["id"].replace("/", "-").replace("=", "-").replace(".", "_")
        tags = {
            "job": job,
            "fingerprint": cell["fingerprints"].get(job, ""),
            "weights": place_in(self._home, f"{view.place}/{view.pointer}"),
        }
        made = runs.request("create_logged_model", runs.experiment, name, run.id, tags, self.params(cell), view.stage)
        runs.request("finalize_logged_model", made.model_id, "READY")
        runs.request("log_outputs", run.id, [LoggedModelOutput(made.model_id, 0)])
        run.has_model = True

    def _show_tables(
        self, runs: Runs, run: Run, branch: str, views: Iterable[JobView], derived: Sequence[Mapping[str, Any]]
    ) -> set[str]:
        lines: list[Mapping[str, Any]] = [*derived]
        images: dict[str, str] = {}
        for view in views:
            if view.artifact is None:
                continue
            lines += view.cases()
            cases = case_of_slug(view.artifact)
            for kind, pattern, most in view.files:
                for path in sorted((view.artifact / kind).glob(pattern))[:most]:
                    own = view.items is None or cases.get(path.stem) in view.items
                    if path.suffix == ".png" and path.stem in cases and own:
                        images[cases[path.stem]] = f"{artifact_path(branch, kind)}/{path.name}"
        # Not those of the report: a table is the same whether it was made before or after it.
        first = [column["metric"] for column in self._study["columns"] if column["branch"] == branch]
        tables = case_tables(lines, images, first)
        self._add_texts(runs, run, branch, tables)
        return {f"{branch}/{name}" for name in tables}

    # The study

    def study_tags(self, runs: Runs, parent: Run) -> dict[str, str]:
        """Progress and description of the study's run."""
        jobs = dict.fromkeys(job for row in self._study["rows"].values() for job in row["jobs"])
        key = parent.tags[STUDY_TAG]
        here = f"#/experiments/{runs.experiment}/runs"
        links = {
            "rows and cells": runs_page(runs.experiment, key, ALL),
            "rows with intervals": runs_page(runs.experiment, key, ROWS),
            "scores": runs_page(runs.experiment, key, ROWS, mode="CHART"),
            "curves": runs_page(runs.experiment, key, CELLS, mode="CHART"),
        }
        if self._report is not None:
            links["report"] = f"{here}/{parent.id}/artifacts/report/index.html"
        links["settings"] = f"{here}/{parent.id}/artifacts/{SETTINGS}"
        found = {label: runs.find(self.row_name(label, parent)) for label in self._study["rows"]}
        rows = {label: f"{here}/{run.id}" for label, run in found.items() if run is not None}
        return {
            "progress": progress(self.states, jobs),
            DESCRIPTION_TAG: study_text(self._study, self.states, self._report, links, rows),
        }

    def show_study(self, runs: Runs, parent: Run) -> None:
        """The parameters in which no cells differ, once for all, and the views."""
        self.show_views(runs, parent)
        text = json.dumps(self._study["constant"], indent=1, ensure_ascii=False)
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        if parent.tags.get(SETTINGS_TAG) != digest:
            self._add_texts(runs, parent, "", {SETTINGS: text})
            runs.log(parent, tags={SETTINGS_TAG: digest})

    def show_views(self, runs: Runs, parent: Run) -> None:
        """Views of the runs page, as tags of the experiment."""
        study = {**self._study, "key": parent.tags[STUDY_TAG]}
        runs.tag_experiment(view_tags(study, self._report, IN_TAG, parent.start_ms))

    def _add_texts(self, runs: Runs, run: Run, where: str, texts: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            paths = [Path(temporary) / name for name in texts]
            for path in paths:
                path.write_text(texts[path.name], encoding="utf-8")
            runs.add_files(run, paths, where, replace=True)


def _under(place: str, seed: str) -> str:
    """The order of a cell: below its row, by seed."""
    return f"{place}.{int(seed):04d}" if seed.isdecimal() else place
