"""Store protocol: where artifacts are kept, and the commit record (COMMIT) that marks a job as completed.

Obligations (`orchestrator/testing/stores.py` tests them):

* `commit` creates the commit record of a fingerprint if there is none, atomically, and answers from what it
  reads back: exactly one attempt wins, however many try, and the winner gets True however often it calls.
* `commits` lists all fingerprints in one pass; it never probes names.
* `sweep` removes what dead writers left unfinished, and nothing of a living one.
* `fetch` returns a folder with exactly the files of the manifest; a missing file, or one of another size,
  raises ArtifactMissing. `fetch_files` promises the same of the files that match, and of no other.
* `revision` changes when a commit record is created or withdrawn, and not by looking, nor by a check.
* Files that `remove_files` has taken out of an artifact are not missed by `fetch`, `fetch_files` and `verify`; the
  manifest still lists them.
* Artifacts and withdrawn records are listed in one pass, with their sizes, and deleting one twice is no error.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

VERSION = 2
"""Of commit records. Version 1 has neither items nor what was taken over."""
RECENT_S = 60.0
"""`within_s` of a command that has just listed the commit records, and does not wait for any."""
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
    items: Mapping[str, str] = field(default_factory=dict)
    """Item -> content (`plan.fingerprint`), of a job with items."""
    measured: str = ""
    """Digest of what they were measured with."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """Fingerprint -> manifest of the finished jobs from which items were taken over."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Item that was taken over -> manifest of the artifact in which it was made, perhaps by a still earlier job."""
    version: int = VERSION


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One file of an artifact."""

    path: str
    """Relative, with `/`."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class StoredArtifact:
    """What one attempt has published, committed or not."""

    stage: str
    digits: str
    """First 16 hex digits of the job's fingerprint."""
    attempt: str
    size: int
    """Bytes."""
    modified: float
    """When its newest file was written, by the store's clock, seconds since 1970."""
    where: str
    """Folder or URL, for people."""


@dataclass(frozen=True, kw_only=True)
class WithdrawnRecord:
    """A commit record that has been withdrawn."""

    fingerprint: str
    number: int
    """1: the first of this job."""
    size: int
    """Bytes."""
    where: str
    """File or URL, for people."""


@dataclass(frozen=True, kw_only=True)
class ObjectEntry:
    """One object in a listing."""

    key: str
    size: int
    """Bytes."""
    tag: str
    """Changes with the content (S3: the ETag)."""
    modified: float
    """By the store's clock, seconds since 1970."""


