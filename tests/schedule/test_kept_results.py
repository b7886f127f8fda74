"""`gc` keeps what recorded runs asked for, by the fingerprints in the ledger."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from recorded_run import make_results, record, run, write_matrix

from orchestrator.commands.gc.garbage import FoundGarbage, find_garbage, remove_garbage
from orchestrator.commands.gc.kept_results import RECENT, UNKNOWN
from orchestrator.errors import LeaseError, PlanError
from orchestrator.opening import open_study, reopen_study
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.study import Study

DAY_S = 86400.0
OTHER = ("controls.training.steps=800",)


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ECHO_MATRIX_HOME", raising=False)
    return write_matrix(tmp_path / "project" / "matrix.yaml")


def collect(matrix: Path, *, keep_days: float = 30.0, made_by: Sequence[str] = ()) -> tuple[Study, FoundGarbage]:
    """Find garbage as `gc` does, and remove it."""
    study = reopen_study(matrix)
    found = find_garbage(study, keep_days=keep_days, made_by=made_by)
    remove_garbage(study, found, lambda _text: None)
    return study, found


def second_file(matrix: Path, name: str = "second.yaml", steps: int = 900) -> Path:
    """Another matrix file of the same study, whose trainings have other steps."""
    path = matrix.with_name(name)
    text = matrix.read_text(encoding="utf-8")
    assert "\n    steps: 400\n" in text
    path.write_text(text.replace("\n    steps: 400\n", f"\n    steps: {steps}\n"), encoding="utf-8")
    return path


def test_what_another_file_of_the_study_made_stays_until_it_is_named(matrix: Path) -> None:
    second = second_file(matrix)
    at = time.time() - 40 * DAY_S
    mine = run(open_study(matrix), at)
    its = run(open_study(second), at + 1)
    assert mine & its and its - mine  # data and latents are shared
    study, found = collect(matrix)
    assert study.store.commits() == mine | its
    assert [(one.name, one.results) for one in found.apart] == [(str(second), len(its - mine))]
    second.unlink()  # what it made is not less its own
    study, found = collect(matrix, made_by=[str(second)])
    assert study.store.commits() == mine
    assert not {path.name for path in (study.home / "attempts").glob("*")} & {one[:16] for one in its - mine}
    with Ledger.read(study.home / NAME) as ledger:
        assert [run.matrix for run in ledger.recorded_runs()] == [str(matrix)]


def test_the_one_that_ran_last_does_not_count_for_the_other(matrix: Path) -> None:
    second = second_file(matrix)
    now = time.time()
    its, mine = run(open_study(second), now), run(open_study(matrix), now)
    for file in (matrix, second):
        study, found = collect(file, keep_days=0)
        assert study.store.commits() == mine | its
        assert len(found.apart) == 1


def test_runs_of_the_last_days_keep_what_they_asked_for_and_older_ones_do_not(matrix: Path) -> None:
    now = time.time()
    older = run(open_study(matrix, overrides=OTHER), now - 31 * DAY_S)
    recent = run(open_study(matrix, overrides=["controls.training.steps=900"]), now - 29 * DAY_S)
    smoke = run(open_study(matrix, smoke=True), now - 28 * DAY_S)
    last = run(open_study(matrix), now - 27 * DAY_S)
    study, found = collect(matrix)
    assert study.store.commits() == recent | smoke | last
    assert [(one.name, one.results) for one in found.apart] == [(RECENT, len((recent | smoke) - last))]
    assert older - study.store.commits()
    study, _ = collect(matrix, keep_days=0)
    assert study.store.commits() == last


def test_the_last_run_is_kept_however_old_and_whatever_the_file_says_now(matrix: Path) -> None:
    made = run(open_study(matrix, overrides=OTHER), 1.0)
    text = matrix.read_text(encoding="utf-8")
    matrix.write_text(text.replace("\n    steps: 400\n", "\n    steps: 500\n"), encoding="utf-8")
    study, _ = collect(matrix, keep_days=0)
    assert study.store.commits() == made


def test_a_folder_that_was_moved_has_the_same_files(matrix: Path) -> None:
    second = second_file(matrix)
    mine, its = run(open_study(matrix), 1.0), run(open_study(second), 1.0)
    old = run(open_study(matrix, overrides=OTHER), 0.5)
    record(open_study(matrix), 2.0)
    moved = matrix.parent.rename(matrix.parent.with_name("moved"))
    study, found = collect(moved / "matrix.yaml")
    assert study.store.commits() == mine | its
    assert old - mine - its
    assert [one.name for one in found.apart] == [str(moved / "second.yaml")]
    assert collect(moved / "matrix.yaml", made_by=[str(moved / "second.yaml")])[0].store.commits() == mine


def test_a_rebuilt_ledger_knows_no_runs_so_that_all_is_kept_until_it_is_asked_for(matrix: Path) -> None:
    whole = open_study(matrix)
    mine, made = run(whole, 1.0), run(open_study(matrix, overrides=OTHER), 2.0)
    (whole.home / NAME).unlink()
    study, found = collect(matrix, keep_days=0)
    assert study.store.commits() == mine | made
    assert [(one.name, one.results) for one in found.apart] == [(UNKNOWN, len(made - mine))]
    record(whole, 3.0)  # one run later, the others are as unknown
    assert collect(matrix, keep_days=0)[0].store.commits() == mine | made
    assert collect(matrix, keep_days=0, made_by=[UNKNOWN])[0].store.commits() == mine


def test_what_a_kept_result_was_made_from_is_kept_too(matrix: Path) -> None:
    whole = open_study(matrix)
    run(open_study(matrix, overrides=OTHER), 1.0)
    record(whole, 2.0)
    later = open_study(matrix, overrides=[*OTHER, "branches.loop.cases=2"])
    made = make_results(later, "context-k1")  # of no recorded run, and from trainings of one that is too old
    trained = next(job.fingerprint for job in later.plan.jobs.values() if job.label == "train/context-k1/s0")
    assert trained in made
    assert trained in collect(matrix)[0].store.commits()


def test_a_file_of_which_no_run_is_recorded_is_refused_with_those_that_are(matrix: Path) -> None:
    second = second_file(matrix)
    run(open_study(second), 1.0)
    with pytest.raises(PlanError, match=r"'secnd.yaml', of which no run .* is recorded.*recorded: .*second.yaml"):
        collect(matrix, made_by=["secnd.yaml"])


def test_a_run_of_another_file_while_gc_searches_ends_it(matrix: Path) -> None:
    run(open_study(matrix, overrides=OTHER), 1.0)
    run(open_study(matrix), 2.0)
    study = reopen_study(matrix)
    found = find_garbage(study)
    record(open_study(second_file(matrix)), 3.0)
    with pytest.raises(LeaseError, match="run `gc` again"):
        remove_garbage(study, found, lambda _text: None)
