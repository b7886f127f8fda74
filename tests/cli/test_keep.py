"""`gc` and `show`: what can go, what stays, and what a death in the middle leaves."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from rehearsal import CHECKOUT, FOR_EVER_S, Rehearsal, wait_for

from orchestrator.commands.gc.garbage import FoundGarbage, find_garbage, remove_garbage
from orchestrator.errors import LeaseError
from orchestrator.opening import open_study
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.lease_holder import is_held, read_holder
from orchestrator.study import Study

ROW = ("--rows", "context-k1")
TRAIN = "train/context-k1/s0"
OTHER = "controls.training.steps=80"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all of one row is done, once with other steps and once as the matrix says."""
    made = Rehearsal(tmp_path_factory.mktemp("done") / "outputs")
    assert made.call("run", *ROW, OTHER).returncode == 0
    assert made.call("run", *ROW).returncode == 0
    return made.folder


@pytest.fixture
def study(rehearsal: Rehearsal, done: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A copy of `done`."""
    shutil.copytree(done, rehearsal.folder, symlinks=True)
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(rehearsal.folder))
    return open_study(Path("matrix.yaml"), cluster=rehearsal.folder / "fake.yaml")


def found(study: Study) -> FoundGarbage:
    return find_garbage(study, keep_days=0)


def files(study: Study) -> set[Path]:
    return {path for path in study.home.rglob("*") if path.is_file()}


def inputs_that_are_gone(study: Study) -> list[str]:
    committed = study.store.commits()
    commits = [study.store.read(fingerprint) for fingerprint in committed]
    return [one.label for one in commits for source in one.inputs.values() if source["fingerprint"] not in committed]


def test_what_only_an_earlier_override_asked_for_goes_and_all_else_stays(study: Study, rehearsal: Rehearsal) -> None:
    kept = {job.fingerprint for job in study.plan.jobs.values()} & study.store.commits()
    extra = study.store.commits() - kept
    assert len(extra) >= 6
    remove_garbage(study, found(study), lambda _text: None)
    assert study.store.commits() == kept
    assert all(study.store.fetch(fingerprint).is_dir() for fingerprint in kept)
    assert not any(fingerprint[:16] in str(path) for fingerprint in extra for path in files(study))
    assert found(study).garbage == []
    assert "nothing to do" in rehearsal.call("run", *ROW).stdout


def test_whatever_was_removed_when_it_died_the_rest_is_whole_and_gone_the_next_time(
    study: Study, rehearsal: Rehearsal
) -> None:
    class Dead(Exception):
        pass

    def die(_text: str) -> None:
        raise Dead

    deaths = 0
    while (left := found(study)).garbage:
        with pytest.raises(Dead):
            remove_garbage(study, left, die)
        deaths += 1
        assert inputs_that_are_gone(study) == []
    assert deaths > 10


def test_the_artifact_of_an_open_attempt_is_left_alone(study: Study, rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", "--detach", "--rows", "context-k5", seconds=FOR_EVER_S).returncode == 0
    try:
        attempt = next(one for many in study.attempts().values() for one in many if one.ending is None)
        folder = study.store.prepare(attempt.stage, attempt.fingerprint, attempt.id)
        assert folder not in {Path(one.where) for one in found(study).garbage}
        asked = rehearsal.call("gc", "--yes", "--keep-days", "0")
        assert asked.returncode == 1
        assert "is running this study" in asked.stderr
    finally:
        rehearsal.call("stop", "--now")
    assert folder in {Path(one.where) for one in found(study).garbage}


def test_what_slurm_was_asked_with_goes_but_for_pilot_jobs_that_may_live(study: Study, rehearsal: Rehearsal) -> None:
    slurm = study.home / "slurm"
    for name in ("1a2b3c/jobs.json", "packs/pover/pack.json", "packs/pover/closed", "packs/plives/pack.json"):
        (slurm / name).parent.mkdir(parents=True, exist_ok=True)
        (slurm / name).write_text("{}")
    remove_garbage(study, found(study), lambda _text: None)
    assert sorted(str(path.relative_to(slurm)) for path in slurm.rglob("*.json")) == ["packs/plives/pack.json"]


def test_what_was_left_half_made_goes_a_day_later(study: Study, rehearsal: Rehearsal) -> None:
    left = [study.home / name for name in (".mlflow.db.7.tmp", "inbox/.1-a.json.tmp", ".driver.out.7")]
    (study.home / "inbox").mkdir(exist_ok=True)
    for path in left:
        path.write_text("half")
    assert not {Path(one.where) for one in found(study).garbage} & set(left)
    for path in left:
        os.utime(path, (0, 0))
    remove_garbage(study, found(study), lambda _text: None)
    assert not any(path.exists() for path in left)


def test_a_database_of_mlflow_that_was_replaced_goes_and_the_one_in_use_stays(study: Study) -> None:
    replaced = [study.home / f"mlflow.db.{name}" for name in ("newer-7", "older-7-wal", "broken-8")]
    for path in (*replaced, *(study.home / f"mlflow.db{ending}" for ending in ("", "-wal", "-shm"))):
        path.touch()
    gone = {Path(one.where) for one in found(study).garbage if "mlflow" in Path(one.where).name}
    assert gone == set(replaced)


def test_nothing_is_removed_while_somebody_drives(study: Study, rehearsal: Rehearsal) -> None:
    before = files(study)
    with acquire(study.home), pytest.raises(LeaseError):
        remove_garbage(study, found(study), lambda _text: None)
    assert files(study) == before


def test_an_artifact_that_was_committed_after_it_was_found_stays(study: Study, rehearsal: Rehearsal) -> None:
    fingerprint = sorted(study.store.commits() & {job.fingerprint for job in study.plan.jobs.values()})[0]
    commit = study.home / "store" / "commits" / f"{fingerprint}.json"
    commit.rename(commit.with_suffix(".later"))
    before = found(study)
    commit.with_suffix(".later").rename(commit)
    remove_garbage(study, before, lambda _text: None)
    assert study.store.fetch(fingerprint).is_dir()


def test_what_a_run_asked_for_or_left_open_since_it_was_found_stays(study: Study, rehearsal: Rehearsal) -> None:
    submission = study.home / "slurm" / "1a2b3c" / "jobs.json"
    submission.parent.mkdir(parents=True)
    submission.write_text("{}")
    before, committed = found(study), study.store.commits()
    assert rehearsal.call("run", *ROW, OTHER).returncode == 0
    with pytest.raises(LeaseError, match="run `gc` again"):
        remove_garbage(study, before, lambda _text: None)
    assert study.store.commits() == committed
    assert rehearsal.call("run", "--detach", "--rows", "context-k5", seconds=FOR_EVER_S).returncode == 0
    driver = read_holder(study.home)
    assert driver is not None
    os.kill(driver.pid, signal.SIGKILL)
    wait_for(lambda: not is_held(study.home), "the killed driver lives on")
    with pytest.raises(LeaseError, match="run `gc` again"):
        remove_garbage(study, before, lambda _text: None)
    assert submission.exists()


def test_sync_shows_nothing_beside_a_driver_whose_runs_it_would_call_dead(study: Study, rehearsal: Rehearsal) -> None:
    with acquire(study.home):
        asked = rehearsal.call("sync")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "is running this study" in asked.stderr
    assert not (study.home / "mlflow.db").exists()


def test_without_a_terminal_gc_only_shows_unless_it_is_told_yes(study: Study, rehearsal: Rehearsal) -> None:
    before = files(study)
    whole = ("gc", "--keep-days", "0")
    shown = rehearsal.call(*whole)
    assert shown.returncode == 0
    assert "result not needed any more: train/context-k1/s0" in shown.stdout
    assert shown.stdout.endswith(" --keep-days 0 --yes` removes it\n")
    assert f"nothing was removed; `echo-matrix gc --matrix {CHECKOUT / 'matrix.yaml'} --cluster " in shown.stdout
    assert json.loads(rehearsal.call(*whole, "--json").stdout)["removed"] is False
    assert files(study) == before
    recent = rehearsal.call("gc", "--yes").stdout
    words = r"kept: \d results, [\d.]+ MiB, of runs of the last 30 days; `--keep-days` changes how long"
    assert re.fullmatch(rf"{words}\nnothing to remove\n", recent)
    assert json.loads(rehearsal.call(*whole, "--json", "--yes").stdout)["removed"] is True
    assert rehearsal.call(*whole).stdout == "nothing to remove\n"


def test_an_artifact_that_is_a_link_is_unlinked_and_what_it_leads_to_stays(
    study: Study, rehearsal: Rehearsal, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x", encoding="utf-8")
    place = study.home / "store" / "artifacts" / "train" / ("0" * 16)
    place.mkdir(parents=True)
    (place / "a001").symlink_to(elsewhere)
    remove_garbage(study, found(study), lambda _text: None)
    assert (elsewhere / "precious").exists()
    assert not (place / "a001").is_symlink()


def test_show_tells_from_what_a_job_was_made_and_where_it_lies(study: Study, rehearsal: Rehearsal) -> None:
    story = json.loads(rehearsal.call("show", TRAIN, "--json").stdout)
    assert story["state"] == "done"
    assert story["folder"] == rehearsal.call("path", TRAIN).stdout.strip()
    assert {source["label"] for source in story["commit"]["inputs"].values()} == {"latents", "index/s0"}
    assert [attempt["ending"] for attempt in story["attempts"]] == ["ok"]
    text = rehearsal.call("show", TRAIN).stdout
    assert f"  artifact  {story['folder']}" in text
    waiting = rehearsal.call("show", "train/context-k5/s0").stdout
    assert "not done; see `echo-matrix explain train/context-k5/s0`" in waiting


def test_show_says_what_is_wrong_with_a_damaged_artifact(study: Study, rehearsal: Rehearsal) -> None:
    (Path(rehearsal.call("path", TRAIN).stdout.strip()) / "fake.txt").unlink()
    assert "is gone; `run --refresh JOB` makes the artifact again" in rehearsal.call("show", TRAIN).stdout
