"""`audit --rerun`: which jobs are run again, and when their results agree with the recorded ones."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forging import sha256
from toy_study import commit_of

from orchestrator.commands.audit.rerun import rerun_study
from orchestrator.crate.audit import Audit
from orchestrator.crate.description import read_description
from orchestrator.crate.layout import MATRIX
from orchestrator.crate.rerun_choice import choose_jobs
from orchestrator.crate.rerun_comparison import JobResult, compare_results, machine_differences
from orchestrator.errors import PlanError
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.select import find_job
from orchestrator.store.protocol import Commit, ManifestEntry
from orchestrator.study import Study
from workloads.contract.stage import StageSpec, Tolerance

AVX512 = {"numerics": {"cpu_capability": "AVX512"}, "threads": 1}
AVX2 = {"numerics": {"cpu_capability": "AVX2"}, "threads": 1}


def commits_of(plan: Plan, seconds: Mapping[str, float]) -> dict[str, Commit]:
    """Commit records of all jobs; `seconds`: part of a label -> how long such jobs took."""
    found = {}
    for job in plan.jobs.values():
        took = next((long for part, long in seconds.items() if part in job.label), 1.0)
        found[job.id] = replace(commit_of(job, "a001"), started=0.0, ended=took)
    return found


def test_the_cheapest_cell_of_all_stages_is_chosen_with_all_that_it_needs(study: Study) -> None:
    commits = commits_of(study.plan, {"mlp": 9.0, "conv": 5.0, "linear/s0": 2.0})
    choice = choose_jobs(study.plan, commits, {})
    assert [job.label for job in choice.jobs] == [
        "split",
        "train/linear/s1",
        "evaluate/clean/linear/s1",
        "evaluate/shifted/linear/s1",
    ]
    assert (choice.seconds, choice.refused) == (4.0, {})


def test_named_jobs_are_run_with_all_that_they_need(study: Study) -> None:
    choice = choose_jobs(study.plan, commits_of(study.plan, {}), {}, ["evaluate/clean/conv/*"])
    assert [job.label for job in choice.jobs] == [
        "split",
        "train/conv/s0",
        "evaluate/clean/conv/s0",
        "train/conv/s1",
        "evaluate/clean/conv/s1",
    ]
    with pytest.raises(PlanError, match="no job 'nothing'"):
        choose_jobs(study.plan, commits_of(study.plan, {}), {}, ["nothing"])


def refusing(plan: Plan, part: str) -> Plan:
    """The plan of a workload that cannot make some jobs elsewhere."""

    class Refusing(type(plan.workload)):  # type: ignore[misc]
        def cannot_rerun(self, job: Any, paths: Mapping[str, str]) -> str:
            return "it reads paths.pool, which is not set here" if part in job.label and "pool" not in paths else ""

    return replace(plan, workload=Refusing(**vars_of(plan)))


def vars_of(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan.workload, name) for name in type(plan.workload).__dataclass_fields__}


def test_what_cannot_be_made_here_is_left_out_with_all_that_needs_it(study: Study) -> None:
    plan, commits = refusing(study.plan, "linear"), commits_of(study.plan, {"mlp": 9.0})
    choice = choose_jobs(plan, commits, {})
    assert {label.split("/")[-2] for label in (job.label for job in choice.jobs) if "/" in label} == {"conv"}
    assert choice.refused["train/linear/s0"] == "it reads paths.pool, which is not set here"
    with pytest.raises(PlanError, match="evaluate/clean/linear/s0 cannot be run again here: train/linear/s0: it reads"):
        choose_jobs(plan, commits, {}, ["evaluate/clean/linear/s0"])
    assert len(choose_jobs(plan, commits, {"pool": "/data"}, ["evaluate/clean/linear/s0"]).jobs) == 3
    assert choose_jobs(refusing(study.plan, "split"), commits, {}).jobs == []


def result(
    job: Job, folder: Path, values: Mapping[str, float], records: Mapping[str, Any], wall: float = 0.0
) -> JobResult:
    folder.mkdir()
    lines = [
        {"case": case, "metric": metric, "unit": "dB", "better": "high", "value": value}
        for key, value in values.items()
        for case, metric in [key.split(":")]
    ]
    (folder / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    curve = {"step": 1, "name": "loss", "value": 0.5, "wall": wall}
    (folder / "metrics.jsonl").write_text(json.dumps(curve) + "\n", encoding="utf-8")
    manifest = [
        ManifestEntry(path=path.name, size=path.stat().st_size, sha256=sha256(path))
        for path in sorted(folder.iterdir())
    ]
    commit = replace(commit_of(job, "a001"), host_kind="cpu", versions={"torch": "2"}, result={"records": records})
    return JobResult(commit=commit, manifest=manifest, folder=folder)


@pytest.fixture
def evaluation(study: Study) -> Job:
    job = find_job(study.plan, "evaluate/clean/mlp/s0")
    spec: StageSpec = replace(job.spec, tolerances=(Tolerance(metric="psnr", most=0.05),))
    return replace(job, spec=spec)


VALUES = {"a:psnr": 10.0, "b:psnr": 20.0}


def test_equal_bits_are_equal_whatever_the_machine_and_the_time(evaluation: Job, tmp_path: Path) -> None:
    recorded = result(evaluation, tmp_path / "recorded", VALUES, AVX512)
    found = compare_results(evaluation, recorded, result(evaluation, tmp_path / "anew", VALUES, AVX2, wall=9.0))
    assert (found.equal, found.says, found.differences) == (True, "equal bits in 2 files", ())


def test_other_bits_on_an_equal_machine_are_a_forgery(evaluation: Job, tmp_path: Path) -> None:
    forged = result(evaluation, tmp_path / "recorded", {**VALUES, "b:psnr": 20.002}, AVX512)
    found = compare_results(evaluation, forged, result(evaluation, tmp_path / "anew", VALUES, AVX512))
    first, second = found.differences
    assert first.where == "evaluate/clean/mlp/s0: cases.jsonl"
    assert first.means.endswith("the recorded result was changed")
    assert second.where == "evaluate/clean/mlp/s0: mean of psnr"
    assert (second.expected, second.found) == ("15.001 dB as recorded", "15 dB here")
    assert second.means == "they differ by 0.001; most in b: 20.002 and 20"


def test_other_code_may_give_other_results_too(evaluation: Job, tmp_path: Path) -> None:
    recorded = result(evaluation, tmp_path / "recorded", VALUES, AVX512)
    anew = result(evaluation, tmp_path / "anew", {**VALUES, "b:psnr": 20.002}, AVX512)
    newer = replace(anew, commit=replace(anew.commit, code="b" * 64))
    found = compare_results(evaluation, replace(recorded, commit=replace(recorded.commit, code="a" * 64)), newer)
    assert found.differences[0].means.endswith(
        "changed, or the code gives other results without a raised revision (aaaaaaaaaaaa there, bbbbbbbbbbbb here)"
    )


def test_on_another_machine_means_may_move_as_far_as_the_study_states(evaluation: Job, tmp_path: Path) -> None:
    recorded = result(evaluation, tmp_path / "recorded", VALUES, AVX512)
    near = compare_results(
        evaluation, recorded, result(evaluation, tmp_path / "near", {**VALUES, "b:psnr": 20.08}, AVX2)
    )
    assert not near.differences and not near.unchecked and not near.equal
    assert near.says == (
        "1 file of 2 with other bits; another machine: numerics.cpu_capability AVX512 there, AVX2 here; "
        "1 mean compared, most moved psnr: 0.04"
    )
    far = compare_results(evaluation, recorded, result(evaluation, tmp_path / "far", {**VALUES, "b:psnr": 20.2}, AVX2))
    assert far.differences[0].means == "they differ by 0.1; allowed: 0.05; most in b: 20 and 20.2"


def test_what_has_no_tolerance_is_said_to_be_unchecked(evaluation: Job, tmp_path: Path) -> None:
    recorded = result(evaluation, tmp_path / "recorded", {"a:other": 1.0}, AVX512)
    found = compare_results(evaluation, recorded, result(evaluation, tmp_path / "anew", {"a:other": 1.1}, AVX2))
    assert found.unchecked == ["evaluate/clean/mlp/s0: no tolerance is stated for other"]


def test_other_bits_without_values_are_not_called_compared(study: Study, tmp_path: Path) -> None:
    train = next(job for job in study.plan.jobs.values() if job.branch is None and job.row is not None)
    recorded = result(train, tmp_path / "recorded", VALUES, AVX512)
    found = compare_results(train, recorded, result(train, tmp_path / "anew", {"a:psnr": 1.0}, AVX2))
    assert (found.compared, found.equal, list(found.differences)) == (False, False, [])
    assert found.says.endswith("; it has no values to compare")
    again = compare_results(train, recorded, result(train, tmp_path / "again", VALUES, AVX2))
    assert (again.compared, again.equal) == (True, True)


def test_the_state_with_which_a_longer_job_begins_has_times_and_is_not_compared(study: Study, tmp_path: Path) -> None:
    train = find_job(study.plan, "train/conv/s0")
    stated = replace(train, spec=replace(train.spec, states="stable"))
    recorded, anew = (result(train, tmp_path / name, {}, AVX512) for name in ("recorded", "anew"))
    state = ManifestEntry(path="stable/step-9/state.json", size=1, sha256="1" * 64)
    recorded = replace(recorded, manifest=[*recorded.manifest, state])
    assert compare_results(stated, recorded, anew).equal
    assert not compare_results(train, recorded, anew).equal


def test_a_case_that_only_one_result_has_is_a_difference_on_every_machine(evaluation: Job, tmp_path: Path) -> None:
    recorded = result(evaluation, tmp_path / "recorded", VALUES, AVX512)
    found = compare_results(evaluation, recorded, result(evaluation, tmp_path / "anew", {"a:psnr": 10.0}, AVX2))
    assert "b (in one only)" in found.differences[0].means


def test_machines_differ_by_what_decides_bits(evaluation: Job) -> None:
    commit = replace(commit_of(evaluation, "a001"), host_kind="cpu", versions={"echo-matrix": "1", "torch": "2"})
    assert machine_differences(commit, replace(commit, versions={"echo-matrix": "2", "torch": "2"})) == []
    assert machine_differences(commit, replace(commit, host_kind="NVIDIA H200")) == [
        "host_kind cpu there, NVIDIA H200 here"
    ]
    assert machine_differences(commit, replace(commit, result={"records": AVX2})) == [
        "threads not recorded there",
        "numerics not recorded there",
    ]


def test_jobs_run_in_a_folder_of_their_own_without_store_tracker_and_hooks_of_the_user(
    crate: Path, study: Study, tmp_path: Path
) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(
        "backend: ray\non_event: touch /tmp/never\ntracking: {uri: 'http://team:5000'}\n", encoding="utf-8"
    )
    given = Audit(digest="d" * 64, description=read_description(crate), commits={}, anew=study.plan, checks=[])
    found = rerun_study(given, crate, tmp_path / "work", cluster, ())
    assert found.home == tmp_path / "work" / "outputs" / "digits"
    assert (found.cluster.on_event, found.cluster.tracking.kind, found.cluster.store.kind) == (None, "none", "files")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [MATRIX]
    text = "backend: ray\nstore: {kind: s3, url: 's3://lab/ours'}\n"
    cluster.write_text(text, encoding="utf-8")
    found = rerun_study(given, crate, tmp_path / "work", cluster, ())
    assert found.store_location.url == f"s3://lab/ours/audit-{'d' * 12}/digits"
    with pytest.raises(PlanError, match=re.escape("results of backend fake have no meaning")):
        rerun_study(given, crate, tmp_path / "work", Path("fake"), ())
    with pytest.raises(PlanError, match="cannot be planned here"):
        rerun_study(replace(given, anew=None), crate, tmp_path / "work", None, ())
