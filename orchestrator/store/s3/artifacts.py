"""Artifacts on S3: `artifacts/{stage}/{digits}/{attempt}/`, the attempt's files and, last, manifest.json.

What an attempt writes lies in a folder of this machine until it is committed. What is fetched lies in the cache of
this machine, and so does what was published here: the next job on this machine reads it without a download.
"""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

from orchestrator.errors import FULL, ArtifactMissing, StoreError
from orchestrator.store.commits import FOLDER_DIGITS
from orchestrator.store.location import cache_folder
from orchestrator.store.manifest import (
    NAME,
    REFRESH_HINT,
    left,
    matches,
    matching,
    read_manifest,
    sha256_of,
    write_manifest,
)
from orchestrator.store.protocol import ManifestEntry, StoredArtifact
from orchestrator.store.remade import with_times_of
from orchestrator.store.s3.bucket import Bucket
from orchestrator.store.s3.cache import Cache
from orchestrator.store.s3.download import Incoming
from orchestrator.store.s3.multipart import Unfinished, abort_upload, unfinished_uploads
from orchestrator.store.s3.objects import DamagedObject
from orchestrator.store.s3.transfer import download_files, upload_folder
from orchestrator.store.s3.work_folders import WorkFolders
from workloads.contract.metrics import METRICS

FOLDER = "artifacts"
KEPT_MANIFESTS = 64
"""Manifests in memory; one of 20,000 files has 6 MiB there."""
STALE_S = 86_400.0
"""Age of a multipart upload, of an attempt that does not live, from which on it is aborted."""
TRIES = 3
"""Times that a file is looked for again which another process has evicted meanwhile."""


