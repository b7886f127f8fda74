"""Commands that look or stop, while matrix.yaml or what it names cannot be planned: they use the recorded run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from recorded_run import record, write_matrix

from orchestrator.commands.options import LastRunOptions, StudyOptions
from orchestrator.errors import MatrixError
from orchestrator.last_run import home_of, look_at_study
from orchestrator.opening import open_study, recorded_settings, reopen_study
from orchestrator.plan.select import find_job, select
from orchestrator.schedule.lease import acquire

RUN_AT = 1.7e9


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ECHO_MATRIX_HOME", raising=False)
    return write_matrix(tmp_path / "project" / "matrix.yaml")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def unreadable(matrix: Path) -> None:
    matrix.write_text(matrix.read_text(encoding="utf-8") + "\n  half: [", encoding="utf-8")


def of_broken_code(matrix: Path) -> None:
    (matrix.parent / "edited_workload.py").write_text("import a_module_that_is_gone\n", encoding="utf-8")
    edit(matrix, "\nmemory: ", "\nworkload: edited_workload\nmemory: ")


def without_its_profile(matrix: Path) -> None:
    edit(matrix, "\n  evening:", "\n  afternoon:")


def with_a_broken_cluster_file(matrix: Path) -> None:
    (matrix.parent / "cluster").mkdir()
    (matrix.parent / "cluster" / "local.yaml").write_text("backend: [", encoding="utf-8")


@pytest.mark.parametrize("damage", [unreadable, of_broken_code, without_its_profile, with_a_broken_cluster_file])
def test_what_cannot_be_planned_now_is_shown_as_the_last_run_had_it(
    matrix: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = record(
        open_study(matrix, profile="evening", overrides=["controls.training.steps=800"]), RUN_AT, rows="context-*"
    )
    damage(matrix)
    with pytest.raises(MatrixError):
        reopen_study(matrix)
    study = LastRunOptions(matrix=matrix).look()
    told = capsys.readouterr().err
    assert told.startswith(f"echo-matrix: {matrix} cannot be planned (")
    assert (
        "showing the plan of the last run, study 'echo-memory', profile evening with controls.training.steps=800, 2023-"
        in told
    )
    assert told.count("\n") == 1
    assert (study.plan.jobs, study.plan.jobs_of) == (before.plan.jobs, before.plan.jobs_of)
    assert (study.plan.cells, study.plan.deviations) == (before.plan.cells, before.plan.deviations)
    assert (study.cluster, study.home) == (before.cluster, before.home)
    assert select(study.plan, "family:context", "0", "loop") == select(before.plan, "family:context", "0", "loop")
    assert find_job(study.plan, "train/context-k1/s0").spec == before.plan.workload.by_name["train"]
    assert study.standings() == before.standings()


def test_a_command_line_that_fits_no_run_is_refused_as_before(matrix: Path) -> None:
    record(open_study(matrix), RUN_AT)
    for wrong in ({"profile": "evenig"}, {"overrides": ["controls.no=1"]}, {"cluster": Path("slrum")}):
        with pytest.raises(MatrixError, match=r"evenig|controls|slrum"):
            look_at_study(matrix, **wrong)  # type: ignore[arg-type]


def test_a_file_of_which_no_run_is_recorded_is_refused_though_another_one_has_run(matrix: Path) -> None:
    record(open_study(matrix), RUN_AT)
    other = matrix.with_name("other.yaml")
    other.write_text("study: [", encoding="utf-8")
    for ask in (look_at_study, home_of):
        with pytest.raises(MatrixError):
            ask(other)


def test_after_a_rename_of_the_study_its_last_run_is_shown_until_the_new_one_runs(matrix: Path) -> None:
    home = record(open_study(matrix), RUN_AT).home
    edit(matrix, "study: echo-memory", "study: renamed")
    study = look_at_study(matrix)
    assert (study.home, study.plan.study) == (home, "echo-memory")
    assert "names study 'renamed', which has not run: showing the plan of the last run" in study.notice
    record(open_study(matrix), RUN_AT)
    assert (look_at_study(matrix).plan.study, look_at_study(matrix).notice) == ("renamed", "")


def test_the_newest_run_of_the_file_is_shown_wherever_the_folder_is_now(matrix: Path) -> None:
    record(open_study(matrix), at=RUN_AT + 9)
    edit(matrix, "study: echo-memory", "study: renamed")
    record(open_study(matrix), at=RUN_AT)
    moved = matrix.parent.rename(matrix.parent.with_name("moved")) / "matrix.yaml"
    unreadable(moved)
    assert look_at_study(moved).home == moved.parent / "outputs" / "echo-memory"


@pytest.mark.parametrize("damage", [unreadable, of_broken_code, lambda path: edit(path, "study: echo-", "study: ego-")])
def test_a_run_is_stopped_whatever_the_file_says_now(
    matrix: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    home = record(open_study(matrix), RUN_AT).home
    with acquire(home):
        damage(matrix)
        assert StudyOptions(matrix=matrix).home() == home
    assert str(home.name) in capsys.readouterr().err


def test_each_file_of_a_study_has_its_own_last_run(matrix: Path) -> None:
    second = matrix.with_name("second.yaml")
    second.write_text(matrix.read_text(encoding="utf-8"), encoding="utf-8")
    record(open_study(matrix, profile="evening"), RUN_AT)
    record(open_study(second, overrides=["controls.training.steps=800"]), RUN_AT)
    assert (reopen_study(matrix).plan.profile, reopen_study(matrix).plan.overrides) == ("evening", ())
    assert reopen_study(second).plan.overrides == ("controls.training.steps=800",)
    second.unlink()  # perhaps it was renamed
    third = matrix.rename(matrix.with_name("third.yaml"))
    assert reopen_study(third).plan.overrides == ("controls.training.steps=800",)
    matrix = write_matrix(third.with_name("fourth.yaml"))
    record(open_study(third, profile="evening"), RUN_AT)
    third.unlink()
    without_its_profile(matrix)  # so that the run of the file that is gone was of another one
    assert reopen_study(matrix).plan.profile == "laptop"


def test_a_setting_that_may_hold_a_credential_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_TOKEN", "s3cret-value")
    given = ["grace_s=7", "on_event=notify --token abc", " on_event =x", "paths.pool=/data/s3cret-value"]
    assert recorded_settings(given) == ["grace_s=7"]
