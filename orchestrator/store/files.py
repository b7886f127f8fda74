"""Files store: artifacts in a folder, written in place, and a hard link that creates the commit record.

```
root/commits/{fingerprint}.json             one flat folder: one listing shows all completed jobs
root/artifacts/{stage}/{fp16}/{attempt}/    what one attempt wrote, and manifest.json
root/withdrawn/{fingerprint}.{n}.json       withdrawn commit records
root/removed/{fingerprint}.{attempt}.json   which files `gc` has taken out of an artifact (`removed.py`)
```
Several drivers and hosts, on several machines, may use it at once without coordination.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.commits import (
    FOLDER_DIGITS,
    LARGEST,
    RERUN_HINT,
    SUFFIX,
    check_names,
    commit_from,
    content_of,
    record_name,
    recorded_fingerprint,
    withdrawn_name,
    withdrawn_number,
)
from orchestrator.store.link import create_once, is_used_proof, prove_links, sync_folder
from orchestrator.store.manifest import LARGEST as LARGEST_MANIFEST
from orchestrator.store.manifest import NAME as MANIFEST
from orchestrator.store.manifest import (
    REFRESH_HINT,
    TEMPORARY,
    Verified,
    compare_bytes,
    left,
    matches,
    matching,
    read_manifest,
    verify_bytes,
    write_manifest,
)
from orchestrator.store.protocol import Commit, ManifestEntry, Store, StoredArtifact, WithdrawnRecord
from orchestrator.store.remade import with_times_of
from orchestrator.store.removed import FOLDER as REMOVED
from orchestrator.store.removed import earlier_attempts, note_of, patterns_of, removed_name, removed_of
from workloads.contract.json_files import read_plain
from workloads.contract.metrics import METRICS
from workloads.runtime.fault_points import point


class FilesStore:
    """Artifacts and commit records under `root`, on a file system with hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._commits = root / "commits"
        self._withdrawn = root / "withdrawn"
        self._removed = root / REMOVED
        self._verified = Verified()

    @property
    def objects(self) -> None:
        """None: all that use the store share the study's folder."""
        return None

    @property
    def checkpoints(self) -> None:
        """None: all that use the store see the attempts' folders."""
        return None

    def check(self) -> None:
        """Prove that commit records can be created here.

        Raises:
            StoreError: the file system has no hard links; says what to do.
        """
        prove_links(self._commits)

    def prepare(self, stage: str, fingerprint: str, attempt: str) -> Path:
        """The attempt's own folder, created if absent: what is written there is what is published.

        Raises:
            StoreError: `fingerprint` is not 64 hex digits.
        """
        folder = self._folder(stage, fingerprint, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def commit(self, commit_without_manifest: Commit, folder: Path) -> bool:
        """Write the manifest of `folder` and try to create the commit record; True: this attempt has won.

        Raises:
            StoreError: `folder` is not this attempt's, holds something other than plain files, or the file
                system has no hard links.
        """
        wanted = commit_without_manifest
        if folder != self._folder(wanted.stage, wanted.fingerprint, wanted.attempt):
            raise StoreError(
                f"{folder} is not the folder of attempt {wanted.attempt!r} of job {wanted.job!r}; "
                "commit the folder that `prepare` returned"
            )
        self._commits.mkdir(parents=True, exist_ok=True)
        for place in (*folder.parents[1:3], self.root, self.root.parent):
            sync_folder(place)  # a commit record survives a power cut only if its folders do
        if self._path(wanted.fingerprint).exists():  # decided already: the manifest must stay as committed
            sync_folder(self._commits)  # the writer may have died, or seen a failure, before this
            return self.read(wanted.fingerprint).attempt == wanted.attempt
        whole = dataclasses.replace(wanted, manifest=self._as_before(wanted, folder, write_manifest(folder)))
        point("manifest.written")
        path = self._path(wanted.fingerprint)
        create_once(path, content_of(whole), wanted.attempt, points=("commit.temporary", "commit.linked"))
        return self.read(wanted.fingerprint).attempt == wanted.attempt

    def commits(self, within_s: float = 0.0) -> frozenset[str]:
        """Fingerprints of all completed jobs, from one listing, which is always new."""
        del within_s
        try:
            with os.scandir(self._commits) as entries:
                found = {recorded_fingerprint(entry.name) for entry in entries}
        except FileNotFoundError:
            return frozenset()
        return frozenset(found - {""})

    def read(self, fingerprint: str) -> Commit:
        """The commit record of a completed job.

        Raises:
            ArtifactMissing: there is none.
            StoreError: it is broken, of another version, or names another fingerprint.
        """
        path = self._path(fingerprint)
        try:
            content = read_plain(path, LARGEST, links=False)
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{path}: no commit record, so the job is not completed; `run` makes it") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read as a plain file: {error}; {RERUN_HINT}") from error
        return commit_from(content, fingerprint, str(path))

    def revision(self, within_s: float = 0.0) -> str:
        """A digest of the names and inodes of the commit records; a record that was made again is another inode.

        The time of the folder would change with temporary files.
        """
        del within_s  # one listing costs less than a millisecond
        try:
            with os.scandir(self._commits) as entries:
                found = sorted((entry.name, entry.inode()) for entry in entries if not entry.name.startswith("."))
        except FileNotFoundError:
            found = []
        return hashlib.sha256(repr(found).encode()).hexdigest()

    def manifest(self, fingerprint: str) -> Sequence[ManifestEntry]:
        """The files of a completed job's artifact; see `Store.manifest`."""
        commit = self.read(fingerprint)
        return read_manifest(self._folder(commit.stage, fingerprint, commit.attempt), commit.manifest)

    def locate(self, fingerprint: str) -> str:
        """The committed folder, whose files are there; see `Store.locate`."""
        return str(self.fetch(fingerprint))

    def fetch_files(self, fingerprint: str, patterns: Sequence[str]) -> Path:
        """The committed folder, in place, with all its files; those that match have the bytes that were committed.

        Raises:
            ArtifactMissing: there is no commit record, or a file is missing, of another size, or was changed.
            StoreError: the commit record or the manifest is broken.
        """
        folder = self.fetch(fingerprint)
        commit = self.read(fingerprint)
        for entry in left(matching(read_manifest(folder, commit.manifest), patterns), self._patterns_of(commit)):
            compare_bytes(f"{folder}/{entry.path}", entry)
        return folder

    def release(self, folder: Path) -> None:
        """Do nothing: the store keeps what is fetched."""

    def verify(self, fingerprint: str) -> Path:
        """The committed folder, in place, after all its bytes have been read; see `Store.verify`."""
        folder, commit = self.fetch(fingerprint), self.read(fingerprint)
        verify_bytes(folder, commit.manifest, self._patterns_of(commit))
        return folder

    def fetch(self, fingerprint: str) -> Path:
        """The committed folder, in place; all files of the manifest that were not removed are there with their sizes.

        Raises:
            ArtifactMissing: there is no commit record, or a file is missing or of another size.
            StoreError: the commit record or the manifest is broken.
        """
        commit = self.read(fingerprint)
        folder = self._folder(commit.stage, fingerprint, commit.attempt)
        for above in (folder.parent, folder.parent.parent):
            if above.is_symlink():
                raise StoreError(f"{above} is a symbolic link, and artifacts lie in plain folders; {REFRESH_HINT}")
        try:
            self._verified.verify_sizes(folder, commit.manifest)
        except ArtifactMissing:
            without = self._patterns_of(commit)
            if not without:
                raise
            self._verified.verify_sizes(folder, commit.manifest, without)
        return folder

    def withdraw(self, fingerprint: str) -> None:
        """Move the commit record to `withdrawn/{fingerprint}.{n}.json`; the artifact stays.

        Raises:
            ArtifactMissing: there is none.
        """
        path = self._path(fingerprint)
        if not path.exists():
            raise ArtifactMissing(f"{path}: no commit record, so there is nothing to withdraw")
        self._withdrawn.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            try:
                os.link(path, self._withdrawn / withdrawn_name(fingerprint, number))
                break
            except FileExistsError:
                number += 1
        for place in (self._withdrawn, self.root):
            sync_folder(place)
        path.unlink()
        sync_folder(self._commits)

    def withdrawn(self) -> Sequence[WithdrawnRecord]:
        """All withdrawn commit records, by fingerprint and number."""
        found = []
        for path in self._withdrawn.glob(f"*{SUFFIX}"):
            if named := withdrawn_number(path.name):
                fingerprint, number = named
                size = path.lstat().st_size
                found.append(WithdrawnRecord(fingerprint=fingerprint, number=number, size=size, where=str(path)))
        return sorted(found, key=lambda record: (record.fingerprint, record.number))

    def delete_withdrawn(self, record: WithdrawnRecord) -> None:
        """Delete a withdrawn commit record."""
        (self._withdrawn / withdrawn_name(record.fingerprint, record.number)).unlink(missing_ok=True)

    def artifacts(self) -> Iterator[StoredArtifact]:
        """Everything that attempts have published, committed or not."""
        for folder in sorted((self.root / "artifacts").glob("*/*/*")):
            stage, digits, attempt = folder.parts[-3:]
            yield StoredArtifact(
                stage=stage,
                digits=digits,
                attempt=attempt,
                size=size_of(folder),
                modified=folder.lstat().st_mtime,
                where=str(folder),
            )

    def delete_artifact(self, artifact: StoredArtifact) -> None:
        """Delete an artifact, or whatever lies in its place."""
        folder = self.root / "artifacts" / artifact.stage / artifact.digits / artifact.attempt
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
        for path in self._removed.glob(f"{artifact.digits}*.{artifact.attempt}{SUFFIX}"):
            path.unlink(missing_ok=True)

    def remove_files(self, commit: Commit, patterns: Sequence[str]) -> None:
        """Take files out of an artifact, and note it first; see `Store.remove_files`."""
        folder, path = self._folder(commit.stage, commit.fingerprint, commit.attempt), self._note(commit)
        self._removed.mkdir(parents=True, exist_ok=True)
        sync_folder(self.root)
        patterns = patterns_of(create_once(path, note_of(patterns), commit.attempt), str(path))
        for place, _, names in os.walk(folder):
            for file in (Path(place, name) for name in names):
                if matches(file.relative_to(folder).as_posix(), patterns):
                    file.unlink(missing_ok=True)

    def removed(self) -> frozenset[tuple[str, str]]:
        """Fingerprint and attempt of the artifacts of which files were removed."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._removed) as entries:
            return frozenset(found for entry in entries if (found := removed_of(entry.name)))
        return frozenset()

    def locate_record(self, fingerprint: str) -> str:
        """Path of the commit record that a job has or would have."""
        return str(self._path(fingerprint))

    def old_versions(self) -> tuple[int, int]:
        """None: a file system keeps no versions."""
        return 0, 0

    def delete_old_versions(self) -> None:
        """Nothing to do."""

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Remove temporary files of dead writers; see `Store.sweep`."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._commits) as entries:
            for name in [entry.name for entry in entries if entry.name.startswith(".")]:
                attempt = name.removeprefix(".").removesuffix(".tmp")
                if attempt not in living and not is_used_proof(self._commits / name):
                    (self._commits / name).unlink(missing_ok=True)
        for stage, fingerprint, attempt in dead:
            (self._folder(stage, fingerprint, attempt) / TEMPORARY).unlink(missing_ok=True)

    def _as_before(self, commit: Commit, folder: Path, digest: str) -> str:
        """See `remade`; the sha256 of the manifest that `folder` has now."""
        for attempt in earlier_attempts(self.removed(), commit):
            before = folder.with_name(attempt)
            with contextlib.suppress(OSError, ValueError):  # it is gone
                content = read_plain(before / MANIFEST, LARGEST_MANIFEST, links=False)
                digest = with_times_of(folder, digest, content, partial(read_plain, before / METRICS, links=False))
        return digest

    def _note(self, commit: Commit) -> Path:
        return self._removed / removed_name(commit.fingerprint, commit.attempt)

    def _patterns_of(self, commit: Commit) -> tuple[str, ...]:
        """What was removed of an artifact; (): nothing."""
        path = self._note(commit)
        try:
            return patterns_of(read_plain(path, LARGEST, links=False), str(path))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read as a plain file: {error}") from error

    def _path(self, fingerprint: str) -> Path:
        return self._commits / record_name(fingerprint)

    def _folder(self, stage: str, fingerprint: str, attempt: str) -> Path:
        check_names(str(self.root), fingerprint, stage=stage, attempt=attempt)
        return self.root / "artifacts" / stage / fingerprint[:FOLDER_DIGITS] / attempt


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size if path.is_symlink() or path.exists() else 0
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            total += (Path(place) / name).lstat().st_size
    return total


if TYPE_CHECKING:
    _: Store = FilesStore(Path())
