"""The table of scores: what `results` prints and what `orchestrator.results` gives to Python, on one study."""

import csv
import doctest
import io
import json
from pathlib import Path

import numpy as np
import pytest
from finished_study import CASES, finished_study
from recorded_run import record

from orchestrator import results as results_module
from orchestrator.cli import app
from orchestrator.commands.run.report import report_of
from orchestrator.errors import ArtifactMissing, PlanError
from orchestrator.opening import open_study
from orchestrator.plan.recorded import plan_document, plan_of
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.collect import case_values, report_input
from orchestrator.results import Results, open_results
from orchestrator.ui.scores import scores_text
from reports.analysis import analyse
from reports.computed_json import computed_json


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    app(["results", *arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_the_example_of_the_api_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_study(tmp_path, monkeypatch)
    found = doctest.testmod(results_module)
    assert found.attempted > 5
    assert found.failed == 0


def test_the_table_has_a_line_a_row_and_marks_what_is_not_shown_to_be_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_study(tmp_path, monkeypatch)
    text = printed(capsys)
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert lines["row"].split() == ["row", "accuracy", "accuracy"]
    assert lines["share"].split() == ["share", "share"]
    assert not set("*?^") & set(lines["linear"])
    assert lines["mlp"].split()[4:] == ["?", "0.750", "±", "0.011"], "alike on clean, worse on shifted"
    assert [word for word in lines["conv"].split() if word in "*?^"] == ["?", "*"]
    assert "0.950 ± 0.0" in lines["conv"]
    assert "* is the best: every other row is shown to be worse\n? may be the best: it is not shown" in text
    assert "\nworse: paired over cases and seeds, Holm within the column, p < 0.05\n" in text
    assert "± half the 95 % interval over cases and 2 seeds" in text
    assert "missing" not in text


def test_one_seed_has_no_interval_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = finished_study(tmp_path, monkeypatch)
    text = printed(capsys, "--seeds", "1")
    assert "±" not in text
    assert "one seed: no intervals, and another training may change the order" in text
    assert "worse: paired over cases only, Holm within the column, p < 0.05" in text
    assert {score["low"] for score in Results(study).scores(seeds=1)} == {None}


def test_what_is_missing_is_said_and_what_lacks_a_seed_may_be_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = ("evaluate/shifted/conv/s1", "evaluate/clean/linear/s0", "evaluate/clean/linear/s1")
    study = finished_study(tmp_path, monkeypatch, without=lost)
    text = printed(capsys)
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert lines["linear"].split()[1] == "missing"
    assert f"({CASES}/{2 * CASES})" in lines["conv"]
    assert [word for word in lines["mlp"].split() if word in "*?^"] == ["^", "?"]
    assert lines["conv"].endswith("?"), "one of two seeds is not compared, and mlp is shown to be better than linear"
    assert "missing: 2 jobs of clean (not run), 1 job of shifted (not run); see `echo-matrix status`" in text
    assert "(k/n) k of n values exist; rows are compared over what both of them have" in text
    assert [(one["row"], one["seed"], one["branch"]) for one in Results(study).missing(rows="conv")] == [
        ("conv", 1, "shifted")
    ]


def test_before_the_first_result_it_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_study(tmp_path, monkeypatch)
    assert printed(capsys, "seeds=[7]").splitlines()[2:] == [
        "there are no scores yet",
        "missing: 3 jobs of train (not run); see `echo-matrix status`",
    ]


def test_json_and_csv_hold_the_numbers_of_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = Results(finished_study(tmp_path, monkeypatch)).scores(rows="conv,mlp", branches="shifted")
    chosen = ("--rows", "conv,mlp", "--branches", "shifted")
    told = json.loads(printed(capsys, *chosen, "--json"))
    assert told["scores"] == scores
    assert told["not_comparable"] == []
    assert {(one["comparable"], one["unanswered"]) for one in scores} == {(True, 0)}
    table = list(csv.DictReader(io.StringIO(printed(capsys, *chosen, "--csv"))))
    assert [(line["row"], float(line["mean"])) for line in table] == [(one["row"], one["mean"]) for one in scores]
    assert [score["mark"] for score in scores] == ["", "best"]


def test_the_report_shows_the_same_mean_and_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = finished_study(tmp_path, monkeypatch)
    rows = computed_json(analyse(report_input(study.plan, study.standings(), study.store)))["rows"]
    for score in Results(study).scores():
        in_report = rows[score["row"]][f"{score['branch']}/{score['metric']}"]
        assert [in_report[key] for key in ("mean", "low", "high")] == [score[key] for key in ("mean", "low", "high")]


def test_jobs_name_their_row_seed_artifact_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = finished_study(tmp_path, monkeypatch, without=("evaluate/clean/mlp/s0",))
    table = {job["label"]: job for job in Results(study).jobs(rows="mlp", seeds=[0])}
    assert {job["stage"] for job in table.values()} == {"split", "train", "evaluate"}
    train, split, lost = (table[name] for name in ("train/mlp/s0", "split", "evaluate/clean/mlp/s0"))
    assert (train["row"], train["seed"], train["state"], train["device_s"]) == ("mlp", 0, "done", 3.0)
    assert (Path(train["artifact"]) / "metrics.jsonl").is_file()
    assert (split["row"], split["seed"]) == (None, None)
    assert (lost["state"], lost["artifact"], lost["ended"]) == ("new", None, None)
    with pytest.raises(ArtifactMissing):
        Results(study).artifact("evaluate/clean/mlp/s0")


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_study(tmp_path, monkeypatch)
    with pytest.raises(PlanError, match="no row 'con' in this matrix"):
        open_results().scores(rows="con")
    with pytest.raises(PlanError, match="an empty list selects nothing"):
        open_results().scores(rows=[])


@pytest.mark.parametrize("width", [1, 34, 50, 80])
def test_columns_that_do_not_fit_form_a_further_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    study = finished_study(tmp_path, monkeypatch)
    table, *_ = scores_text(Results(study).values(), width).partition("\n* is")
    assert table.count("linear") == (1 if width >= 50 else 2)
    assert all(len(line) <= max(width, 34) for line in table.splitlines())


def test_an_excluded_cell_is_not_missing_and_a_row_is_complete_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_study(tmp_path, monkeypatch)
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(matrix.read_text() + "\nexclude:\n  - {rows: linear, seeds: 1}\n")
    text = printed(capsys)
    assert "excluded by the matrix: 1 cell; see `echo-matrix plan`" in text
    assert "missing" not in text
    scores = {score["row"]: score for score in open_results().scores(branches="clean")}
    assert [(score["values"], score["values_expected"]) for score in scores.values()] == [
        (CASES, CASES),
        (2 * CASES, 2 * CASES),
        (2 * CASES, 2 * CASES),
    ]
    assert (scores["linear"]["seeds_expected"], scores["linear"]["low"]) == (1, None)
    assert len(json.loads(printed(capsys, "--json"))["excluded"]) == 1


def test_a_smoke_run_is_in_no_table_and_makes_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = finished_study(tmp_path, monkeypatch)
    before, scores = printed(capsys), open_results().scores()
    smoke = record(open_study(Path("matrix.yaml"), smoke=True), 1.0, smoke=True)
    assert (printed(capsys), open_results().scores()) == (before, scores)
    assert (study.publishes_results, smoke.publishes_results) == (True, False)
    assert not report_of(smoke) and not smoke.report_folder.exists()


def test_seeds_may_be_integers_of_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(finished_study(tmp_path, monkeypatch))
    assert results.scores(seeds=np.int64(1)) == results.scores(seeds=1)  # type: ignore[arg-type]


def test_a_plan_that_was_recorded_without_its_code_has_values_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = finished_study(tmp_path, monkeypatch)
    recorded = plan_of(plan_document(study.plan))
    found = case_values(ArtifactReader(recorded, study.store), study.standings())
    whole = case_values(ArtifactReader(study.plan, study.store), study.standings())
    assert found.values == whole.values and {row.name for row in found.rows} == {"linear", "mlp", "conv"}
    assert all(row.factors == row.sizes == {} for row in found.rows)
