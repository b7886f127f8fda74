"""S3 store: artifacts in a bucket, and an object created once that is the commit record.

```
s3://bucket/prefix/study/
    commits/{fingerprint}.json                    one listing shows all completed jobs
    artifacts/{stage}/{fp16}/{attempt}/           what one attempt wrote, and manifest.json, uploaded last
    withdrawn/{fingerprint}.{n}.json              withdrawn commit records
    removed/{fingerprint}.{attempt}.json          which files `gc` has taken out of an artifact (`removed.py`)
    lease/, asked/, checkpoints/                  where machines without a shared folder meet
```
Several drivers and hosts, on several machines, may use it at once without coordination.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.commits import FOLDER_DIGITS, SUFFIX, check_names, withdrawn_name, withdrawn_number
from orchestrator.store.location import StoreLocation, cache_folder
from orchestrator.store.protocol import Commit, ManifestEntry, Store, StoredArtifact, WithdrawnRecord
from orchestrator.store.removed import FOLDER as REMOVED
from orchestrator.store.removed import earlier_attempts, note_of, patterns_of, removed_name, removed_of
from orchestrator.store.s3.artifacts import ArtifactFiles
from orchestrator.store.s3.bucket import bucket_of
from orchestrator.store.s3.checkpoints import S3Checkpoints
from orchestrator.store.s3.commits import S3Commits
from orchestrator.store.s3.objects import S3Objects
from orchestrator.store.s3.probe import FOLDER as PROBE
from orchestrator.store.s3.probe import probe
from orchestrator.store.s3.records import RecordCache
from workloads.runtime.fault_points import point

WITHDRAWN = "withdrawn/"
PROBED_WITHIN_S = 3600.0
"""No probe takes longer than this."""


class S3Store:
    """Artifacts and commit records below the URL of a location."""

    def __init__(self, location: StoreLocation) -> None:
        bucket = bucket_of(location)
        self._location = location
        self._objects = bucket.objects
        self._files = ArtifactFiles(bucket)
        self._checkpoints = S3Checkpoints(bucket)
        study = hashlib.sha256(f"{location.endpoint} {location.url}".encode()).hexdigest()[:16]
        self._commits = S3Commits(self._objects, RecordCache(cache_folder(location) / "records" / study))

    @property
    def objects(self) -> S3Objects:
        """Small objects beside the artifacts: lease, requests of runs."""
        return self._objects

    @property
    def checkpoints(self) -> S3Checkpoints:
        """Checkpoints for other machines."""
        return self._checkpoints

    def check(self) -> None:
        """Prove that commit records can be created here.

        Raises:
            StoreUnreachable: the service does not respond.
            StoreError: it does not do what is needed, or refuses; says what to do.
        """
        probe(self._objects, self._location)

    def prepare(self, stage: str, fingerprint: str, attempt: str) -> Path:
        """The attempt's own folder on this machine, created if absent.

        Raises:
            StoreError: `fingerprint` is not 64 hex digits, or a name is not plain.
        """
        check_names(self._location.url, fingerprint, stage=stage, attempt=attempt)
        return self._files.prepare(stage, fingerprint[:FOLDER_DIGITS], attempt)

    def commit(self, commit_without_manifest: Commit, folder: Path) -> bool:
        """Upload `folder`, its manifest last, and try to create the commit record; True: this attempt has won.

        Raises:
            StoreError: `folder` is not this attempt's, holds something other than plain files, or the service refuses.
            StoreUnreachable: it does not respond; the same call may be repeated.
        """
        wanted = commit_without_manifest
        if folder != self.prepare(wanted.stage, wanted.fingerprint, wanted.attempt):
            raise StoreError(
                f"{folder} is not the folder of attempt {wanted.attempt!r} of job {wanted.job!r}; "
                "commit the folder that `prepare` returned"
            )
        try:
            winner = self._commits.read_now(wanted.fingerprint).attempt  # decided already: nothing is uploaded
        except ArtifactMissing:
            winner = self._publish(wanted, folder)
        self._files.discard(wanted.stage, wanted.fingerprint[:FOLDER_DIGITS], wanted.attempt)
        return winner == wanted.attempt

    def _publish(self, wanted: Commit, folder: Path) -> str:
        """Upload `folder` and create the commit record; the attempt that has won."""
        before = earlier_attempts(self._noted(wanted.fingerprint), wanted)
        digest = self._files.upload(folder, wanted.stage, wanted.fingerprint[:FOLDER_DIGITS], wanted.attempt, before)
        point("manifest.written")
        return self._commits.create(dataclasses.replace(wanted, manifest=digest)).attempt

    def commits(self, within_s: float = 0.0) -> frozenset[str]:
        """Fingerprints of all completed jobs; one request for each thousand."""
        return frozenset(self._commits.tags(within_s))

    def read(self, fingerprint: str) -> Commit:
        """The commit record of a completed job; no request where this machine has read it as it was last listed.

        Raises:
            ArtifactMissing: there is none.
            StoreError: it is broken, of another version, or names another fingerprint.
        """
        return self._commits.read(fingerprint)

    def revision(self, within_s: float = 0.0) -> str:
        """A digest of the names and tags of the commit records, from one listing."""
        return hashlib.sha256(repr(sorted(self._commits.tags(within_s).items())).encode()).hexdigest()

    def manifest(self, fingerprint: str) -> Sequence[ManifestEntry]:
        """The files of a completed job's artifact; see `Store.manifest`."""
        return self._files.manifest(*self._artifact(fingerprint))

    def locate(self, fingerprint: str) -> str:
        """The URL of a completed job's artifact; nothing is fetched.

        Raises:
            ArtifactMissing: there is no commit record.
            StoreError: it is broken.
        """
        return self._files.where(*self._artifact(fingerprint)[:3])

    def fetch(self, fingerprint: str) -> Path:
        """A folder on this machine with the files of the committed artifact, verified; see `Store.fetch`."""
        return self._without_removed(fingerprint, lambda of, without: self._files.fetch(*of, None, without))

    def fetch_files(self, fingerprint: str, patterns: Sequence[str]) -> Path:
        """Like `verify`, for the files whose path matches one of `patterns`."""
        return self._without_removed(fingerprint, lambda of, without: self._files.verify(*of, patterns, without))

    def release(self, folder: Path) -> None:
        """The cache of this machine may remove a fetched folder once no process uses it."""
        self._files.release(folder)

    def verify(self, fingerprint: str) -> Path:
        """Like `fetch`; a damaged file on this machine is downloaded again; see `Store.verify`."""
        return self._without_removed(fingerprint, lambda of, without: self._files.verify(*of, None, without))

    def withdraw(self, fingerprint: str) -> None:
        """Copy the commit record to `withdrawn/{fingerprint}.{n}.json`, then delete it; the artifact stays.

        Only the holder of the study's lease may call it.

        Raises:
            ArtifactMissing: there is none.
        """
        content = self._commits.content(fingerprint)
        numbers = [record.number for record in self._withdrawn(fingerprint)]
        number = max(numbers, default=0) or 1  # the newest may be ours, of a call that was cut short
        while self._objects.create(f"{WITHDRAWN}{withdrawn_name(fingerprint, number)}", content) != content:
            number += 1
        self._commits.delete(fingerprint)

    def withdrawn(self) -> Sequence[WithdrawnRecord]:
        """All withdrawn commit records, by fingerprint and number."""
        return self._withdrawn("")

    def delete_withdrawn(self, record: WithdrawnRecord) -> None:
        """Delete a withdrawn commit record."""
        self._objects.delete([f"{WITHDRAWN}{withdrawn_name(record.fingerprint, record.number)}"])

    def artifacts(self) -> Iterator[StoredArtifact]:
        """Everything that attempts have uploaded, committed or not."""
        return self._files.list()

    def delete_artifact(self, artifact: StoredArtifact) -> None:
        """Delete all objects of an artifact."""
        self._files.delete(artifact)
        notes = self._objects.entries(f"{REMOVED}/{artifact.digits}")
        self._objects.delete([one.key for one in notes if one.key.endswith(f".{artifact.attempt}{SUFFIX}")])

    def remove_files(self, commit: Commit, patterns: Sequence[str]) -> None:
        """Take files out of an artifact, and note it first; see `Store.remove_files`."""
        key = self._note(commit)
        patterns = patterns_of(self._objects.create(key, note_of(patterns)), self._objects.where(key))
        self._files.delete_files(commit.stage, commit.fingerprint[:FOLDER_DIGITS], commit.attempt, patterns)

    def removed(self) -> frozenset[tuple[str, str]]:
        """Fingerprint and attempt of the artifacts of which files were removed; one request for each thousand."""
        return self._noted("")

    def locate_record(self, fingerprint: str) -> str:
        """URL of the commit record that a job has or would have."""
        return self._commits.where(fingerprint)

    def old_versions(self) -> tuple[int, int]:
        """Versions that a bucket with versioning keeps of what was replaced or deleted, and their bytes."""
        found = list(self._objects.old_versions())
        return len(found), sum(version.size for version in found)

    def delete_old_versions(self) -> None:
        """Delete them for good: nobody can restore what was withdrawn."""
        self._objects.delete_versions(list(self._objects.old_versions()))

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Abort uploads of dead attempts, delete what killed probes left; see `Store.sweep`."""
        self._files.abort_stale(living, dead)
        before = time.time() - PROBED_WITHIN_S  # S3 refuses machines whose clock differs by a quarter of that
        self._objects.delete([entry.key for entry in self._objects.entries(PROBE) if entry.modified < before])
        self._commits.sweep()

    def _artifact(self, fingerprint: str) -> tuple[str, str, str, str]:
        """Stage, digits, attempt and sha256 of the manifest of a completed job."""
        commit = self.read(fingerprint)
        return commit.stage, fingerprint[:FOLDER_DIGITS], commit.attempt, commit.manifest

    def _without_removed(
        self, fingerprint: str, fetch: Callable[[tuple[str, str, str, str], tuple[str, ...]], Path]
    ) -> Path:
        """What `fetch` gives; of a file that is gone it is asked whether it was removed, which costs a request."""
        artifact = self._artifact(fingerprint)
        try:
            return fetch(artifact, ())
        except ArtifactMissing as error:
            key = self._note(self.read(fingerprint))
            try:
                content = self._objects.get(key)
            except ArtifactMissing:
                raise error from None
            return fetch(artifact, patterns_of(content, self._objects.where(key)))

    def _noted(self, start: str) -> frozenset[tuple[str, str]]:
        """Fingerprint and attempt of each note, of fingerprints that begin with `start`."""
        names = (entry.key.removeprefix(f"{REMOVED}/") for entry in self._objects.entries(f"{REMOVED}/{start}"))
        return frozenset(found for name in names if (found := removed_of(name)))

    @staticmethod
    def _note(commit: Commit) -> str:
        return f"{REMOVED}/{removed_name(commit.fingerprint, commit.attempt)}"

    def _withdrawn(self, fingerprint: str) -> list[WithdrawnRecord]:
        found = []
        for entry in self._objects.entries(f"{WITHDRAWN}{fingerprint}"):
            if named := withdrawn_number(entry.key.removeprefix(WITHDRAWN)):
                where = self._objects.where(entry.key)
                found.append(WithdrawnRecord(fingerprint=named[0], number=named[1], size=entry.size, where=where))
        return sorted(found, key=lambda record: (record.fingerprint, record.number))


if TYPE_CHECKING:
    _: Store = S3Store(StoreLocation(folder=""))
