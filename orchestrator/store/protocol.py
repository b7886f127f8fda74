"""Store protocol: where artifacts are kept, and the commit record (COMMIT) that marks a job as completed.

Obligations (`orchestrator/testing/stores.py` tests them):

* `commit` creates the commit record of a fingerprint if there is none, atomically, and answers from what it
  reads back: exactly one attempt wins, however many try, and the winner gets True however often it calls.
* `commits` lists all fingerprints in one pass; it never probes names.
* `sweep` removes what dead writers left unfinished, and nothing of a living one.
* `fetch` returns a folder with exactly the files of the manifest; a missing file, or one of another size,
  raises ArtifactMissing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

VERSION = 1
PROGRAM = "echo-matrix"
"""Key in `Commit.versions` of the orchestrator's own version."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The commit record of a job: it is completed."""

    fingerprint: str
    attempt: str
    stage: str
    branch: str | None
    job: str
    label: str
    manifest: str
    """sha256 of manifest.json."""
    inputs: Mapping[str, Mapping[str, str]]
    """Stage -> {"fingerprint", "manifest"} of the inputs this attempt read."""
    code: str
    """Digest of the code that ran."""
    git: str
    """Commit id, with `-dirty` where the checkout had changes; empty outside a checkout."""
    versions: Mapping[str, str]
    """Of the orchestrator (`PROGRAM`), Python and the libraries that the job imported."""
    host_kind: str
    started: float
    ended: float
    result: Mapping[str, Any] = field(default_factory=dict)
    """`steps`, `records` and `cost` of the attempt's result.json."""
    version: int = VERSION


class Store(Protocol):
    """A place for artifacts."""

    def prepare(self, stage: str, fingerprint: str, attempt: str) -> Path:
        """An empty local folder for the attempt to write into."""

    def commit(self, commit_without_manifest: Commit, folder: Path) -> bool:
        """Write the manifest of `folder`, publish it, and try to create the commit record. True: this attempt won."""

    def commits(self) -> frozenset[str]:
        """Fingerprints of all completed jobs."""

    def read(self, fingerprint: str) -> Commit:
        """The commit record of a completed job.

        Raises:
            ArtifactMissing: there is none.
            StoreError: it is broken, or names another fingerprint.
        """

    def fetch(self, fingerprint: str) -> Path:
        """The committed folder, read-only, on this machine."""

    def withdraw(self, fingerprint: str) -> None:
        """Move the commit record to `withdrawn/{fingerprint}.{n}.json`."""

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Remove temporary files of dead writers.

        Args:
            living: attempts that may be publishing now.
            dead: (stage, fingerprint, attempt) of attempts that are known to have died.
        """
