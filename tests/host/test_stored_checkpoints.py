"""Checkpoints through the store: what one machine has saved, another one resumes from."""

import errno
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shared_files import SharedFiles
from toy_jobs import ROOT, SERVER, toy_submission, wait_until

from orchestrator.errors import ArtifactMissing
from orchestrator.host import stored_checkpoints
from orchestrator.host.checkpoints import CheckpointRef, attempt_folder
from orchestrator.host.node import Node
from orchestrator.host.publish import Provenance
from orchestrator.host.stored_checkpoints import (
    CheckpointUploader,
    bring_checkpoint,
    bring_checkpoints,
    offer_checkpoint,
)
from orchestrator.store.protocol import StoredCheckpoint
from orchestrator.testing.checkpoints import FINGERPRINT, FolderCheckpoints, stored, write_checkpoint


@pytest.fixture
def bucket(tmp_path: Path) -> FolderCheckpoints:
    return FolderCheckpoints(tmp_path / "bucket")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_checkpoints, "LOOK_S", 0.02)


def checkpoint(home: Path, attempt: str, step: int) -> Path:
    """A complete checkpoint of an attempt on a machine."""
    return write_checkpoint(attempt_folder(home, FINGERPRINT, attempt) / "checkpoints" / f"step-{step}")


def upload(bucket: FolderCheckpoints, home: Path, attempt: str, *steps: int) -> None:
    for step in steps:
        bucket.upload(stored(attempt, step), checkpoint(home, attempt, step))


def place(found: CheckpointRef | None) -> tuple[str, int] | None:
    return None if found is None else (found.attempt, found.step)


def test_a_machine_downloads_the_newest_where_it_lies_in_a_shared_folder(
    bucket: FolderCheckpoints, tmp_path: Path
) -> None:
    upload(bucket, tmp_path / "one", "a001-x", 10, 20)
    two = tmp_path / "two"
    assert place(bring_checkpoints(bucket, two, FINGERPRINT, whole=True)) == ("a001-x", 20)
    folder = attempt_folder(two, FINGERPRINT, "a001-x") / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["step-20"]
    upload(bucket, tmp_path / "one", "a002-y", 30)
    assert place(bring_checkpoints(bucket, two, FINGERPRINT, whole=False)) == ("a002-y", 30)
    assert sorted(path.name for path in folder.iterdir()) == ["step-10", "step-20"]


@pytest.mark.parametrize("attempt", ["..", "../../../../outside", "/etc", ".x", "a\x1b"])
def test_a_name_that_leads_out_of_the_study_is_not_downloaded(
    bucket: FolderCheckpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: str
) -> None:
    upload(bucket, tmp_path / "one", "a001-x", 10)
    names = [StoredCheckpoint(fingerprint=FINGERPRINT, attempt=attempt, step=99), stored("a001-x", 10)]
    monkeypatch.setattr(FolderCheckpoints, "complete", lambda _self, _fingerprint: names)
    monkeypatch.setattr(FolderCheckpoints, "_folder", lambda self, one: self._root / FINGERPRINT / "a001-x" / "step-10")
    assert place(bring_checkpoints(bucket, tmp_path / "two", FINGERPRINT, whole=False)) == ("a001-x", 10)
    assert sorted(path.name for path in (tmp_path / "two").rglob("step-*")) == ["step-10"]
    assert not list(tmp_path.glob("**/step-99"))


def test_what_this_machine_has_itself_is_not_downloaded(bucket: FolderCheckpoints, tmp_path: Path) -> None:
    upload(bucket, tmp_path / "one", "a001-x", 20)
    two = tmp_path / "two"
    checkpoint(two, "a002-y", 20)
    assert place(bring_checkpoints(bucket, two, FINGERPRINT, whole=True)) == ("a002-y", 20)
    assert not attempt_folder(two, FINGERPRINT, "a001-x").exists()
    assert bring_checkpoints(bucket, tmp_path / "three", "cd" * 32, whole=True) is None


def test_a_damaged_one_is_passed_over_for_an_older_one_and_leaves_nothing(
    bucket: FolderCheckpoints, tmp_path: Path
) -> None:
    upload(bucket, tmp_path / "one", "a001-x", 10, 20)
    (tmp_path / "bucket" / FINGERPRINT / "a001-x" / "step-20" / "weights.safetensors").write_bytes(b"weighty")
    two = tmp_path / "two"
    assert place(bring_checkpoints(bucket, two, FINGERPRINT, whole=True)) == ("a001-x", 10)
    folder = attempt_folder(two, FINGERPRINT, "a001-x") / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["step-10"]


def test_the_nodes_of_an_attempt_bring_the_checkpoint_that_the_first_of_them_has(
    bucket: FolderCheckpoints, tmp_path: Path
) -> None:
    upload(bucket, tmp_path / "one", "a001-x", 10)
    newest = CheckpointRef(path=checkpoint(tmp_path / "one", "a002-y", 20), step=20, attempt="a002-y")
    two = tmp_path / "two"
    with pytest.raises(ArtifactMissing):
        bring_checkpoint(bucket, two, FINGERPRINT, newest.path)
    for _ in range(2):
        offer_checkpoint(bucket, FINGERPRINT, newest)
        here = bring_checkpoint(bucket, two, FINGERPRINT, newest.path)
    assert here == attempt_folder(two, FINGERPRINT, "a002-y") / "checkpoints" / "step-20"
    assert (here / "weights.safetensors").read_bytes() == (newest.path / "weights.safetensors").read_bytes()
    assert bring_checkpoint(bucket, tmp_path / "one", FINGERPRINT, newest.path) == newest.path, "a folder that both see"


