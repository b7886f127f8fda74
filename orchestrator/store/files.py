"""Files store: artifacts in a folder, written in place, and a hard link that creates the commit record.

```
root/commits/{fingerprint}.json             one flat folder: one listing shows all completed jobs
root/artifacts/{stage}/{fp16}/{attempt}/    what one attempt wrote, and manifest.json
root/withdrawn/{fingerprint}.{n}.json       withdrawn commit records
```
Several drivers and hosts, on several machines, may use it at once without coordination.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.commits import FINGERPRINT, LARGEST, PLAIN_NAME, RERUN_HINT, commit_from
from orchestrator.store.link import create_once, is_used_proof, prove_links, sync_folder
from orchestrator.store.manifest import REFRESH_HINT, TEMPORARY, verify_sizes, write_manifest
from orchestrator.store.protocol import Commit, Store
from workloads.contract.json_files import read_plain
from workloads.runtime.fault_points import point

FOLDER_DIGITS = 16
"""Hex digits of a fingerprint in folder names; the commit record holds all 64, and readers check them."""
SUFFIX = ".json"


class FilesStore:
    """Artifacts and commit records under `root`, on a file system with hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._commits = root / "commits"
        self._withdrawn = root / "withdrawn"

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
        whole = dataclasses.replace(wanted, manifest=write_manifest(folder))
        content = json.dumps(dataclasses.asdict(whole), indent=1, sort_keys=True).encode("utf-8")
        point("manifest.written")
        create_once(
            self._path(wanted.fingerprint), content, wanted.attempt, points=("commit.temporary", "commit.linked")
        )
        return self.read(wanted.fingerprint).attempt == wanted.attempt

    def commits(self) -> frozenset[str]:
        """Fingerprints of all completed jobs, from one listing."""
        try:
            with os.scandir(self._commits) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return frozenset()
        length = 64 + len(SUFFIX)
        return frozenset(
            name[:64]
            for name in names
            if len(name) == length and name.endswith(SUFFIX) and FINGERPRINT.fullmatch(name[:64])
        )

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

    def fetch(self, fingerprint: str) -> Path:
        """The committed folder, in place; all files of the manifest are there with their sizes.

        Raises:
            ArtifactMissing: there is no commit record, or a file is missing or of another size.
            StoreError: the commit record or the manifest is broken.
        """
        commit = self.read(fingerprint)
        folder = self._folder(commit.stage, fingerprint, commit.attempt)
        for above in (folder.parent, folder.parent.parent):
            if above.is_symlink():
                raise StoreError(f"{above} is a symbolic link, and artifacts lie in plain folders; {REFRESH_HINT}")
        verify_sizes(folder, commit.manifest)
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
                os.link(path, self._withdrawn / f"{fingerprint}.{number}{SUFFIX}")
                break
            except FileExistsError:
                number += 1
        for place in (self._withdrawn, self.root):
            sync_folder(place)
        path.unlink()
        sync_folder(self._commits)

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Remove temporary files of dead writers; see `Store.sweep`."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._commits) as entries:
            for name in [entry.name for entry in entries if entry.name.startswith(".")]:
                attempt = name.removeprefix(".").removesuffix(".tmp")
                if attempt not in living and not is_used_proof(self._commits / name):
                    (self._commits / name).unlink(missing_ok=True)
        for stage, fingerprint, attempt in dead:
            (self._folder(stage, fingerprint, attempt) / TEMPORARY).unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        if not FINGERPRINT.fullmatch(fingerprint):
            raise StoreError(f"{fingerprint!r} is not a fingerprint (64 lower-case hex digits)")
        return self._commits / f"{fingerprint}{SUFFIX}"

    def _folder(self, stage: str, fingerprint: str, attempt: str) -> Path:
        self._path(fingerprint)  # refuses an invalid fingerprint
        for what, name in (("stage", stage), ("attempt", attempt)):
            if not PLAIN_NAME.fullmatch(name):
                raise StoreError(f"{what} {name!r} is not a plain name, so it names no folder of {self.root}")
        return self.root / "artifacts" / stage / fingerprint[:FOLDER_DIGITS] / attempt


if TYPE_CHECKING:
    _: Store = FilesStore(Path())
