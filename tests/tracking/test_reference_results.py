"""The result of a job of all reference rows, as each reader sees it: a row's own part, found by what the row is."""

import dataclasses
import json

import pytest
from made_plan import made_plan, standing, write_artifact

from orchestrator.crate.layout import values_of
from orchestrator.crate.rerun_comparison import _moved
from orchestrator.plan.job import part_of
from orchestrator.reporting.collect import report_input
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Commit
from orchestrator.tracking.mlflow.job_view import JobView
from orchestrator.tracking.mlflow.projection import cell_message
from orchestrator.tracking.mlflow.thinning import Thinner
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.protocol import JobChange
from orchestrator.tracking.replay import shown_files
from workloads.contract.derived import DerivedMetric
from workloads.study.workload import WORKLOAD

ROWS = {"ceiling": "truth", "again": "truth", "floor": "anchor", "nowhere": "stops"}
"""Name of a reference row -> what it shows; two of them are one row."""
PARTS = {shows: part_of({"family": "bound", "shows": shows}) for shows in ROWS.values()}


@pytest.fixture
def study(tmp_path):
    """A plan with these rows, whose job is done: the ceiling's judge says 10 and 20, the floor's 11 and 21."""
    plain = made_plan(("context-k1",), alias=None)
    rows = {name: {"family": "bound", "shows": shows} for name, shows in ROWS.items()}
    cells = [
        dataclasses.replace(
            plain.cells[0], id=f"{name}/s0", row=name, family="bound", reference=True, evaluated=row, fingerprint=name
        )
        for name, row in rows.items()
    ]
    job = dataclasses.replace(
        next(iter(plain.jobs.values())),
        id="bound/return/0123456789ab",
        label="bound/return",
        spec=WORKLOAD.by_name["bound"],
        branch="return",
        fingerprint="b" * 64,
        config={"references": {part: {"family": "bound", "shows": shows} for shows, part in PARTS.items()}},
        seed=None,
        cells=tuple(cell.id for cell in cells),
    )
    plan = dataclasses.replace(
        plain,
        cells=(*plain.cells, *cells),
        jobs={**plain.jobs, job.id: job},
        jobs_of={**plain.jobs_of, **{cell.id: {"bound/return": job.id} for cell in cells}},
    )
    store = FilesStore(tmp_path / "store")
    folder = store.prepare(job.stage, job.fingerprint, "a1")
    for more, shows in enumerate(("truth", "anchor")):
        part = write_artifact(folder / PARTS[shows], "evaluate")
        lines = [json.loads(line) for line in (part / "cases.jsonl").read_text().splitlines()]
        moved = [json.dumps({**line, "value": line["value"] + more}) + "\n" for line in lines]
        (part / "cases.jsonl").write_text("".join(moved))
    commit = Commit(
        fingerprint=job.fingerprint, attempt="a1", stage=job.stage, branch=job.branch, job=job.id, label=job.label,
        manifest="", inputs={}, code="", git="", versions={}, host_kind="", started=0.0, ended=1.0,
        result={"records": {"left_out": {PARTS["stops"]: "it is the truth"}}},
    )  # fmt: skip
    assert store.commit(commit, folder)
    return plan, job, store, folder


def test_each_row_gets_its_own_lines_and_images_and_a_reason_where_it_has_none(study):
    plan, _, store, _ = study
    given = report_input(plan, {one: standing("done") for one in plan.jobs}, store)
    values = {row: [v.value for v in given.values if v.row == row] for row in ROWS}
    assert values == {"ceiling": [10.0, 20.0], "again": [10.0, 20.0], "floor": [11.0, 21.0], "nowhere": []}
    assert {strip.row: strip.path.split("/")[-3] for strip in given.strips} == {
        "ceiling": PARTS["truth"], "again": PARTS["truth"], "floor": PARTS["anchor"],
    }  # fmt: skip
    assert [(one.row, one.branch, one.reason) for one in given.left_out] == [("nowhere", "return", "it is the truth")]
    assert not [one for one in given.missing if one.row in ROWS]