@pytest.fixture
def uploader(bucket: FolderCheckpoints) -> Iterator[CheckpointUploader]:
    made = CheckpointUploader(bucket)
    yield made
    made.close()


def steps(bucket: FolderCheckpoints) -> list[int]:
    return [one.step for one in bucket.complete(FINGERPRINT)]


def test_each_new_checkpoint_is_uploaded_and_the_newest_two_are_kept(
    bucket: FolderCheckpoints, uploader: CheckpointUploader, tmp_path: Path
) -> None:
    work = attempt_folder(tmp_path, FINGERPRINT, "a001-x")
    uploader.watch("a001-x", work, FINGERPRINT, whole=True)
    for step in (1, 2, 3):
        checkpoint(tmp_path, "a001-x", step)
        wait_until(lambda step=step: steps(bucket)[:1] == [step], "it is uploaded")
    wait_until(lambda: steps(bucket) == [3, 2], "the oldest is dropped")
    (work / "checkpoints" / "step-4").mkdir()  # without a manifest
    checkpoint(tmp_path, "a001-x", 5)
    uploader.last_upload("a001-x")
    assert steps(bucket) == [5, 3]
    assert not list(work.glob(".upload*"))
    checkpoint(tmp_path, "a001-x", 6)
    time.sleep(0.1)
    assert steps(bucket) == [5, 3], "nothing follows the last one"


def test_parts_are_all_uploaded_and_dropped_when_the_job_is_done(
    bucket: FolderCheckpoints, uploader: CheckpointUploader, tmp_path: Path
) -> None:
    for step in (1, 2, 3):
        checkpoint(tmp_path, "a001-x", step)
    uploader.watch("a001-x", attempt_folder(tmp_path, FINGERPRINT, "a001-x"), FINGERPRINT, whole=False)
    wait_until(lambda: steps(bucket) == [3, 2, 1], "all are uploaded")
    uploader.job_done("a001-x")
    assert bucket.sizes() == {}
    uploader.job_done("a001-x")
    uploader.last_upload("a001-x")
    assert bucket.sizes() == {}


class OftenAway(FolderCheckpoints):
    """Every other upload fails, half done."""

    calls = 0

    def upload(self, checkpoint: StoredCheckpoint, folder: Path) -> None:
        type(self).calls += 1
        if self.calls % 2:
            torn = self._folder(checkpoint)
            torn.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "weights.safetensors", torn / "weights.safetensors")
            raise OSError(errno.ECONNRESET, "reset")
        super().upload(checkpoint, folder)


def test_an_upload_that_fails_is_repeated(tmp_path: Path) -> None:
    bucket = OftenAway(tmp_path / "bucket")
    uploader = CheckpointUploader(bucket)
    uploader.watch("a001-x", attempt_folder(tmp_path, FINGERPRINT, "a001-x"), FINGERPRINT, whole=True)
    checkpoint(tmp_path, "a001-x", 1)
    wait_until(lambda: steps(bucket) == [1], "the thread tries again")
    checkpoint(tmp_path, "a001-x", 2)
    uploader.last_upload("a001-x")
    uploader.close()
    assert steps(bucket) == [2, 1]
    assert place(bring_checkpoints(bucket, tmp_path / "two", FINGERPRINT, whole=True)) == ("a001-x", 2)


def a_node(store: Path) -> Node:
    return Node(
        store=SharedFiles(store), code=ROOT, provenance=Provenance(code="", git="", host_kind=""), command=SERVER
    )


def again_on(home: Path, submission: dict[str, Any]) -> dict[str, Any]:
    """The next attempt of the same job on a machine whose home is another."""
    request = submission["request"]
    attempt, digits = "a002-again", request["fingerprint"][:16]
    work = str(home / "attempts" / digits / attempt)
    return {**submission, "attempt": attempt, "request": {**request, "attempt": attempt, "work": work}}


@pytest.mark.parametrize("ending", ["stopped", "lost"])
def test_another_machine_resumes_what_a_node_that_was_stopped_or_lost_had_begun(tmp_path: Path, ending: str) -> None:
    store = tmp_path / "bucket"
    submission = {**toy_submission(tmp_path / "one", "count"), "whole_checkpoints": True}
    name, fingerprint = submission["attempt"], submission["request"]["fingerprint"]
    bucket = SharedFiles(store).checkpoints
    first, second = a_node(store), a_node(store)
    try:
        first.start(submission)
        wait_until(lambda: bucket.complete(fingerprint), "a checkpoint is uploaded while it runs")
        if ending == "stopped":
            first.stop([name])
            wait_until(lambda: first.poll()[name]["phase"] == "ended", "it ends")
            saved = json.loads((Path(submission["request"]["work"]) / "result.json").read_text())["steps"]
            assert bucket.complete(fingerprint)[0].step == saved
        else:
            first.kill([name])
        first.close()
        shutil.rmtree(tmp_path / "one")  # the disk is lost with the machine
        resumed = bucket.complete(fingerprint)[0].step
        second.start(again := again_on(tmp_path / "two", submission))
        wait_until(lambda: second.poll()[again["attempt"]]["phase"] == "ended", "it ends")
        assert second.poll()[again["attempt"]]["ending"] == "ok"
    finally:
        first.close()
        second.close()
    folder = SharedFiles(store).fetch(fingerprint)
    assert (folder / "count.txt").read_text() == f"8 from {resumed}"
    counted = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert counted == list(range(1, 9)), "no step is doubled or missing"
    assert bucket.sizes() == {}, "the job is done"
