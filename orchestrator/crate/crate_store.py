"""A crate as a store that can only be read: the report is made from it like from a study's own store."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.crate.layout import COMMITS, artifact_path, commit_path
from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.commits import LARGEST, commit_from, recorded_fingerprint
from orchestrator.store.manifest import read_manifest
from orchestrator.store.protocol import Commit, ManifestEntry, StoreReader
from workloads.contract.json_files import read_plain


class CrateStore:
    """The commit records and artifacts in the folder of a crate; of an artifact, the files that the crate holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commits(self, within_s: float = 0.0) -> frozenset[str]:
        """Fingerprints of all commit records."""
        found = {recorded_fingerprint(path.name) for path in (self._folder / COMMITS).glob("*")}
        return frozenset(found - {""})

    def read(self, fingerprint: str) -> Commit:
        """The commit record of a job.

        Raises:
            ArtifactMissing: there is none.
            StoreError: it is broken, or names another fingerprint.
        """
        where = commit_path(fingerprint)
        try:
            content = read_plain(self._folder / where, LARGEST, links=False)
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{where}: the crate has no such commit record") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{where}: cannot be read as a plain file: {error}") from error
        return commit_from(content, fingerprint, where)

    def fetch(self, fingerprint: str) -> Path:
        """The folder of an artifact, with those of its files that the crate holds.

        Raises:
            ArtifactMissing: there is none.
        """
        where = artifact_path(self.read(fingerprint))
        if not (self._folder / where).is_dir():
            raise ArtifactMissing(f"{where}: the crate has nothing of this artifact")
        return self._folder / where

    def fetch_files(self, fingerprint: str, patterns: Sequence[str]) -> Path:
        """The same folder: the crate holds what it holds."""
        return self.fetch(fingerprint)

    def locate(self, fingerprint: str) -> str:
        """The folder of an artifact.

        Raises:
            ArtifactMissing: there is none.
        """
        return str(self.fetch(fingerprint))

    def manifest(self, fingerprint: str) -> Sequence[ManifestEntry]:
        """The files of a completed job's artifact, whether the crate holds them or not.

        Raises:
            ArtifactMissing: the manifest is gone, or not the one that was committed.
            StoreError: it is broken.
        """
        return read_manifest(self.fetch(fingerprint), self.read(fingerprint).manifest)

    def revision(self, within_s: float = 0.0) -> str:
        """A digest of which commit records there are."""
        return hashlib.sha256("".join(sorted(self.commits())).encode()).hexdigest()


if TYPE_CHECKING:
    _: StoreReader = CrateStore(Path())
