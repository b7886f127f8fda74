"""Artifact files of a store on S3: what an attempt wrote, below its own prefix, with `manifest.json` uploaded last.

`artifacts/{stage}/{fp16}/{attempt}/{path}`. What has been fetched lies in a cache on this machine, by attempt.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from orchestrator.errors import ArtifactMissing
from orchestrator.store.location import StoreLocation, cache_folder
from orchestrator.store.manifest import NAME, REFRESH_HINT, read_manifest, sha256_of, write_manifest
from orchestrator.store.protocol import ManifestEntry, StoredArtifact
from orchestrator.store.s3.client import S3Client, s3_errors
from orchestrator.store.s3.objects import S3Objects

FOLDER = "artifacts"


class ArtifactFiles:
    """Artifacts below `prefix` of a bucket; `prefix` is empty or ends with a slash."""

    def __init__(self, client: S3Client, bucket: str, prefix: str, location: StoreLocation) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._location = location
        self._objects = S3Objects(client, bucket, prefix, location)
        below = hashlib.sha256(f"{location.endpoint} {location.url}".encode()).hexdigest()[:16]
        self._cache = cache_folder(location) / below

    def prepare(self, stage: str, digits: str, attempt: str) -> Path:
        """The local folder that the attempt writes into, created if absent."""
        folder = Path(self._location.folder) / FOLDER / stage / digits / attempt
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def upload(self, folder: Path, stage: str, digits: str, attempt: str) -> str:
        """Write the manifest of `folder` and upload everything, the manifest last; returns its sha256."""
        digest = write_manifest(folder)
        for entry in (*read_manifest(folder, digest), None):
            path = NAME if entry is None else entry.path
            self._put(self._key(stage, digits, attempt, path), folder / path)
        return digest

    def manifest(self, stage: str, digits: str, attempt: str, digest: str) -> tuple[ManifestEntry, ...]:
        """The files of an artifact, from its manifest, which must have the sha256 `digest`."""
        folder = self._folder(stage, digits, attempt)
        path = folder / NAME
        if not path.is_file() or sha256_of(path) != digest:
            self._get(self._key(stage, digits, attempt, NAME), path)
        return read_manifest(folder, digest)

    def fetch(self, stage: str, digits: str, attempt: str, digest: str, patterns: Sequence[str] | None) -> Path:
        """A folder on this machine with the files of an artifact that match `patterns`; None: all of them."""
        folder = self._folder(stage, digits, attempt)
        for entry in self.manifest(stage, digits, attempt, digest):
            if patterns is not None and not any(fnmatch(entry.path, pattern) for pattern in patterns):
                continue
            path = folder / entry.path
            if path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256:
                continue
            self._get(self._key(stage, digits, attempt, entry.path), path)
            if sha256_of(path) != entry.sha256:
                path.unlink()
                where = self._objects.where(self._key(stage, digits, attempt, entry.path))
                raise ArtifactMissing(f"{where} is not the file that was committed; {REFRESH_HINT}")
        return folder

    def list(self) -> Iterator[StoredArtifact]:
        """Everything that attempts have uploaded, sorted."""
        sizes: dict[tuple[str, str, str], int] = {}
        for entry in self._objects.entries(f"{FOLDER}/"):
            parts = entry.key.split("/")
            if len(parts) > 4:
                name = parts[1], parts[2], parts[3]
                sizes[name] = sizes.get(name, 0) + entry.size
        for (stage, digits, attempt), size in sorted(sizes.items()):
            where = self._objects.where(self._key(stage, digits, attempt, ""))
            yield StoredArtifact(stage=stage, digits=digits, attempt=attempt, size=size, where=where)

    def delete(self, artifact: StoredArtifact) -> None:
        """Delete all objects of an artifact."""
        prefix = self._key(artifact.stage, artifact.digits, artifact.attempt, "")
        self._objects.delete([entry.key for entry in self._objects.entries(prefix)])

    def abort_stale(self, living: Collection[str], dead: Sequence[tuple[str, str, str]]) -> None:
        """Abort multipart uploads of dead attempts."""
        del living
        gone = {attempt for _, _, attempt in dead}
        with s3_errors(self._location):
            answer = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=f"{self._prefix}{FOLDER}/")
            for upload in answer.get("Uploads", ()):
                if upload["Key"].removeprefix(self._prefix).split("/")[3] in gone:
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def _key(self, stage: str, digits: str, attempt: str, path: str) -> str:
        return f"{FOLDER}/{stage}/{digits}/{attempt}/{path}"

    def _folder(self, stage: str, digits: str, attempt: str) -> Path:
        return self._cache / stage / digits / attempt

    def _put(self, key: str, path: Path) -> None:
        with s3_errors(self._location, key):
            self._client.upload_file(str(path), self._bucket, self._prefix + key)

    def _get(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with s3_errors(self._location, key):
                answer: Any = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
                with temporary.open("wb") as file:
                    shutil.copyfileobj(answer["Body"], file)
            temporary.replace(path)
        except ArtifactMissing as error:
            raise ArtifactMissing(f"{self._objects.where(key)} is gone; {REFRESH_HINT}") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
