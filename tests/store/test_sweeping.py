"""What died half way in the store is taken away, and nothing of those that live."""

import os
import socket
from pathlib import Path

import pytest

from orchestrator.store.files import FilesStore

FINGERPRINT = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> FilesStore:
    store = FilesStore(tmp_path / "store")
    store.check()
    return store


def names(store: FilesStore) -> set[str]:
    return {path.name for path in (store.root / "commits").iterdir()}


def test_temporary_commits_of_attempts_that_do_not_live_go_and_those_of_living_ones_stay(store: FilesStore) -> None:
    for attempt in ("a001-dead", "a002-lives"):
        (store.root / "commits" / f".{attempt}.tmp").write_bytes(b"{}")
    store.sweep({"a002-lives"})
    assert names(store) == {".a002-lives.tmp"}


def test_proofs_of_processes_that_are_gone_go_and_those_of_others_stay_for_ten_minutes(store: FilesStore) -> None:
    here, tag = socket.gethostname(), "0123456789abcdef"
    gone = [f".proof-{here}-4194305-{tag}", f".proof-{here}-4194305-{tag}-1.tmp", f".proof-old-host-7-{tag}"]
    used = [f".proof-{here}-{os.getppid()}-{tag}", f".proof-elsewhere-7-{tag}"]
    for name in (*gone, *used):
        (store.root / "commits" / name).write_bytes(b"")
    os.utime(store.root / "commits" / gone[2], (1.0, 1.0))
    store.sweep(())
    assert names(store) == set(used)


def test_a_half_made_manifest_of_a_dead_attempt_goes(store: FilesStore) -> None:
    folder = store.prepare("train", FINGERPRINT, "a001-x")
    (folder / ".manifest.json.tmp").write_bytes(b"{")
    store.sweep((), [("train", FINGERPRINT, "a001-x")])
    assert list(folder.iterdir()) == []