class SharedObjects(Protocol):
    """Small objects by key in a store that several machines share, below the study's own prefix.

    `orchestrator/testing/objects.py` tests it, and has one in a local folder.
    """

    def create(self, key: str, content: bytes) -> bytes:
        """Create an object unless it exists; returns what is there afterwards, which tells who created it."""

    def put(self, key: str, content: bytes) -> None:
        """Write an object, whatever is there."""

    def get(self, key: str) -> bytes:
        """The content of an object.

        Raises:
            ArtifactMissing: there is none.
        """

    def entries(self, prefix: str) -> Sequence[ObjectEntry]:
        """All objects whose keys begin with `prefix`, sorted by key."""

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; those that do not exist are skipped."""


@dataclass(frozen=True, kw_only=True)
class StoredCheckpoint:
    """A complete checkpoint in the store."""

    fingerprint: str
    attempt: str
    step: int


class CheckpointStore(Protocol):
    """Checkpoints in a store that machines without a shared folder use; the manifest of each is written last.

    `orchestrator/testing/checkpoints.py` tests it, and has one in a local folder.
    """

    def sizes(self) -> Mapping[str, int]:
        """Fingerprint -> bytes of all checkpoints of the job, complete or not."""

    def complete(self, fingerprint: str) -> Sequence[StoredCheckpoint]:
        """The complete checkpoints of a job, the highest step first."""

    def upload(self, checkpoint: StoredCheckpoint, folder: Path) -> None:
        """Upload a complete checkpoint folder (`step-{n}` with its `manifest.json`); again: nothing to do."""

    def download(self, checkpoint: StoredCheckpoint, folder: Path) -> None:
        """Write a checkpoint into `folder`, which does not exist yet; each file is verified.

        Raises:
            ArtifactMissing: it is gone, or a file differs from its manifest.
        """

    def drop(self, fingerprint: str, keep: int = 0) -> None:
        """Delete all checkpoints of a job but the `keep` newest complete ones, incomplete ones included."""


class StoreReader(Protocol):
    """What results are read from: a store, or a crate."""

    def commits(self, within_s: float = 0.0) -> frozenset[str]:
        """Fingerprints of all completed jobs; a listing that this object made up to `within_s` seconds ago will do."""

    def read(self, fingerprint: str) -> Commit:
        """The commit record of a completed job.

        Raises:
            ArtifactMissing: there is none.
            StoreError: it is broken, or names another fingerprint.
        """

    def revision(self, within_s: float = 0.0) -> str:
        """A digest of which commit records there are, from one listing; `within_s` as for `commits`."""

    def manifest(self, fingerprint: str) -> Sequence[ManifestEntry]:
        """The files of a completed job's artifact.

        Raises:
            ArtifactMissing: there is no commit record, or the manifest is gone or another.
            StoreError: the commit record or the manifest is broken.
        """

    def locate(self, fingerprint: str) -> str:
        """Folder or URL of a completed job's artifact, for people; nothing is fetched.

        Raises:
            ArtifactMissing, StoreError: see `fetch`.
        """

    def fetch(self, fingerprint: str) -> Path:
        """The committed folder, read-only, on this machine; it stays until this process ends or releases it.

        Raises:
            ArtifactMissing: there is no commit record, or a file is missing or not the one that was committed.
            StoreError: the commit record or the manifest is broken.
        """

    def fetch_files(self, fingerprint: str, patterns: Sequence[str]) -> Path:
        """Like `fetch`, for the files whose path matches one of `patterns` (as `fnmatch`); others may be absent.

        The bytes of these files are compared with the manifest: one that was changed raises ArtifactMissing.
        """


class Store(StoreReader, Protocol):
    """A place for artifacts."""

    @property
    def objects(self) -> SharedObjects | None:
        """Where machines that share only the store coordinate; None: all that use it share the study's folder."""

    @property
    def checkpoints(self) -> CheckpointStore | None:
        """Where checkpoints are kept for other machines; None: they see the attempts' folders."""

    def check(self) -> None:
        """Prove that commit records can be created here, without changing `revision`.

        Raises:
            StoreError: they cannot; says what to do.
        """

    def prepare(self, stage: str, fingerprint: str, attempt: str) -> Path:
        """An empty local folder for the attempt to write into."""

    def commit(self, commit_without_manifest: Commit, folder: Path) -> bool:
        """Write the manifest of `folder`, publish it, and try to create the commit record. True: this attempt won."""

    def release(self, folder: Path) -> None:
        """End one use of a folder that `fetch` or `fetch_files` gave: a cache may remove it once nobody uses it."""

    def verify(self, fingerprint: str) -> Path:
        """Like `fetch`, after every byte has been compared with the manifest.

        Raises:
            ArtifactMissing: a file differs from its sha256.
        """

    def withdraw(self, fingerprint: str) -> None:
        """Move the commit record to `withdrawn/{fingerprint}.{n}.json`."""

    def withdrawn(self) -> Sequence[WithdrawnRecord]:
        """All withdrawn commit records, by fingerprint and number."""

    def delete_withdrawn(self, record: WithdrawnRecord) -> None:
        """Delete a withdrawn commit record."""

    def artifacts(self) -> Iterable[StoredArtifact]:
        """Everything that attempts have published, committed or not, sorted by stage, digits and attempt."""

    def delete_artifact(self, artifact: StoredArtifact) -> None:
        """Delete an artifact; its commit record must have been withdrawn."""

    def locate_record(self, fingerprint: str) -> str:
        """Path or URL of the commit record that a job has or would have, for people."""

    def remove_files(self, commit: Commit, patterns: Sequence[str]) -> None:
        """Take the files whose path matches one of `patterns` out of an artifact, and note it first.

        Again: nothing to do, or what a call that was cut short has left. Only the holder of the study's lease may
        call it.

        Args:
            commit: of the artifact; it may be about to be committed without such files.
            patterns: as for `fnmatch`; where files were removed before, what was said then counts.
        """

    def removed(self) -> frozenset[tuple[str, str]]:
        """Fingerprint and attempt of the artifacts of which files were removed, from one listing."""

    def old_versions(self) -> tuple[int, int]:
        """How many versions of replaced and deleted objects the store keeps, and their bytes; (0, 0) without any."""

    def delete_old_versions(self) -> None:
        """Delete them for good."""

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Remove temporary files of dead writers.

        Args:
            living: attempts that may be publishing now.
            dead: (stage, fingerprint, attempt) of attempts that are known to have died.
        """
