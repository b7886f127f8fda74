"""Two homes that share one store: neither removes what the other's runs have asked for."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_run import record, run, write_matrix
from shared_files import SharedFiles

from orchestrator.commands.gc.garbage import ABANDONED_S, find_garbage, remove_garbage
from orchestrator.commands.gc.kept_results import UNKNOWN
from orchestrator.commands.refresh import to_withdraw, withdraw
from orchestrator.commands.status.command import status_json, status_text
from orchestrator.errors import LeaseError, StoreError
from orchestrator.opening import open_study, reopen_study
from orchestrator.schedule.clock import SystemClock
from orchestrator.schedule.lease_holder import this_process
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.schema import Attempt
from orchestrator.schedule.resilient_store import ResilientStore
from orchestrator.schedule.shared_lease import acquire_study
from orchestrator.schedule.shared_runs import record_shared_run, shared_runs
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import ObjectEntry
from orchestrator.study import Study
from orchestrator.testing.checkpoints import stored, write_checkpoint
from orchestrator.testing.objects import FolderObjects

DAY_S = 86400.0
OTHER = ("controls.training.steps=800",)
LONGER = ("controls.training.steps=1600",)


class Home:
    """A project with its own outputs/, and a store that it shares."""

    def __init__(self, folder: Path, store: SharedFiles) -> None:
        self.matrix = write_matrix(folder / "matrix.yaml")
        self.store = store

    def sharing(self, study: Study) -> Study:
        study.__dict__["store"] = self.store  # as if its cluster file named the store
        return study

    def run(self, *overrides: str, at: float | None = None) -> frozenset[str]:
        """Ask for a plan, and make one row of it; returns the fingerprints that were made."""
        study = self.sharing(open_study(self.matrix, overrides=overrides))
        key = record_shared_run(self.store.objects, study.plan, self.matrix, study.home, this_process())
        when = time.time() if at is None else at
        os.utime(self.store.objects.root / key, (when, when))
        return run(study, when)

    def look(self) -> Study:
        return self.sharing(reopen_study(self.matrix))


@pytest.fixture
def store(tmp_path: Path) -> SharedFiles:
    return SharedFiles(tmp_path / "bucket")


@pytest.fixture
def one(tmp_path: Path, store: SharedFiles, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("ECHO_MATRIX_HOME", raising=False)
    return Home(tmp_path / "one", store)


@pytest.fixture
def two(tmp_path: Path, store: SharedFiles) -> Home:
    return Home(tmp_path / "two", store)


def test_gc_of_one_home_keeps_what_a_run_of_the_other_asked_for(one: Home, two: Home, store: SharedFiles) -> None:
    mine, its = one.run(), two.run(*OTHER)
    assert its - mine
    found = find_garbage(one.look(), keep_days=0.5)
    assert [(kept.name, kept.results, kept.elsewhere) for kept in found.apart] == [
        (f"{two.matrix} on {this_process().host}", len(its - mine), True)
    ]
    remove_garbage(one.look(), found, lambda _text: None)
    assert store.commits() == mine | its
    remove_garbage(one.look(), find_garbage(one.look(), made_by=[UNKNOWN]), lambda _text: None)
    assert store.commits() == mine | its


def test_no_days_to_keep_are_about_the_own_runs_and_the_last_of_each_home_stays_recorded(
    one: Home, two: Home, store: SharedFiles
) -> None:
    first, its = one.run(*OTHER), two.run(*LONGER)
    mine = one.run()
    assert first - mine - its
    found = find_garbage(one.look(), keep_days=0.0)
    remove_garbage(one.look(), found, lambda _text: None)
    assert store.commits() == mine | its, "what the other home asked for a moment ago stays"
    assert {run.matrix for run in shared_runs(store.objects)} == {str(one.matrix), str(two.matrix)}
    assert len(shared_runs(store.objects)) == 2
    found = find_garbage(two.look(), made_by=[UNKNOWN])
    remove_garbage(two.look(), found, lambda _text: None)
    assert store.commits() == mine | its, "and the other home knows what this one asked for last"


def test_what_a_run_of_the_other_home_asked_for_long_ago_is_removed_by_name_only(
    one: Home, two: Home, store: SharedFiles
) -> None:
    mine, its = one.run(), two.run(*OTHER, at=time.time() - 40 * DAY_S)
    found = find_garbage(one.look())
    assert [(kept.name, kept.results) for kept in found.apart] == [(UNKNOWN, len(its - mine))]
    remove_garbage(one.look(), found, lambda _text: None)
    assert store.commits() == mine | its
    assert [kept.matrix for kept in shared_runs(store.objects)] == [str(one.matrix)]
    remove_garbage(one.look(), find_garbage(one.look(), made_by=[UNKNOWN]), lambda _text: None)
    assert store.commits() == mine


def test_a_run_of_the_other_home_since_gc_has_searched_stops_it(one: Home, two: Home, store: SharedFiles) -> None:
    one.run()
    one.run(*OTHER, at=time.time() - 40 * DAY_S)
    record(one.sharing(open_study(one.matrix)), time.time())
    found = find_garbage(one.look())
    assert any(thing.fingerprint for thing in found.garbage)
    before, _ = store.commits(), two.run(*OTHER)
    with pytest.raises(LeaseError, match="run `gc` again"):
        remove_garbage(one.look(), found, lambda _text: None)
    assert store.commits() >= before


def test_while_one_home_drives_the_other_neither_withdraws_nor_removes_and_status_says_who(
    one: Home, two: Home, store: SharedFiles
) -> None:
    made = one.run()
    study = two.look()
    found, records = find_garbage(study, made_by=[UNKNOWN]), to_withdraw(study.plan, store, made)
    home = one.look().home
    with acquire_study(home, store.objects):
        line = f"pid {os.getpid()} on {this_process().host} ({home}) shares the store and is running this study"
        assert line in status_text(study)
        assert status_json(study)["other_home"]["home"] == str(home)
        assert status_json(one.look())["other_home"] is None
        with pytest.raises(LeaseError, match="is running this study"):
            withdraw(study.home, store, records)
        with pytest.raises(LeaseError, match="is running this study"):
            remove_garbage(study, found, lambda _text: None)
    assert store.commits() == made
    withdraw(study.home, store, records)
    assert store.commits() == frozenset()
    assert "shares the store" not in status_text(study)


def test_what_another_home_publishes_now_is_no_garbage_and_what_it_left_a_week_ago_is(
    one: Home, store: SharedFiles
) -> None:
    one.run()
    folder = store.prepare("train", "ab" * 32, "a001-theirs")
    (folder / "weights.bin").write_bytes(b"half")
    assert "artifact without a commit record" not in {thing.what for thing in find_garbage(one.look()).garbage}
    old = time.time() - ABANDONED_S - 60
    os.utime(folder, (old, old))
    assert str(folder) in {thing.where for thing in find_garbage(one.look()).garbage}


def test_what_an_ended_attempt_of_this_home_uploaded_is_garbage_at_once(
    one: Home, two: Home, store: SharedFiles
) -> None:
    one.run()
    open_, ended = (
        Attempt(id=name, fingerprint="ab" * 32, job="x", label="x", stage="train", host="here", intended=1.0)
        for name in ("a002-open", "a001-ended")
    )
    with Ledger.open(one.look().home / NAME) as ledger:
        ledger.record_intent(replace(ended, ending="vanished", ended=2.0))
        ledger.record_intent(open_)
    places = {name: store.prepare("train", "ab" * 32, name) for name in ("a001-ended", "a002-open", "a003-theirs")}
    for folder in places.values():
        (folder / "weights.bin").write_bytes(b"half")
    uncommitted = {
        thing.where for thing in find_garbage(one.look()).garbage if thing.what == "artifact without a commit record"
    }
    assert uncommitted == {str(places["a001-ended"])}


def test_a_damaged_record_of_a_run_stops_gc_and_is_named(one: Home, store: SharedFiles) -> None:
    one.run()
    store.objects.put("asked/x.json", json.dumps({"version": 1, "matrix": 3}).encode())
    with pytest.raises(StoreError, match=r"asked/x.json in the store: not a recorded run: .*matrix is '3', int"):
        find_garbage(one.look())
    store.objects.put("asked/x.json", json.dumps({"version": 9}).encode())
    with pytest.raises(StoreError, match="version is '9', this code reads 1"):
        find_garbage(one.look())


def test_a_record_that_gc_of_another_home_removes_meanwhile_is_skipped(
    one: Home, two: Home, store: SharedFiles
) -> None:
    class Collected(FolderObjects):
        def entries(self, prefix: str) -> list[ObjectEntry]:
            found = super().entries(prefix)
            self.delete([entry.key for entry in found[:1]])
            return found

    one.run()
    two.run()
    assert len(shared_runs(Collected(store.objects.root))) == 1


def test_checkpoints_in_the_store_go_with_a_refresh_and_with_gc(one: Home, store: SharedFiles, tmp_path: Path) -> None:
    made = one.run()
    study = one.look()
    labels = {job.label: job.fingerprint for job in study.plan.jobs.values()}
    first, other = labels["train/context-k1/s0"], labels["latents"]
    folder = write_checkpoint(tmp_path / "step-7")
    for fingerprint in (first, other, "ab" * 32):
        store.checkpoints.upload(stored("a001-x", 7, fingerprint), folder)
    withdraw(study.home, store, to_withdraw(study.plan, store, [first]))
    assert set(store.checkpoints.sizes()) == {other, "ab" * 32}, "the next attempt starts anew"
    assert {first} < made - store.commits()
    found = find_garbage(study)
    assert [thing.where for thing in found.garbage if "checkpoints" in thing.what] == [
        f"checkpoints/{other} in the store"
    ]
    remove_garbage(study, found, lambda _text: None)
    assert set(store.checkpoints.sizes()) == {"ab" * 32}, "another home may be at it"


def test_the_controller_knows_how_far_an_attempt_on_another_disk_has_come(store: SharedFiles, tmp_path: Path) -> None:
    for attempt, step in (("a001-x", 7), ("a002-y", 9)):
        folder = write_checkpoint(tmp_path / attempt / f"step-{step}")
        store.checkpoints.upload(stored(attempt, step), folder)
    resilient = ResilientStore(
        store, SystemClock(), log=lambda *_a, **_k: None, say=lambda _text: None, give_up_after_s=1.0
    )
    fingerprint = stored("", 0).fingerprint
    assert resilient.checkpointed() == {fingerprint}
    assert [resilient.stored_step(fingerprint, attempt) for attempt in ("", "a001-x", "a003-z")] == [9, 7, -1]
    alone = ResilientStore(
        FilesStore(tmp_path), SystemClock(), log=lambda *_a, **_k: None, say=lambda _text: None, give_up_after_s=1.0
    )
    assert (alone.checkpointed(), alone.stored_step(fingerprint)) == (frozenset(), -1)