class ArtifactFiles:
    """The files of artifacts in a bucket; for all threads of a process."""

    def __init__(self, bucket: Bucket) -> None:
        """Artifacts in `bucket`, whose location names the folders on this machine; nothing is written yet."""
        self._bucket, location = bucket, bucket.location
        self.cache = Cache(cache_folder(location), location.cache_gib)
        """Of this machine."""
        self._manifests: OrderedDict[str, tuple[ManifestEntry, ...]] = OrderedDict()
        self._written = WorkFolders(Path(location.folder) / "attempts")

    def prepare(self, stage: str, digits: str, attempt: str) -> Path:
        """The folder on this machine into which an attempt writes, created if absent."""
        return self._written.take(stage, digits, attempt)

    def upload(self, folder: Path, stage: str, digits: str, attempt: str, earlier: Sequence[str] = ()) -> str:
        """Upload what an attempt wrote, manifest.json last; returns the manifest's sha256.

        Again, after an error or in another process: what is there is not sent again.

        Args:
            folder: what the attempt wrote.
            stage, digits, attempt: of the artifact.
            earlier: attempts of the same job of which files were removed (`remade`).

        Raises:
            StoreError: the folder holds something other than plain files, or the store refuses or does not answer.
            OSError: a file cannot be read.
        """
        digest = write_manifest(folder)
        for other in earlier:
            prefix, objects = self._prefix(stage, digits, other), self._bucket.objects
            with contextlib.suppress(ArtifactMissing, DamagedObject):
                digest = with_times_of(
                    folder, digest, objects.get(prefix + NAME), partial(objects.get, prefix + METRICS)
                )
        content = (folder / NAME).read_bytes()
        entries = read_manifest(folder, digest)
        last = ManifestEntry(path=NAME, size=len(content), sha256=digest)
        upload_folder(self._bucket, self._prefix(stage, digits, attempt), folder, entries, last)
        with contextlib.suppress(StoreError, OSError):  # no room, or a disk that fails: it is in the store
            self._keep(folder, self.cache.folder(stage, digits, attempt, digest), entries, content)
        return digest

    def discard(self, stage: str, digits: str, attempt: str) -> None:
        """Delete the folder of an attempt on this machine; what it has uploaded stays."""
        self._written.delete(stage, digits, attempt)

    def manifest(self, stage: str, digits: str, attempt: str, digest: str) -> tuple[ManifestEntry, ...]:
        """The files of an artifact whose manifest has the sha256 `digest`.

        Raises:
            ArtifactMissing: there is no manifest, or another one.
            StoreError: it is broken, or the store refuses or does not answer.
        """
        known = self._manifests.get(digest)
        if known is not None:
            return known
        folder = self.cache.folder(stage, digits, attempt, digest)
        try:
            entries = read_manifest(folder, digest)
        except StoreError:
            content = self._get_manifest(stage, digits, attempt, digest)
            self.cache.use(folder)
            try:
                self.cache.add_manifest(folder, content)
                entries = read_manifest(folder, digest)
            finally:
                self.cache.release(folder)
        self._manifests[digest] = entries
        with contextlib.suppress(KeyError):  # another thread was faster
            while len(self._manifests) > KEPT_MANIFESTS:
                self._manifests.popitem(last=False)
        return entries

    def fetch(
        self,
        stage: str,
        digits: str,
        attempt: str,
        digest: str,
        patterns: Sequence[str] | None,
        without: Sequence[str] = (),
    ) -> Path:
        """The folder of an artifact on this machine with all files, or those that match; it stays until `release`.

        Args:
            stage, digits, attempt: of the artifact.
            digest: sha256 of its manifest.
            patterns: as for `fnmatch`; None: all files.
            without: patterns of files that were removed.

        Raises:
            ArtifactMissing: a file is gone, or not the one of the manifest.
            StoreError: the store refuses or does not answer, or the cache is too small.
            OSError: the disk refuses.
        """
        entries = self._chosen((stage, digits, attempt, digest), patterns, without)
        folder = self.cache.folder(stage, digits, attempt, digest)
        self.cache.use(folder)
        try:
            if not (folder / NAME).exists():  # evicted since it was read
                self.cache.add_manifest(folder, self._get_manifest(stage, digits, attempt, digest))
            prefix = self._prefix(stage, digits, attempt)
            for _ in range(TRIES):
                missing = [entry for entry in entries if not self.cache.has(folder, entry)]
                if not missing:
                    return folder
                self._download(prefix, folder, missing)
        except BaseException:
            self.cache.release(folder)
            raise
        return folder

    def verify(
        self,
        stage: str,
        digits: str,
        attempt: str,
        digest: str,
        patterns: Sequence[str] | None = None,
        without: Sequence[str] = (),
    ) -> Path:
        """Like `fetch`, after every byte of these files has been read; one that is damaged here is downloaded again."""
        folder = self.fetch(stage, digits, attempt, digest, patterns, without)
        chosen = self._chosen((stage, digits, attempt, digest), patterns, without)
        damaged = [entry for entry in chosen if sha256_of(folder / entry.path) != entry.sha256]
        for entry in damaged:
            self.cache.drop(folder, entry)
        if damaged:
            self.cache.release(folder)
            return self.fetch(stage, digits, attempt, digest, patterns, without)
        return folder

    def _chosen(
        self, artifact: tuple[str, str, str, str], patterns: Sequence[str] | None, without: Sequence[str]
    ) -> tuple[ManifestEntry, ...]:
        entries = left(self.manifest(*artifact), without)
        return entries if patterns is None else matching(entries, patterns)

    def release(self, folder: Path) -> None:
        """A folder that `fetch` gave is no longer read; the cache may remove it when it needs room."""
        self.cache.release(folder)

    def where(self, stage: str, digits: str, attempt: str) -> str:
        """The URL below which an artifact is, for people."""
        return self._bucket.url(self._prefix(stage, digits, attempt))

    def list(self) -> Iterator[StoredArtifact]:
        """All that attempts have uploaded, committed or not, sorted; one request for each thousand files."""
        found: dict[tuple[str, str, str], tuple[int, float]] = {}
        for entry in self._bucket.objects.entries(f"{FOLDER}/"):
            parts = entry.key.split("/", 4)
            if len(parts) == 5:
                size, modified = found.get((parts[1], parts[2], parts[3]), (0, 0.0))
                found[parts[1], parts[2], parts[3]] = size + entry.size, max(modified, entry.modified)
        for (stage, digits, attempt), (size, modified) in sorted(found.items()):
            where = self.where(stage, digits, attempt)
            yield StoredArtifact(stage=stage, digits=digits, attempt=attempt, size=size, modified=modified, where=where)

    def delete(self, artifact: StoredArtifact) -> None:
        """Delete an artifact, its manifest first; again: nothing to do."""
        prefix = self._prefix(artifact.stage, artifact.digits, artifact.attempt)
        objects = self._bucket.objects
        objects.delete([prefix + NAME])
        objects.delete([entry.key for entry in objects.entries(prefix)])
        for one in unfinished_uploads(self._bucket, prefix):
            abort_upload(self._bucket, one)

    def delete_files(self, stage: str, digits: str, attempt: str, patterns: Sequence[str]) -> None:
        """Delete the files of an artifact that match; what this machine has of them goes as its cache needs room."""
        prefix, objects = self._prefix(stage, digits, attempt), self._bucket.objects
        keys = (entry.key for entry in objects.entries(prefix))
        objects.delete([key for key in keys if matches(key.removeprefix(prefix), patterns)])

    def abort_stale(self, living: Collection[str], dead: Sequence[tuple[str, str, str]]) -> None:
        """Abort multipart uploads of attempts that are known to be dead, and old ones of those that do not live.

        What either have left on this machine is deleted.

        Args:
            living: attempts that may be uploading now.
            dead: (stage, fingerprint, attempt).
        """
        known = {(stage, fingerprint[:FOLDER_DIGITS], attempt) for stage, fingerprint, attempt in dead}
        now = time.time()
        for one in unfinished_uploads(self._bucket, f"{FOLDER}/"):
            if is_stale(one, living, known, now):
                abort_upload(self._bucket, one)
        for stage, digits, attempt in known:
            self.discard(stage, digits, attempt)
        self._written.sweep(living)  # of attempts that ended under a controller that has died

    def _keep(self, folder: Path, kept: Path, entries: Sequence[ManifestEntry], content: bytes) -> None:
        """Put what was published here into the cache, as the folder `kept`."""
        with self.cache.room(sum(entry.size for entry in entries), on_disk=False):
            self.cache.use(kept)
            try:
                self.cache.add_manifest(kept, content)
                for entry in entries:
                    self.cache.add(folder / entry.path, entry)
                    self.cache.link(kept, entry)
            finally:
                self.cache.release(kept)

    def _download(self, prefix: str, folder: Path, missing: Sequence[ManifestEntry]) -> None:
        """Download files into the cache, and link them into `folder`."""
        wanted: dict[str, list[ManifestEntry]] = {}
        for entry in missing:
            wanted.setdefault(entry.sha256, []).append(entry)
        with self.cache.room(sum(entries[0].size for entries in wanted.values())) as room:

            def landed(file: Incoming) -> None:
                for entry in wanted[file.sha256]:
                    self.cache.link(folder, entry)
                room.written(file.size)

            files = [
                Incoming(
                    key=prefix + entries[0].path,
                    size=entries[0].size,
                    sha256=digest,
                    path=self.cache.blob(digest),
                    partial=self.cache.partial(digest),
                )
                for digest, entries in wanted.items()
            ]
            try:
                download_files(self._bucket, files, landed)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                why = (error.strerror or "it is full").lower()
                raise StoreError(
                    f"{self.cache.root}: {why}; free some space, or name a folder on a larger disk as cache under "
                    "store in the cluster file; what has arrived stays there"
                ) from error

    def _get_manifest(self, stage: str, digits: str, attempt: str, digest: str) -> bytes:
        key = self._prefix(stage, digits, attempt) + NAME
        try:
            content = self._bucket.objects.get(key)
        except (ArtifactMissing, DamagedObject) as error:
            raise ArtifactMissing(f"{error}; {REFRESH_HINT}") from error
        found = sha256(content).hexdigest()
        if found != digest:
            raise ArtifactMissing(
                f"{self._bucket.url(key)} has sha256 {found[:12]}, committed was {digest[:12]}; {REFRESH_HINT}"
            )
        return content

    @staticmethod
    def _prefix(stage: str, digits: str, attempt: str) -> str:
        return f"{FOLDER}/{stage}/{digits}/{attempt}/"


def is_stale(upload: Unfinished, living: Collection[str], dead: Collection[tuple[str, str, str]], now: float) -> bool:
    """Whether an unfinished upload is to be aborted.

    Args:
        upload: of an artifact's file.
        living: attempts that may be uploading now.
        dead: (stage, digits, attempt).
        now: seconds since 1970.
    """
    _, stage, digits, attempt, *_ = (*upload.key.split("/"), "", "", "")
    return (stage, digits, attempt) in dead or (attempt not in living and now - upload.begun > STALE_S)
