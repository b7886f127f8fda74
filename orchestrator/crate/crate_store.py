"""A crate as a store that can only be read: the report is made from it like from a study's own store."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from orchestrator.crate.layout import COMMITS, artifact_path, commit_path
from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.commits import FINGERPRINT, LARGEST, commit_from
from orchestrator.store.protocol import Commit, Store
from workloads.contract.json_files import read_plain


class CrateStore:
    """The commit records and artifacts in the folder of a crate; of an artifact, the files that the crate holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commits(self) -> frozenset[str]:
        """Fingerprints of all commit records."""
        found = (path.name.removesuffix(".json") for path in (self._folder / COMMITS).glob("*.json"))
        return frozenset(name for name in found if FINGERPRINT.fullmatch(name))

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

    def prepare(self, stage: str, fingerprint: str, attempt: str) -> Path:
        """Refused."""
        _refuse()

    def commit(self, commit_without_manifest: Commit, folder: Path) -> bool:
        """Refused."""
        _refuse()

    def withdraw(self, fingerprint: str) -> None:
        """Refused."""
        _refuse()

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Nothing is ever left unfinished in a crate."""


def _refuse() -> NoReturn:
    raise StoreError("a crate is only read; `run` writes to the study's store")


if TYPE_CHECKING:
    _: Store = CrateStore(Path())
