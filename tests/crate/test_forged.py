"""Changed results are found: by the digests, by the chain of commit records, by the report; and what none can find."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from forging import (
    change_json,
    folder_of,
    forge_value,
    remake_report,
    resign_commit,
    resign_files,
    resign_manifest,
    sha256,
)

from orchestrator.crate.audit import audit_crate, audit_records
from orchestrator.crate.description import read_description, read_plan
from orchestrator.crate.findings import AuditCheck
from orchestrator.crate.layout import CODE, ENVIRONMENT, MATRIX, PLAN, STUDY, commit_path
from orchestrator.crate.listing import listing_of
from orchestrator.crate.recorded_checks import check_code
from orchestrator.crate.replanning import check_plan, plan_anew
from orchestrator.errors import CrateError
from orchestrator.plan.job import Job
from orchestrator.plan.select import find_job
from orchestrator.study import Study

ALLOWED = ("digits_study.workload",)


def told(checks: Iterable[AuditCheck]) -> dict[str, list[str]]:
    """Name of each check that is not right -> its differences, or what it could not check, as text."""
    return {
        check.name: [
            *(f"{one.where}: expected {one.expected}, found {one.found}; {one.means}" for one in check.differences),
            *check.unchecked,
        ]
        for check in checks
        if check.verdict != "right"
    }


def wrong(crate: Path) -> dict[str, list[str]]:
    return told(audit_crate(crate, ALLOWED).checks)


def wrong_records(crate: Path, expected: str = "") -> dict[str, list[str]]:
    """The same without planning and report, which take most of the time."""
    return told(audit_records(crate, read_plan(crate), read_description(crate), expected)[2])


def wrong_plan(crate: Path) -> list[str]:
    """What is wrong with the plan alone."""
    anew = plan_anew(crate, read_description(crate), ALLOWED)
    return told([check_plan(read_plan(crate), anew)])["plan"]


def job(study: Study, label: str) -> Job:
    return find_job(study.plan, label)


@pytest.mark.slow  # a report
def test_an_untouched_crate_is_right(crate: Path) -> None:
    found = audit_crate(crate, ALLOWED)
    assert [(check.name, check.verdict) for check in found.checks] == [
        (name, "right")
        for name in (
            "files",
            "commit records",
            "chain of inputs",
            "artifacts",
            "fingerprints",
            "environment",
            "plan",
            "code",
            "controls",
            "report",
        )
    ]
    says = {check.name: check.says for check in found.checks}
    assert says["report"] == "96 values; 3 of 3 files made again byte for byte"
    assert says["commit records"] == "19 commit records against the plan; 19 of 19 jobs done"
    assert says["chain of inputs"].startswith("30 inputs of 19 results")


def test_a_forged_score_is_found_by_its_digest(crate: Path, study: Study) -> None:
    path = forge_value(crate, job(study, "evaluate/clean/mlp/s0"), 0.99)
    place = str(path.relative_to(crate))
    assert wrong_records(crate)["files"][0].startswith(f"{place}: expected sha256 ")
    resign_files(crate)
    found = wrong_records(crate)
    assert list(found) == ["artifacts"]
    assert found["artifacts"] == [
        f"{place}: expected sha256 {sha256_recorded(crate, study)}, found sha256 {sha256(path)}; "
        "this is not what evaluate/clean/mlp/s0 has written"
    ]


def sha256_recorded(crate: Path, study: Study) -> str:
    job_ = job(study, "evaluate/clean/mlp/s0")
    return next(entry.sha256 for entry in study.store.manifest(job_.fingerprint) if entry.path == "cases.jsonl")


def test_a_forged_score_with_a_new_manifest_is_found_by_the_commit_record(crate: Path, study: Study) -> None:
    forged = job(study, "evaluate/clean/mlp/s0")
    forge_value(crate, forged, 0.99)
    resign_manifest(crate, forged)
    resign_files(crate)
    found = wrong_records(crate)
    assert list(found) == ["artifacts"]
    assert found["artifacts"][0].endswith("the manifest of evaluate/clean/mlp/s0 is not the one that was committed")


@pytest.mark.slow  # three reports
def test_what_is_changed_with_every_digest_and_the_report_only_a_published_digest_finds(
    crate: Path, study: Study
) -> None:
    published = listing_of(crate).digest
    forged = job(study, "evaluate/clean/mlp/s0")
    forge_value(crate, forged, 0.99)
    resign_manifest(crate, forged)
    resign_commit(crate, forged)
    resign_files(crate)
    found = wrong(crate)
    assert list(found) == ["report"]
    assert "results.csv: mlp 0 clean digits/0/0 accuracy share high: expected 0.99, found 0.7" in found["report"][0]
    remake_report(crate, study.plan)
    resign_files(crate)
    assert not wrong(crate)  # `--rerun` compares with what the code makes: test_run_again.py
    assert "was published, or it was changed" in wrong_records(crate, published[:12])["files"][0]


def test_a_swapped_checkpoint_is_found_by_the_records_of_what_was_made_from_it(crate: Path, study: Study) -> None:
    trained, other = job(study, "train/mlp/s0"), job(study, "train/conv/s0")
    better = {entry.path: entry.sha256 for entry in study.store.manifest(other.fingerprint)}["result.bin"]

    def swap(manifest: dict[str, list[dict[str, object]]]) -> None:
        next(entry for entry in manifest["files"] if entry["path"] == "result.bin")["sha256"] = better

    change_json(folder_of(crate, trained) / "manifest.json", swap)
    resign_commit(crate, trained)
    resign_files(crate)
    found = wrong_records(crate)
    assert list(found) == ["chain of inputs"]
    assert [line.partition(":")[0] for line in found["chain of inputs"]] == [
        "evaluate/clean/mlp/s0",
        "evaluate/shifted/mlp/s0",
    ]
    assert "evaluate/clean/mlp/s0 was made from another result of train/mlp/s0" in found["chain of inputs"][0]


def test_a_result_that_is_left_out_is_found(crate: Path, study: Study) -> None:
    (crate / commit_path(job(study, "evaluate/shifted/mlp/s1").fingerprint)).unlink()
    found = wrong_records(crate)
    assert "evaluate/shifted/mlp/s1: expected a commit record, found none" in found["commit records"][0]
    assert "no such file" in found["files"][0]


def test_another_value_in_the_matrix_is_found_and_named(crate: Path) -> None:
    matrix = crate / MATRIX
    matrix.write_text(matrix.read_text(encoding="utf-8").replace("batch: 64", "batch: 32"), encoding="utf-8")
    found = wrong_plan(crate)
    assert all("training.batch is 32 by the matrix and 64 in plan.json" in line for line in found)
    assert [line.partition(":")[0] for line in found] == [
        f"train/{row}/s{seed}" for row in ("linear", "mlp", "conv") for seed in (0, 1)
    ]


def test_a_changed_plan_does_not_fit_its_fingerprints(crate: Path) -> None:
    text = (crate / PLAN).read_text(encoding="utf-8")
    (crate / PLAN).write_text(text.replace('"batch": 64', '"batch": 32'), encoding="utf-8")
    found = wrong_records(crate)["fingerprints"]
    assert [line.partition(":")[2].partition(":")[0].strip() for line in found] == [
        f"train/{row}/s{seed}" for row in ("linear", "mlp", "conv") for seed in (0, 1)
    ]


def test_another_revision_is_said_and_is_no_forgery(crate: Path, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(study.plan.workload.by_name["train"].__dict__, "revision", 2)
    found = wrong_plan(crate)
    assert len(found) == 1
    assert found[0].startswith("6 jobs: stage/train is 2 here and was 1; the code of this installation")


def test_code_that_did_not_run_is_found(crate: Path) -> None:
    folder = crate / CODE / ("0" * 64)
    folder.mkdir(parents=True)
    (folder / "train.py").write_text("print('better')\n", encoding="utf-8")
    assert "this is not the code that ran" in told([check_code(crate, {}, "")])["code"][0]


def test_a_workload_of_a_stranger_is_not_imported(crate: Path) -> None:
    matrix = crate / MATRIX
    text = matrix.read_text(encoding="utf-8")
    matrix.write_text(text.replace("digits_study.workload", "antigravity"), encoding="utf-8")
    found = {check.name: check for check in audit_crate(crate, ALLOWED).checks}
    assert "names the workload 'antigravity', which is no part of this software" in found["plan"].unchecked[0]
    assert [found[name].verdict for name in ("controls", "report", "chain of inputs")] == ["open", "open", "right"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda job: job["inputs"].update(split="split/000000000000"), "needs .*, which is no job of the plan"),
        (lambda job: job.update(seed=True), "seed is 'True', bool; allowed: int or null"),
        (lambda job: job.update(fingerprint="x"), "fingerprint is 'x'; allowed: the 64 hex digits"),
        (lambda job: job.update(id="other"), "needs"),
    ],
)
def test_a_broken_job_of_a_plan_is_bad_input(crate: Path, change: Callable[[Any], object], said: str) -> None:
    change_json(crate / PLAN, lambda plan: change(next(job for job in plan["jobs"] if job["inputs"])))
    with pytest.raises(CrateError, match=said):
        read_plan(crate)


def test_a_job_of_reference_rows_without_any_is_bad_input(crate: Path) -> None:
    def change(plan: Any) -> None:
        for stage in plan["workload"]["stages"]:
            stage["row"] = "references"

    change_json(crate / PLAN, change)
    with pytest.raises(CrateError, match="its config has no references, and it is of reference rows"):
        read_plan(crate)


def test_a_cell_whose_row_is_no_name_is_bad_input(crate: Path) -> None:
    change_json(crate / PLAN, lambda plan: plan["cells"][0].update(row=["mlp"]))
    with pytest.raises(CrateError, match=r"row is .*, list; allowed: str"):
        audit_crate(crate, ALLOWED)


@pytest.mark.parametrize(("name", "read"), [(PLAN, read_plan), (STUDY, read_description)])
def test_a_file_that_is_not_in_the_crate_is_named(crate: Path, name: str, read: Callable[[Path], object]) -> None:
    (crate / name).unlink()
    with pytest.raises(CrateError, match=f"{name} is not in the crate; get it again from where it was published"):
        read(crate)


def test_versions_that_no_commit_record_has_are_found(crate: Path) -> None:
    change_json(crate / ENVIRONMENT, lambda content: content["jobs"][0].update(host_kind="NVIDIA H200"))
    assert "it is not what the commit records say" in wrong_records(crate)["environment"][0]


def test_a_plan_that_is_nested_too_deep_is_bad_input(crate: Path) -> None:
    deep = '{"a":' * 700 + "1" + "}" * 700
    text = (crate / PLAN).read_text(encoding="utf-8")
    (crate / PLAN).write_text(text.replace('"batch": 64', f'"batch": {deep}'), encoding="utf-8")
    with pytest.raises(CrateError, match="nested too deep"):
        audit_crate(crate, ALLOWED)


@pytest.mark.parametrize("name", [STUDY, PLAN])
@pytest.mark.parametrize("content", ["[]", '{"version": 1}', "{", '{"version": 1, "missing": [1], "durations": {}}'])
def test_a_broken_description_is_bad_input(crate: Path, name: str, content: str) -> None:
    (crate / name).write_text(content, encoding="utf-8")
    with pytest.raises(CrateError, match=f"{name}: is not as `export` writes it"):
        audit_crate(crate, ALLOWED)
