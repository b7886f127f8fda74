"""What the store in a folder does beyond the contract."""

import json
import os
from pathlib import Path

import pytest

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.files import FilesStore
from orchestrator.store.link import create_once, prove_links
from orchestrator.store.location import StoreLocation
from orchestrator.store.manifest import MANY, read_manifest, sha256_of, verify_sizes, write_manifest
from orchestrator.store.protocol import Commit
from orchestrator.store.registry import make_store

FINGERPRINT = "ab" * 32


def make_done(store: FilesStore) -> Path:
    folder = store.prepare("data", FINGERPRINT, "a001-x")
    (folder / "one.bin").write_bytes(b"1")
    commit = Commit(
        fingerprint=FINGERPRINT,
        attempt="a001-x",
        stage="data",
        branch=None,
        job="data/abababababab",
        label="data",
        manifest="",
        inputs={},
        code="",
        git="",
        versions={},
        host_kind="cpu",
        started=0.0,
        ended=1.0,
    )
    assert store.commit(commit, folder)
    return folder


def test_what_was_prepared_is_what_is_fetched_and_nothing_is_copied(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    folder = make_done(store)
    assert store.fetch(FINGERPRINT) == folder
    assert folder == tmp_path / "artifacts" / "data" / FINGERPRINT[:16] / "a001-x"


def test_a_commit_of_another_fingerprint_under_this_name_is_refused(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    make_done(store)
    path = tmp_path / "commits" / f"{FINGERPRINT}.json"
    path.write_text(path.read_text().replace(FINGERPRINT, "cd" * 32))
    with pytest.raises(StoreError, match="names the fingerprint"):
        store.read(FINGERPRINT)


def test_an_empty_commit_is_told_as_broken(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    make_done(store)
    (tmp_path / "commits" / f"{FINGERPRINT}.json").write_text("")
    with pytest.raises(StoreError, match="not a commit record"):
        store.read(FINGERPRINT)


def test_a_changed_manifest_is_told(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    folder = make_done(store)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = []
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactMissing, match="committed was"):
        store.fetch(FINGERPRINT)


def test_left_over_temporary_files_are_no_commits(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    make_done(store)
    (tmp_path / "commits" / ".a002-y.tmp").write_text("half a COMM")
    assert store.commits() == {FINGERPRINT}


def test_files_of_a_done_job_are_read_only(tmp_path: Path) -> None:
    folder = make_done(FilesStore(tmp_path))
    assert (folder / "one.bin").stat().st_mode & 0o222 == 0


def test_a_withdrawn_commit_is_kept_under_a_number(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    make_done(store)
    store.withdraw(FINGERPRINT)
    assert (tmp_path / "withdrawn" / f"{FINGERPRINT}.1.json").exists()


def test_what_is_no_fingerprint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="64 lower-case hex"):
        FilesStore(tmp_path).prepare("data", "../escape", "a001-x")


def test_a_folder_that_was_not_prepared_for_the_attempt_is_refused(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    make_done(store)
    commit = store.read(FINGERPRINT)
    with pytest.raises(StoreError, match="commit the folder that `prepare` returned"):
        store.commit(commit, tmp_path)


def test_the_first_to_create_a_file_wins_and_the_second_reads_its_bytes(tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert create_once(target, b"one", "first") == b"one"
    assert create_once(target, b"two", "second") == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_success_whose_answer_was_lost_still_counts_as_won(tmp_path: Path) -> None:
    target = tmp_path / "target"
    create_once(target, b"one", "first")
    assert create_once(target, b"one", "first") == b"one"


def test_the_proof_leaves_nothing_behind(tmp_path: Path) -> None:
    prove_links(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_store_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="'files'"):
        make_store(StoreLocation(kind="file", folder=str(tmp_path)))


def test_an_artifact_of_many_files_is_committed_whole(tmp_path: Path) -> None:
    # So many that the file system is synced once instead of file by file.
    folder = tmp_path / "many"
    for number in range(MANY + 1):
        path = folder / str(number % 7) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number), encoding="utf-8")
    digest = write_manifest(folder)
    entries = read_manifest(folder, digest)
    assert len(entries) == MANY + 1
    assert all(sha256_of(folder / entry.path) == entry.sha256 for entry in entries)
    (folder / "3" / "3.txt").unlink()
    with pytest.raises(ArtifactMissing, match=r"3\.txt is gone"):
        verify_sizes(folder, digest)


def test_an_artifact_is_looked_at_again_when_one_of_its_folders_has_changed(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    folder = make_done(store)
    os.utime(folder, (0, 0))  # published long ago
    store.fetch(FINGERPRINT)
    (folder / "one.bin").chmod(0o644)
    (folder / "one.bin").write_bytes(b"longer")  # in place, as no attempt does
    assert store.fetch(FINGERPRINT) == folder
    with pytest.raises(ArtifactMissing, match="has 6 bytes, committed were 1"):
        FilesStore(tmp_path).fetch(FINGERPRINT)
    (folder / "one.bin").unlink()
    with pytest.raises(ArtifactMissing, match="is gone"):
        store.fetch(FINGERPRINT)


def test_an_artifact_that_was_published_just_now_is_looked_at_each_time(tmp_path: Path) -> None:
    """Its folder may change again within one tick of the file system's clock."""
    store = FilesStore(tmp_path)
    folder = make_done(store)
    store.fetch(FINGERPRINT)
    (folder / "one.bin").chmod(0o644)
    (folder / "one.bin").write_bytes(b"longer")
    with pytest.raises(ArtifactMissing, match="has 6 bytes, committed were 1"):
        store.fetch(FINGERPRINT)
