"""The report's input from COMMITs: aliases, missing parts, and a report that is not rebuilt for nothing."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from made_plan import STAGES, STEPS, made_plan, standing, write_artifact

from orchestrator.plan.job import Standing
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.collect import case_values, report_input
from orchestrator.reporting.rebuild import _named, _source_of, input_digest, rebuild_if_changed, report_if_needed
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Commit
from reports.columns import columns
from reports.comparable import violations
from reports.results_csv import results_csv
from workloads.study.workload import WORKLOAD


def commit(store, job, started=1.0, order="s"):
    folder = write_artifact(store.prepare(job.stage, job.fingerprint, "a1"), job.stage)
    records = {"steps": STEPS, "sample_order": order * 64} if job.stage == "train" else {}
    assert store.commit(
        Commit(
            fingerprint=job.fingerprint, attempt="a1", stage=job.stage, branch=job.branch, job=job.id, label=job.label,
            manifest="", inputs={}, code="c", git="abc123", versions={}, host_kind="cpu", started=started, ended=3.0,
            result={"steps": STEPS, "records": records, "cost": {"flops": 5.0}},
        ),
        folder,
    )  # fmt: skip


@pytest.fixture
def study(tmp_path):
    plan = made_plan()
    home = tmp_path / "outputs" / "toy"
    store = FilesStore(home / "store")
    lost = plan.jobs_of["context-k5/s0"]["judge/return"]
    for job in plan.jobs.values():
        if job.id != lost:
            commit(store, job)
    standings = {job: standing("done") for job in plan.jobs}
    standings[lost] = Standing(state="failed", reason="no answer from the judge")
    return plan, standings, store, home


def test_every_name_of_a_computation_gets_its_own_lines(study):
    given = report_input(*study[:3])
    lines = {row: [(v.case, v.metric, v.value) for v in given.values if v.row == row] for row in
             ("context-k1", "spatial-withheld", "context-k5")}  # fmt: skip
    assert lines["context-k1"] == lines["spatial-withheld"]
    assert len(lines["context-k1"]) == 4
    assert [row.alias_of for row in given.rows] == [None, None, "context-k1"]


def test_the_jobs_behind_the_values_are_named_with_their_runs_and_no_job_that_is_not_done(study):
    plan, standings, store, _ = study
    given = report_input(plan, standings, store, runs={"context-k5/s0": "https://tracker/#/experiments/7/runs/r2"})
    labels = {cell: sorted(one.job for one in given.sources if f"{one.row}/s{one.seed}" == cell) for cell in
              ("context-k1/s0", "context-k5/s0", "spatial-withheld/s0")}  # fmt: skip
    own = [name for name, job in plan.jobs_of["context-k5/s0"].items() if plan.jobs[job].spec.tracked]
    assert len(labels["context-k5/s0"]) == len(own) - 1, "its judge has failed"
    assert labels["context-k1/s0"] == labels["spatial-withheld/s0"], "another name of a row has the same jobs"
    assert {one.fingerprint for one in given.sources} <= {job.fingerprint for job in plan.jobs.values()}
    assert {one.run for one in given.sources if one.row == "context-k5"} == {"https://tracker/#/experiments/7/runs/r2"}
    assert {one.run for one in given.sources if one.row != "context-k5"} == {""}


def test_a_record_that_the_others_contradict_makes_a_row_not_comparable(tmp_path):
    plan, store = made_plan(), FilesStore(tmp_path / "store")
    for job in plan.jobs.values():
        commit(store, job, order="t" if job.label == "train/context-k5/s0" else "s")
    standings = {job: standing("done") for job in plan.jobs}
    [violation] = violations(report_input(plan, standings, store).controls)
    assert (violation.check, violation.branch) == ("sample_order", "")
    assert violation.rows == ["context-k5"]
    of_some = case_values(ArtifactReader(plan, store), standings, plan.cells[1:2])
    assert violations(of_some.controls) == (violation,), "whichever rows are asked for"
    marked = results_csv(columns(of_some.values), violations(of_some.controls)).splitlines()
    assert marked[0].endswith(",value,controls")
    assert {line.rpartition(",")[2] for line in marked[1:]} == {"violated"}


def test_a_failed_part_is_missing_with_its_reason(study):
    (part,) = report_input(*study[:3]).missing
    assert (part.row, part.branch, part.state) == ("context-k5", "return", "failed")
    assert part.reason == "judge: no answer from the judge"


def test_a_missing_training_is_one_part_and_not_all_its_branches(study):
    plan, standings, store, _ = study
    for job in plan.jobs_of["context-k5/s0"].values():
        if plan.jobs[job].fingerprint in store.commits():
            store.withdraw(plan.jobs[job].fingerprint)
    missing = report_input(plan, standings, store).missing
    assert [(part.row, part.branch) for part in missing] == [("context-k5", "train")]


def test_costs_curves_strips_and_notes_are_there(study):
    given = report_input(*study[:3])
    assert given.git == "abc123"
    assert len(given.curves) == 3
    assert list(given.curves[0].steps) == list(range(1, STEPS + 1))
    train = next(cost for cost in given.costs if cost.stage == "train")
    assert train.values == {"flops": 5.0, "device_s": 2.0}
    assert {strip.case for strip in given.strips} == {"worlds/open-00-0/0"}
    assert any("One seed" in note for note in given.notes)
    assert any("bypassed" in note for note in given.notes)


def test_equal_inputs_have_equal_digests_and_others_others(study):
    given = report_input(*study[:3])
    assert input_digest(given) == input_digest(report_input(*study[:3]))
    assert input_digest(given) != input_digest(dataclasses.replace(given, profile="evening"))


def test_the_report_is_written_once_and_kept_when_the_profile_changes(study, tmp_path):
    folder = tmp_path / "report"
    given = dataclasses.replace(report_input(*study[:3]), strips=[])
    assert rebuild_if_changed(folder, given)
    assert not rebuild_if_changed(folder, given)
    assert rebuild_if_changed(folder, dataclasses.replace(given, profile="evening"))
    assert (tmp_path / "report-laptop" / "index.html").is_file()
    assert "evening" in (folder / "index.html").read_text()
    findings = json.loads((folder / "report.json").read_text())["findings"]
    assert findings[0]["detail"] == "the plan is without the branch replay"


def test_a_report_that_was_cut_off_half_way_is_written_again_though_its_input_returns(study, tmp_path):
    folder = tmp_path / "report"
    given = dataclasses.replace(report_input(*study[:3]), strips=[])
    assert rebuild_if_changed(folder, given)
    before = (folder / "report.json").read_bytes()
    (folder / "index.html").unlink()
    (folder / "index.html").mkdir()  # the last file cannot be put in its place
    with pytest.raises(OSError):
        rebuild_if_changed(folder, dataclasses.replace(given, values=given.values[1:]))
    assert (folder / "report.json").read_bytes() != before
    (folder / "index.html").rmdir()
    assert rebuild_if_changed(folder, given)
    assert (folder / "report.json").read_bytes() == before


def test_a_finished_study_is_not_read_again(study, tmp_path):
    plan, standings, store, _home = study
    folder = tmp_path / "report"
    assert report_if_needed(folder, plan, standings, store)

    class Unread:
        revision = store.revision

        def __getattr__(self, name):
            raise AssertionError(f"the store was asked for {name}")

    assert not report_if_needed(folder, plan, standings, Unread())
    for name in ("results.csv", "report.json", "index.html"):
        (folder / name).unlink()
        assert report_if_needed(folder, plan, standings, store)
        assert (folder / name).is_file()
    commit(store, plan.jobs[plan.jobs_of["context-k5/s0"]["judge/return"]])
    assert report_if_needed(folder, plan, standings, store)


def test_the_digest_holds_no_address_of_this_process_and_no_folder_of_this_checkout(study):
    given = report_input(*study[:3])
    written = json.dumps(dataclasses.asdict(given.spec), default=_named)
    assert "workloads.study.report._questions" in written
    assert " at 0x" not in written
    assert str(Path.cwd()) not in written
    other = dataclasses.replace(given, spec=dataclasses.replace(given.spec, main_table="context"))
    assert input_digest(other) != input_digest(given)


def test_a_derived_metric_may_be_a_function_without_a_file():
    assert _source_of(max) == b"<built-in function max>"
    assert b"def gated(" in _source_of(WORKLOAD.derived[0].value)


def test_reading_the_input_imports_neither_scipy_nor_matplotlib():
    import subprocess

    code = "import orchestrator.reporting.rebuild, orchestrator.tracking.registry;"
    code += "import orchestrator.tracking.mlflow.tracker, sys;"
    code += "print([m for m in ('scipy','matplotlib','numpy','mlflow','torch','ray','boto3') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def with_bounds(plan):
    """The same plan with a ceiling: a cell that lists a training, as any, and needs none."""
    truth = dataclasses.replace(
        plan.cells[0],
        id="bound-truth/s0",
        row="bound-truth",
        family="bound",
        reference=True,
        alias_of=None,
        fingerprint="b" * 64,
    )
    jobs_of = {**plan.jobs_of, truth.id: plan.jobs_of["context-k1/s0"]}
    return dataclasses.replace(plan, cells=(*plan.cells, truth), jobs_of=jobs_of)


def test_a_bound_has_values_and_neither_training_nor_curve_nor_verdict(study):
    plan, standings, store, _ = study
    before, given = report_input(*study[:3]), report_input(with_bounds(plan), standings, store)
    assert given.rows[-1].family == "bound"
    assert sum(v.row == "bound-truth" for v in given.values) == 4
    assert given.curves == before.curves
    assert given.controls.verdicts == before.controls.verdicts
    assert not [cost for cost in given.costs if cost.row == "bound-truth" and cost.stage == "train"]
    assert any("ceiling" in note for note in given.notes)
    assert not any("ceiling" in note for note in before.notes)
    store.withdraw(plan.jobs[plan.jobs_of["context-k1/s0"]["train"]].fingerprint)
    missing = report_input(with_bounds(plan), standings, store).missing
    assert not [part for part in missing if part.row == "bound-truth"]


def noted(plan, branches, study):
    cells = tuple(dataclasses.replace(cell, branches=branches) for cell in plan.cells)
    return " ".join(report_input(dataclasses.replace(plan, cells=cells), *study[1:3]).notes)


def test_notes_name_the_networks_that_the_branches_name(study):
    stand_ins = {"cases": 2, "perceptual": "random", "frechet": "random", "frechet_video": "random"}
    said = noted(study[0], {"replay": stand_ins}, study)
    assert "LPIPS, FID and FVD need pretrained networks" in said
    assert "are named rf_distance, rf_frechet and rf_frechet_video" in said
    said = noted(study[0], {"replay": {**stand_ins, "perceptual": "vgg", "frechet": "inception"}}, study)
    assert "FVD need pretrained networks" in said
    assert "named rf_frechet_video:" in said
    assert "rf_distance" not in said
    assert "LPIPS is measured on VGG16; published values are AlexNet's." in said
    real = {"perceptual": "alex", "frechet": "inception", "frechet_video": "i3d"}
    assert "need pretrained networks" not in noted(study[0], {"replay": real}, study)


def gated_study(tmp_path, *left_out):
    plan = made_plan(stages=(*STAGES, ("camera", "return")))
    store = FilesStore(tmp_path / "gated" / "store")
    for job in plan.jobs.values():
        if job.stage not in left_out:
            commit(store, job)
    return plan, {job: standing("done") for job in plan.jobs}, store


def test_derived_metrics_stand_beside_those_of_jobs_under_every_name_of_a_row(tmp_path):
    given = report_input(*gated_study(tmp_path))
    for row in ("context-k1", "spatial-withheld", "context-k5"):
        lines = {(v.case[-3], v.metric, v.unit): v.value for v in given.values if v.row == row}
        assert (lines["0", "judge", "points:mask"], lines["1", "judge", "points:mask"]) == (10.0, 20.0)
        assert (lines["0", "judge_gated", "points:mask"], lines["1", "judge_gated", "points:mask"]) == (0.0, 20.0)
        assert lines["0", "judge_gated_most", "points:mask"] == 10.0, "what is not measurable counts in the bound"
    both = [v for v in given.values if v.metric != "judge_gated"]
    assert [v for v in both if not v.metric.startswith(("judge_gated", "camera"))] == [
        v for v in report_input(*gated_study(tmp_path / "none", "camera")).values
    ]


def test_without_the_camera_there_is_no_gated_score_and_its_job_is_missing(tmp_path):
    given = report_input(*gated_study(tmp_path, "camera"))
    assert {v.metric for v in given.values} == {"psnr_first", "judge"}


def test_what_a_stage_tells_is_a_note_of_the_report_once(tmp_path):
    plan, standings, store = gated_study(tmp_path, "camera")
    told = "return has no gate: the camera moves by up to 1 m"
    for job in plan.jobs.values():
        if job.stage == "camera":
            folder = write_artifact(store.prepare(job.stage, job.fingerprint, "a1"), job.stage)
            made = Commit(
                fingerprint=job.fingerprint, attempt="a1", stage=job.stage, branch=job.branch, job=job.id,
                label=job.label, manifest="", inputs={}, code="c", git="abc123", versions={}, host_kind="cpu",
                started=1.0, ended=3.0, result={"steps": 2, "records": {"no_gate": {told: 2}}, "cost": {}},
            )  # fmt: skip
            assert store.commit(made, folder)
    assert [note for note in report_input(plan, standings, store).notes if "no gate" in note] == [told]
