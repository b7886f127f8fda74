"""The contract suite of stored checkpoints, and stored checkpoints in a local folder, for tests of what uses them."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import ArtifactMissing
from orchestrator.store.files import size_of
from orchestrator.store.protocol import CheckpointStore, StoredCheckpoint

MANIFEST = "manifest.json"
FINGERPRINT = "ab" * 32


class FolderCheckpoints:
    """Checkpoints in folders `root/{fingerprint}/{attempt}/step-{n}`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def sizes(self) -> Mapping[str, int]:
        """Fingerprint -> bytes of all checkpoints of the job."""
        found = Counter({folder.name: size_of(folder) for folder in self._root.glob("*")})
        return {name: size for name, size in found.items() if size}

    def complete(self, fingerprint: str) -> Sequence[StoredCheckpoint]:
        """The complete checkpoints of a job, the highest step first."""
        found = [
            StoredCheckpoint(fingerprint=fingerprint, attempt=path.parent.name, step=int(path.name[5:]))
            for path in (self._root / fingerprint).glob("*/step-*")
            if (path / MANIFEST).is_file()
        ]
        return sorted(found, key=lambda one: (one.step, one.attempt), reverse=True)

    def upload(self, checkpoint: StoredCheckpoint, folder: Path) -> None:
        """Copy a complete checkpoint folder, its manifest last."""
        target = self._folder(checkpoint)
        shutil.copytree(folder, target, dirs_exist_ok=True, ignore=lambda _folder, _names: [MANIFEST])
        shutil.copyfile(folder / MANIFEST, target / MANIFEST)

    def download(self, checkpoint: StoredCheckpoint, folder: Path) -> None:
        """Copy a checkpoint; each file is verified."""
        source = self._folder(checkpoint)
        try:
            for line in json.loads((source / MANIFEST).read_bytes())["files"]:
                if hashlib.sha256((source / line["path"]).read_bytes()).hexdigest() != line["sha256"]:
                    raise ArtifactMissing(f"{source / line['path']} is not what its manifest says")
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{error.filename} is gone") from error
        shutil.copytree(source, folder)

    def drop(self, fingerprint: str, keep: int = 0) -> None:
        """Delete all checkpoints of a job but the newest complete ones."""
        kept = {self._folder(one) for one in self.complete(fingerprint)[:keep]}
        for path in list((self._root / fingerprint).glob("*/step-*")):
            if path not in kept:
                shutil.rmtree(path)

    def _folder(self, one: StoredCheckpoint) -> Path:
        return self._root / one.fingerprint / one.attempt / f"step-{one.step}"


def stored(attempt: str, step: int, fingerprint: str = FINGERPRINT) -> StoredCheckpoint:
    """The name of a checkpoint."""
    return StoredCheckpoint(fingerprint=fingerprint, attempt=attempt, step=step)


def write_checkpoint(folder: Path, content: bytes = b"weights") -> Path:
    """A complete checkpoint folder with one file, one in a folder, and the manifest."""
    (folder / "part").mkdir(parents=True)
    files = {"weights.safetensors": content, "part/rank-0.bin": content[::-1]}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    lines = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    ]
    manifest = {"version": 1, "step": int(folder.name.removeprefix("step-")), "files": lines}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


class CheckpointsContract:
    """What stored checkpoints promise (orchestrator/store/protocol.py).

    The fixtures `checkpoints` and `other` are two clients of one empty place.
    """

    def test_what_was_uploaded_is_downloaded_by_the_other(
        self, checkpoints: CheckpointStore, other: CheckpointStore, tmp_path: Path
    ) -> None:
        """What was uploaded is downloaded by the other."""
        folder = write_checkpoint(tmp_path / "here" / "step-20", b"twenty")
        for _ in range(2):
            checkpoints.upload(stored("a001-x", 20), folder)
        assert list(other.complete(FINGERPRINT)) == [stored("a001-x", 20)]
        target = tmp_path / "there" / "step-20"
        other.download(stored("a001-x", 20), target)
        names = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert {path.relative_to(target): path.read_bytes() for path in target.rglob("*") if path.is_file()} == names

    def test_the_highest_step_is_first_and_of_equal_ones_the_later_attempt(
        self, checkpoints: CheckpointStore, tmp_path: Path
    ) -> None:
        """The highest step is first, and of equal ones the later attempt."""
        for attempt, step in (("a001-x", 9), ("a001-x", 10), ("a002-y", 10), ("a002-y", 100)):
            checkpoints.upload(stored(attempt, step), write_checkpoint(tmp_path / attempt / f"step-{step}"))
        found = [(one.step, one.attempt) for one in checkpoints.complete(FINGERPRINT)]
        assert found == [(100, "a002-y"), (10, "a002-y"), (10, "a001-x"), (9, "a001-x")]

    def test_what_is_gone_is_said(self, checkpoints: CheckpointStore, tmp_path: Path) -> None:
        """What is gone is said, and nothing is left of a download."""
        assert list(checkpoints.complete(FINGERPRINT)) == []
        with pytest.raises(ArtifactMissing):
            checkpoints.download(stored("a001-x", 1), tmp_path / "step-1")
        assert not (tmp_path / "step-1").exists()

    def test_all_but_the_newest_are_dropped(self, checkpoints: CheckpointStore, tmp_path: Path) -> None:
        """All but the newest are dropped."""
        for step in (1, 2, 3):
            checkpoints.upload(stored("a001-x", step), write_checkpoint(tmp_path / f"step-{step}"))
        checkpoints.upload(stored("a001-x", 3, "cd" * 32), tmp_path / "step-3")
        assert set(checkpoints.sizes()) == {FINGERPRINT, "cd" * 32}
        assert checkpoints.sizes()[FINGERPRINT] > checkpoints.sizes()["cd" * 32] > 0
        checkpoints.drop(FINGERPRINT, keep=2)
        assert [one.step for one in checkpoints.complete(FINGERPRINT)] == [3, 2]
        for _ in range(2):
            checkpoints.drop(FINGERPRINT)
        assert list(checkpoints.complete(FINGERPRINT)) == []
        assert set(checkpoints.sizes()) == {"cd" * 32}


if TYPE_CHECKING:
    _: CheckpointStore = FolderCheckpoints(Path())
