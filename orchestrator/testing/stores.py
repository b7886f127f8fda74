"""The contract suite of stores: tests that every store must pass.

Whoever writes a store subclasses it and gives the fixtures `store` and `other`, two clients of one empty store:

    from orchestrator.testing.stores import StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path: Path) -> Store:
            return MyStore(tmp_path / "store")

        @pytest.fixture
        def other(self, tmp_path: Path) -> Store:
            return MyStore(tmp_path / "store")
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.protocol import Commit, Store

FINGERPRINT = "ab" * 32


def make_commit(attempt: str, fingerprint: str = FINGERPRINT) -> Commit:
    """A commit record as a training would make it."""
    return Commit(
        fingerprint=fingerprint,
        attempt=attempt,
        stage="second",
        branch=None,
        job=f"second/{fingerprint[:12]}",
        label="second/row/s0",
        manifest="",
        inputs={"first": {"fingerprint": "cd" * 32, "manifest": "ef" * 32}},
        code="0" * 64,
        git="",
        versions={"torch": "2"},
        host_kind="cpu",
        started=1.5,
        ended=2.5,
        result={"steps": 3, "records": {}, "cost": {"device_s": 1.0}},
    )


def commit_with_items(attempt: str, fingerprint: str = FINGERPRINT) -> Commit:
    """A commit record as a job of two items would make it, which took one over."""
    return dataclasses.replace(
        make_commit(attempt, fingerprint),
        items={"scene-1": "1" * 32, "scene-2": "2" * 32},
        measured="3" * 64,
        taken={"4" * 64: "5" * 64},
        origins={"scene-1": "6" * 64},
    )


def write_and_commit(store: Store, attempt: str, fingerprint: str = FINGERPRINT) -> bool:
    """Publish two files as an attempt; whether it won."""
    folder = store.prepare("second", fingerprint, attempt)
    (folder / "samples").mkdir()
    (folder / "weights.bin").write_bytes(attempt.encode())
    (folder / "samples" / "step-1.txt").write_text("one", encoding="utf-8")
    return store.commit(make_commit(attempt, fingerprint), folder)


class StoreContract:
    """What every store promises (orchestrator/store/protocol.py)."""

    def replace_file(self, store: Store, path: str, content: bytes | None) -> None:
        """Damage the artifact of `FINGERPRINT` where the store keeps it; None: the file is gone.

        For a store in which the folder that is fetched is what it keeps; others override it.
        """
        place = store.fetch(FINGERPRINT) / path
        place.unlink()
        if content is not None:
            place.write_bytes(content)

    def test_prepare_gives_an_empty_folder(self, store: Store) -> None:
        """Prepare gives an empty folder."""
        assert list(store.prepare("second", FINGERPRINT, "a001-x").iterdir()) == []

    def test_nothing_is_done_before_a_commit(self, store: Store) -> None:
        """Nothing is done before a commit."""
        store.prepare("second", FINGERPRINT, "a001-x")
        assert store.commits() == frozenset()
        with pytest.raises(ArtifactMissing):
            store.read(FINGERPRINT)

    def test_what_is_read_back_is_what_was_committed_and_the_manifest(self, store: Store) -> None:
        """What is read back is what was committed and the manifest."""
        assert write_and_commit(store, "a001-x")
        commit = store.read(FINGERPRINT)
        assert len(commit.manifest) == 64
        assert dataclasses.replace(commit, manifest="") == make_commit("a001-x")
        assert store.commits() == {FINGERPRINT}

    def test_items_and_what_was_taken_over_are_read_back(self, store: Store, other: Store) -> None:
        """Items and what was taken over are read back."""
        folder = store.prepare("second", FINGERPRINT, "a001-x")
        (folder / "weights.bin").write_bytes(b"one")
        assert store.commit(commit_with_items("a001-x"), folder)
        assert dataclasses.replace(other.read(FINGERPRINT), manifest="") == commit_with_items("a001-x")

    @pytest.mark.parametrize(
        ("broken", "said"),
        [
            ({"items": {"scene-1": "short"}}, r"items\.scene-1 is 'short'; allowed: the 32 hex digits of its content"),
            ({"items": {"scene\x1b": "1" * 32}}, r"an item is .*; allowed: at most 1000 printable characters"),
            ({"taken": {"4" * 64: ""}}, r"taken\.4{64} is ''; allowed: the 64 hex digits of a manifest"),
            ({"taken": {"../up": "5" * 64}}, r"taken\.\.\./up names no job; allowed: fingerprints"),
            ({"origins": {"scene-9": "6" * 64}}, r"origins\.scene-9 is of no item of the job"),
        ],
        ids=["content", "name", "manifest", "fingerprint", "origin"],
    )
    def test_broken_items_are_refused_with_a_sentence(self, store: Store, broken: dict[str, object], said: str) -> None:
        """Broken items are refused with a sentence."""
        folder = store.prepare("second", FINGERPRINT, "a001-x")
        (folder / "weights.bin").write_bytes(b"one")
        changed: Any = broken
        with pytest.raises(StoreError, match=said):  # told by whoever reads it first, which may be who wrote it
            store.commit(dataclasses.replace(commit_with_items("a001-x"), **changed), folder)
            store.read(FINGERPRINT)

    def test_fetch_gives_the_files_of_the_winner(self, store: Store, other: Store) -> None:
        """Fetch gives the files of the winner."""
        write_and_commit(store, "a001-x")
        folder = other.fetch(FINGERPRINT)
        assert (folder / "weights.bin").read_bytes() == b"a001-x"
        assert (folder / "samples" / "step-1.txt").read_text(encoding="utf-8") == "one"

    def test_the_second_attempt_loses_and_the_first_is_told_again_that_it_won(self, store: Store) -> None:
        """The second attempt loses and the first is told again that it won."""
        assert write_and_commit(store, "a001-x")
        assert not write_and_commit(store, "a002-y")
        assert store.commit(make_commit("a001-x"), store.prepare("second", FINGERPRINT, "a001-x"))
        assert store.read(FINGERPRINT).attempt == "a001-x"

    def test_of_sixteen_that_try_at_once_exactly_one_wins(self, store: Store) -> None:
        """Of sixteen that try at once exactly one wins."""
        attempts = [f"a{number:03d}-{number:08x}" for number in range(16)]
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(lambda attempt: write_and_commit(store, attempt), attempts))
        assert won.count(True) == 1
        assert store.read(FINGERPRINT).attempt == attempts[won.index(True)]

    def test_a_missing_file_is_told(self, store: Store, other: Store) -> None:
        """A missing file is told."""
        write_and_commit(store, "a001-x")
        self.replace_file(store, "weights.bin", None)
        with pytest.raises(ArtifactMissing, match=r"weights\.bin"):
            other.fetch(FINGERPRINT)

    def test_a_file_of_another_size_is_told(self, store: Store, other: Store) -> None:
        """A file of another size is told."""
        write_and_commit(store, "a001-x")
        self.replace_file(store, "weights.bin", b"longer than it was")
        with pytest.raises(ArtifactMissing, match=r"weights\.bin"):
            other.fetch(FINGERPRINT)

    def test_a_withdrawn_commit_can_be_made_again_by_another_attempt(self, store: Store) -> None:
        """A withdrawn commit can be made again by another attempt."""
        for attempt in ("a001-x", "a002-y"):
            write_and_commit(store, attempt)
            store.withdraw(FINGERPRINT)
            assert store.commits() == frozenset()
        assert write_and_commit(store, "a003-z")
        assert store.read(FINGERPRINT).attempt == "a003-z"

    def test_withdrawing_what_is_not_done_is_refused(self, store: Store) -> None:
        """Withdrawing what is not done is refused."""
        with pytest.raises(ArtifactMissing):
            store.withdraw(FINGERPRINT)

    def test_sweeping_takes_nothing_of_what_is_there(self, store: Store) -> None:
        """Sweeping takes nothing of what is there."""
        assert write_and_commit(store, "a001-x")
        store.prepare("second", "cd" * 32, "a001-y")
        store.sweep({"a001-y"}, [("second", FINGERPRINT, "a000-w")])
        assert store.read(FINGERPRINT).attempt == "a001-x"
        assert (store.fetch(FINGERPRINT) / "weights.bin").read_bytes() == b"a001-x"
        assert write_and_commit(store, "a002-z", "ef" * 32)

    def test_a_link_in_an_artifact_is_refused(self, store: Store, tmp_path: Path) -> None:
        """A link in an artifact is refused."""
        folder = store.prepare("second", FINGERPRINT, "a001-x")
        (folder / "elsewhere").symlink_to(tmp_path)
        with pytest.raises(StoreError, match="symbolic link"):
            store.commit(make_commit("a001-x"), folder)
        assert store.commits() == frozenset()

    def test_the_revision_follows_commit_records_and_nothing_else(self, store: Store, other: Store) -> None:
        """The revision follows commit records and nothing else."""
        empty = store.revision()
        store.check()
        folder = store.prepare("second", FINGERPRINT, "a001-x")
        (folder / "weights.bin").write_bytes(b"one")
        assert store.revision() == other.revision() == empty
        assert store.commit(make_commit("a001-x"), folder)
        first = store.revision()
        store.check()
        store.fetch(FINGERPRINT)
        assert first not in (empty, "")
        assert other.revision() == store.revision() == first
        store.withdraw(FINGERPRINT)
        assert store.revision() != first
        write_and_commit(store, "a002-y")
        assert store.revision() not in (empty, first)
        assert other.revision() == store.revision()

    def test_an_older_listing_has_what_this_client_did_itself(self, store: Store) -> None:
        """An older listing has what this client did itself."""
        assert store.commits() == frozenset()
        write_and_commit(store, "a001-x")
        assert store.commits(within_s=60.0) == {FINGERPRINT}
        store.withdraw(FINGERPRINT)
        assert store.commits(within_s=60.0) == frozenset()

    def test_every_byte_is_compared_on_request(self, store: Store, other: Store) -> None:
        """Every byte is compared on request."""
        write_and_commit(store, "a001-x")
        assert (store.verify(FINGERPRINT) / "weights.bin").read_bytes() == b"a001-x"
        store.release(store.fetch(FINGERPRINT))
        self.replace_file(store, "weights.bin", b"a001-y")
        with pytest.raises(ArtifactMissing, match=r"weights\.bin has sha256 .{12}, committed was"):
            other.verify(FINGERPRINT)

    def test_single_files_are_fetched_with_their_bytes(self, store: Store, other: Store) -> None:
        """Single files are fetched with their bytes."""
        write_and_commit(store, "a001-x")
        assert [(entry.path, entry.size) for entry in other.manifest(FINGERPRINT)] == [
            ("samples/step-1.txt", 3),
            ("weights.bin", 6),
        ]
        folder = other.fetch_files(FINGERPRINT, ["samples/*", "absent.txt"])
        assert (folder / "samples" / "step-1.txt").read_text(encoding="utf-8") == "one"
        assert not (folder / "absent.txt").exists()
        assert (other.fetch(FINGERPRINT) / "weights.bin").read_bytes() == b"a001-x"
        assert store.locate(FINGERPRINT)
        assert FINGERPRINT in store.locate_record(FINGERPRINT)

    def test_every_reader_says_what_is_missing(self, store: Store) -> None:
        """Every reader says what is missing."""
        readers: list[Callable[[str], object]] = [store.read, store.manifest, store.fetch, store.locate]
        readers.append(lambda fingerprint: store.fetch_files(fingerprint, ["*"]))
        for read in readers:
            with pytest.raises(ArtifactMissing):
                read(FINGERPRINT)

    def test_artifacts_and_withdrawn_records_are_listed_and_deleted(self, store: Store, other: Store) -> None:
        """Artifacts and withdrawn records are listed and deleted."""
        write_and_commit(store, "a001-x")
        store.withdraw(FINGERPRINT)
        write_and_commit(store, "a002-y")
        found = list(other.artifacts())
        assert [(one.stage, one.digits, one.attempt) for one in found] == [
            ("second", FINGERPRINT[:16], "a001-x"),
            ("second", FINGERPRINT[:16], "a002-y"),
        ]
        assert all(one.size > 9 for one in found)  # two files and the manifest
        assert all(one.modified > 1e9 for one in found)
        (record,) = other.withdrawn()
        assert (record.fingerprint, record.number) == (FINGERPRINT, 1)
        for _ in range(2):
            other.delete_artifact(found[0])
            other.delete_withdrawn(record)
        assert [one.attempt for one in store.artifacts()] == ["a002-y"]
        assert list(store.withdrawn()) == []
        assert (store.fetch(FINGERPRINT) / "weights.bin").read_bytes() == b"a002-y"

    def test_removed_files_are_not_missed_and_all_others_are(self, store: Store, other: Store) -> None:
        """Removed files are not missed, and all others are."""
        write_and_commit(store, "a001-x")
        commit, revision, before = store.read(FINGERPRINT), store.revision(), next(iter(store.artifacts())).size
        for _ in range(2):  # again: nothing to do
            store.remove_files(commit, ["samples/*"])
        assert store.removed() == other.removed() == {(FINGERPRINT, "a001-x")}
        assert before - next(iter(store.artifacts())).size == len("one")
        assert store.revision() == revision
        for folder in (other.fetch(FINGERPRINT), other.verify(FINGERPRINT), other.fetch_files(FINGERPRINT, ["*"])):
            assert (folder / "weights.bin").read_bytes() == b"a001-x"
        assert [entry.path for entry in other.manifest(FINGERPRINT)] == ["samples/step-1.txt", "weights.bin"]
        store.withdraw(FINGERPRINT)
        write_and_commit(store, "a002-x")  # it is whole
        assert (store.fetch(FINGERPRINT) / "samples" / "step-1.txt").read_bytes() == b"one"
        store.delete_artifact(next(one for one in store.artifacts() if one.attempt == "a001-x"))
        assert store.removed() == frozenset()
        self.replace_file(store, "weights.bin", None)
        with pytest.raises(ArtifactMissing):
            other.verify(FINGERPRINT)

    def test_what_is_made_again_for_its_removed_files_is_the_same_artifact_but_for_its_times(
        self, store: Store, other: Store
    ) -> None:
        """What is made again for its removed files is the same artifact, but for its times, or another one."""
        manifests = []
        for number, (weights, time_s) in enumerate([("equal", 1), ("equal", 2), ("other", 3)]):
            attempt = f"a00{number}-x"
            folder = store.prepare("second", FINGERPRINT, attempt)
            (folder / "weights.bin").write_text(weights, encoding="utf-8")
            (folder / "metrics.jsonl").write_text(f"{time_s}", encoding="utf-8")
            assert store.commit(make_commit(attempt), folder)
            commit = other.read(FINGERPRINT)
            manifests.append(commit.manifest)
            times = other.verify(FINGERPRINT) / "metrics.jsonl"
            assert times.read_text(encoding="utf-8") == ("3" if weights == "other" else "1")
            store.remove_files(commit, ["weights.*"])
            store.withdraw(FINGERPRINT)
        assert manifests[0] == manifests[1] != manifests[2]
