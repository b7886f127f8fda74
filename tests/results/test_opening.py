"""The first lines of a run: what will run, and where to look."""

from dataclasses import replace
from pathlib import Path

import pytest
from finished_study import finished_study

from orchestrator.commands.options import study_options
from orchestrator.commands.run.opening import opening_text
from orchestrator.opening import open_study
from orchestrator.plan.job import Standing
from orchestrator.plan.select import select


def test_it_counts_what_is_to_be_done_by_stage_and_names_rows_and_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = ("train/conv/s0", "evaluate/clean/conv/s0", "evaluate/shifted/conv/s0", "evaluate/clean/mlp/s0")
    study = finished_study(tmp_path, monkeypatch, without=lost)
    lines = opening_text(study, select(study.plan, rows="conv,mlp", seeds="0"), study.standings(), 0.0).splitlines()
    assert lines[:3] == [
        "digits · laptop: 4 of 7 jobs to do",
        "  1 train, 3 evaluate",
        "  2 rows: mlp, conv; 1 seed: 0",
    ]
    assert lines[3].startswith("  estimated: 4 jobs, ")
    assert "in another terminal: echo-matrix status --watch (also: results, ui, stop)" in lines
    assert f"all files are in {tmp_path / 'outputs' / 'digits'}" in lines
    assert max(map(len, lines[:-1])) <= 80
    elsewhere = replace(study, matrix=Path("other/matrix.yaml"))
    assert "status --watch --matrix other/matrix.yaml" in opening_text(
        elsewhere, study.plan.jobs, study.standings(), 0.0
    )


@pytest.mark.parametrize(
    ("file", "option"),
    [("cluster/bucket.yaml", "bucket"), ("cluster/fake.yaml", "fake"), ("lab/my bucket.yaml", "'lab/my bucket.yaml'")],
)
def test_the_command_that_it_names_has_the_cluster_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, option: str
) -> None:
    study = finished_study(tmp_path, monkeypatch)
    assert study_options(study) == ""
    assert study_options(replace(study, cluster_file=Path(file))) == f" --cluster {option}"


def test_with_nothing_to_do_it_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = finished_study(tmp_path, monkeypatch)
    assert opening_text(study, study.plan.jobs, study.standings(), 0.0) == ""


def test_it_names_the_rows_that_the_profile_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = finished_study(tmp_path, monkeypatch, without=("evaluate/clean/conv/s0",))
    text = finished.matrix.read_text(encoding="utf-8")
    finished.matrix.write_text(text.replace("  laptop:\n", "  laptop:\n    rows: [mlp]\n"), encoding="utf-8")
    study = open_study(finished.matrix)
    assert study.plan.added == {"linear": "results", "conv": "results"}
    lines = opening_text(study, study.plan.jobs, study.standings(), 0.0).splitlines()
    assert lines[3] == "  beside the rows of profile laptop: conv (with results)", "linear has nothing left to do"
    shared = next(job.id for job in study.plan.jobs.values() if job.stage in study.plan.workload.shared)
    standings = {**study.standings(), shared: Standing(state="new", reason="")}
    assert "beside" not in opening_text(study, [shared], standings, 0.0), "what all rows need is not theirs"
