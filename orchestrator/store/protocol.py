"""Where artifacts live, and the COMMIT that says a job is done.

Obligations (`orchestrator/testing/stores.py` tests them):

* `commit` creates the COMMIT of a fingerprint if it is absent, whole or not at all, and answers
  from what it reads back: exactly one attempt wins, however many try, and an attempt that asks
  again after it has won is told so again.
* `commits` lists all fingerprints in one pass; it never probes names.
* `sweep` takes away what writers that died left half made, and nothing of a living one.
* `fetch` gives a folder whose files are those of the manifest; what is missing or of another size
  raises ArtifactMissing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The record that a job is done."""

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
        """Write the manifest of `folder`, publish it, and try to COMMIT. True: this attempt won."""

    def commits(self) -> frozenset[str]:
        """Fingerprints of all jobs that are done."""

    def read(self, fingerprint: str) -> Commit:
        """The COMMIT of a done job.

        Raises:
            ArtifactMissing: there is none.
            StoreError: it is broken, or names another fingerprint.
        """

    def fetch(self, fingerprint: str) -> Path:
        """The committed folder, read-only, on this machine."""

    def withdraw(self, fingerprint: str) -> None:
        """Put the COMMIT aside as `withdrawn/{fingerprint}.{n}.json`."""

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Remove temporary files that no living writer owns.

        Args:
            living: attempts that may be publishing now.
            dead: (stage, fingerprint, attempt) of attempts that are known to have ended before their time.
        """