def test_a_job_that_is_not_done_is_missing_for_each_of_its_rows(study):
    plan, job, store, _ = study
    store.withdraw(job.fingerprint)
    missing = report_input(plan, {one: standing("new") for one in plan.jobs}, store).missing
    assert {one.row for one in missing if one.branch == "return"} >= set(ROWS)


def test_the_tracker_shows_a_cell_what_is_in_its_part(study):
    plan, job, _, folder = study
    message = cell_message(plan, plan.cells[-2], {})
    assert message["row"] == "floor" and message["parts"] == {job.id: PARTS["anchor"]}
    assert cell_message(plan, plan.cells[0], {})["parts"] == {}
    view = JobView(
        state="done",
        stage="bound",
        branch="return",
        curve="",
        files=[],
        pointer="",
        cells=[],
        thinner=Thinner(curve=""),
    )
    view.artifact = folder
    assert [line["value"] for line in view.part(PARTS["anchor"]).cases()] == [11.0, 21.0]
    assert view.part("") is view and view.cases() == []
    lines = view.part(PARTS["anchor"]).cases()
    view.items = [lines[0]["case"]]
    own = [line for line in lines if line["case"] == lines[0]["case"]]
    assert view.part(PARTS["anchor"]).cases() == own, "an artifact may have other jobs' cases too"
    assert f"{PARTS['truth']}/strips/*.png" in shown_files(job) and "strips/*.png" in shown_files(job)


class Told(MlflowTracker):
    """A tracker without a child: what one would be told is looked at."""

    def _ensure_started(self):
        return True

    @property
    def messages(self):
        return [json.loads(line) for line in self._told.values()]


def test_the_tracker_derives_metrics_of_a_cell_from_its_part(study, tmp_path):
    plan, job, _, folder = study
    for shows, left in (("truth", 1.0), ("anchor", 0.0)):
        lines = [("judge", "points:mask", 80.0), ("camera_left", "1", left)]
        lines += [("camera_measurable", "1", 1.0), ("camera_refused", "1", 0.0)]
        with (folder / PARTS[shows] / "cases.jsonl").open("a", encoding="utf-8") as file:
            for metric, unit, value in lines:
                line = {"case": "worlds/open-00-0/0", "metric": metric, "unit": unit, "better": "high", "value": value}
                file.write(json.dumps(line) + "\n")
    tracker = Told(tmp_path / "home", plan, None)
    tracker.job_changed(JobChange(job.id, standing("done"), artifact=folder))
    derived = {one["cell"]: one["lines"] for one in tracker.messages if one["op"] == "derived"}
    assert {cell: lines[0]["value"] for cell, lines in derived.items()} == {
        "ceiling/s0": 80.0, "again/s0": 80.0, "floor/s0": 0.0,
    }  # fmt: skip
    assert {lines[0]["metric"] for lines in derived.values()} == {"judge_gated"}


def test_a_derived_metric_that_fails_is_told_once_and_the_job_is_shown(study, tmp_path):
    plan, job, _, folder = study
    broken = DerivedMetric(name="half", of=("psnr_first",), value=lambda value: value / 0)
    plan = dataclasses.replace(plan, workload=dataclasses.replace(plan.workload, derived=(broken,)))
    said = []
    tracker = Told(tmp_path / "home", plan, None, said.append)
    tracker.job_changed(JobChange(job.id, standing("done"), artifact=folder))
    assert {one["op"] for one in tracker.messages} == {"cell", "job"}
    assert len(said) == 1 and "derived metric 'half' of psnr_first 10.0: its function raises ZeroDivision" in said[0]


def test_a_crate_has_the_values_of_all_parts_and_a_rerun_compares_them(study, tmp_path):
    _, job, _, folder = study
    assert f"{PARTS['anchor']}/cases.jsonl" in values_of(job)
    (other := tmp_path / "other").mkdir()
    for part in PARTS.values():
        if (folder / part).is_dir():
            (other / part).mkdir()
            (other / part / "cases.jsonl").write_text((folder / PARTS["truth"] / "cases.jsonl").read_text())
    assert [one.distance for one in _moved(job, folder, other)] == [0.0, 1.0]
