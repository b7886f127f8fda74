"""Results that somebody edits: who reads them says so, and what no manifest names is no result."""

from pathlib import Path

import pytest
from finished_study import finished_study

from orchestrator.errors import ArtifactMissing
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.rebuild import report_if_needed
from orchestrator.study import Study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return finished_study(tmp_path / "study", monkeypatch)


def scored(study: Study) -> tuple[str, Path]:
    """A job with scores, and its artifact."""
    reader = ArtifactReader(study.plan, study.store)
    job = next(job for job in study.plan.jobs if study.plan.jobs[job].branch is not None and reader.cases(job))
    return job, study.store.fetch(study.plan.jobs[job].fingerprint)


def test_a_score_that_was_edited_in_place_is_in_no_report(study: Study) -> None:
    job, folder = scored(study)
    path = folder / "cases.jsonl"
    text = path.read_text(encoding="utf-8")
    path.chmod(0o644)
    path.write_text(text.replace("0.5", "0.9", 1), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text and path.stat().st_size == len(text.encode())
    with pytest.raises(ArtifactMissing, match=r"cases\.jsonl has sha256 .*, committed was .*; `run --refresh JOB`"):
        ArtifactReader(study.plan, study.store).cases(job)


def test_files_that_somebody_adds_are_no_results(study: Study) -> None:
    job, folder = scored(study)
    (folder / "cases.jsonl").rename(folder / "metrics.jsonl")  # a file that was not committed, in place of none
    with pytest.raises(ArtifactMissing, match=r"cases\.jsonl is gone"):
        ArtifactReader(study.plan, study.store).cases(job)
    (folder / "metrics.jsonl").rename(folder / "cases.jsonl")
    (folder / "metrics.jsonl").write_text("not even a line", encoding="utf-8")
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_text("no picture", encoding="utf-8")
    reader = ArtifactReader(study.plan, study.store)
    assert reader.series(job) == ([], [], {})
    assert reader.images(job) == []


@pytest.mark.slow  # a whole report, twice
def test_an_edited_report_is_written_again(study: Study) -> None:
    folder = study.report_folder
    assert report_if_needed(folder, study.plan, study.standings(), study.store)
    table = folder / "results.csv"
    written = table.read_bytes()
    table.write_bytes(written.replace(b"0.5", b"0.9"))
    assert table.read_bytes() != written
    assert report_if_needed(folder, study.plan, study.standings(), study.store)
    assert table.read_bytes() == written
    assert not report_if_needed(folder, study.plan, study.standings(), study.store)
