"""Checkpoints on S3: `checkpoints/{fingerprint}/{attempt}/step-{n}/`, the files of one and, last, files.json.

A checkpoint's own manifest may give sizes alone; `files.json` has the sha256 of every file, so that what arrives on
another machine is what was sent.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ArtifactMissing
from orchestrator.store.manifest import path_problem, sha256_of
from orchestrator.store.protocol import CheckpointStore, ManifestEntry, ObjectEntry, StoredCheckpoint
from orchestrator.store.s3.bucket import Bucket
from orchestrator.store.s3.download import Incoming
from orchestrator.store.s3.multipart import abort_upload, unfinished_uploads
from orchestrator.store.s3.objects import DamagedObject
from orchestrator.store.s3.transfer import download_files, upload_folder
from workloads.contract.json_files import object_of

FOLDER = "checkpoints"
INDEX = "files.json"
_KEY = re.compile(rf"{FOLDER}/([0-9a-f]{{64}})/([A-Za-z0-9][A-Za-z0-9._-]*)/step-(\d+)/(.+)", re.DOTALL)


class S3Checkpoints:
    """Stored checkpoints in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def sizes(self) -> Mapping[str, int]:
        """Fingerprint -> bytes of all checkpoints of the job, complete or not; one request for each thousand files."""
        found: Counter[str] = Counter()
        for entry in self._bucket.objects.entries(f"{FOLDER}/"):
            if key := _KEY.fullmatch(entry.key):
                found[key[1]] += entry.size
        return found

    def complete(self, fingerprint: str) -> Sequence[StoredCheckpoint]:
        """The complete checkpoints of a job, the highest step first; of equal ones the latest attempt's."""
        found = self._listed(fingerprint)
        whole = [one for one, entries in found.items() if any(entry.key.endswith(f"/{INDEX}") for entry in entries)]
        return sorted(whole, key=lambda one: (one.step, one.attempt), reverse=True)

    def upload(self, checkpoint: StoredCheckpoint, folder: Path) -> None:
        """Upload all files of a checkpoint folder; again: only what is missing.

        Raises:
            StoreError: the store refuses.
            OSError: the store does not respond, or a file cannot be read.
        """
        prefix = _prefix(checkpoint)
        entries = [
            ManifestEntry(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=sha256_of(path))
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        upload_folder(self._bucket, prefix, folder, entries)
        index = {"version": 1, "files": [vars(entry) for entry in entries]}
        self._bucket.objects.put(f"{prefix}{INDEX}", json.dumps(index).encode())

    def download(self, checkpoint: StoredCheckpoint, folder: Path) -> None:
        """Write a checkpoint into `folder`, which does not exist yet; where it fails, nothing is left.

        Raises:
            ArtifactMissing: it is gone, or a file is not what was uploaded.
            StoreError: the store refuses.
            OSError: the store does not respond, or the disk refuses.
        """
        prefix = _prefix(checkpoint)
        try:
            entries = _entries(self._bucket.objects.get(f"{prefix}{INDEX}"), self._bucket.url(f"{prefix}{INDEX}"))
        except DamagedObject as error:
            raise ArtifactMissing(str(error)) from error
        files = [
            Incoming(
                key=f"{prefix}{entry.path}",
                size=entry.size,
                sha256=entry.sha256,
                path=folder / entry.path,
                partial=folder / f"{entry.path}.part",
            )
            for entry in entries
        ]
        try:
            for place in {file.path.parent for file in files}:
                place.mkdir(parents=True, exist_ok=True)
            download_files(self._bucket, files)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def drop(self, fingerprint: str, keep: int = 0) -> None:
        """Delete all checkpoints of a job but the newest complete ones, what says that one is complete first."""
        kept = set(self.complete(fingerprint)[:keep])
        gone = {one: entries for one, entries in self._listed(fingerprint).items() if one not in kept}
        objects = self._bucket.objects
        objects.delete([f"{_prefix(one)}{INDEX}" for one in gone])
        objects.delete([entry.key for entries in gone.values() for entry in entries])
        if keep == 0:
            for one in unfinished_uploads(self._bucket, f"{FOLDER}/{fingerprint}/"):
                abort_upload(self._bucket, one)

    def _listed(self, fingerprint: str) -> dict[StoredCheckpoint, list[ObjectEntry]]:
        found: dict[StoredCheckpoint, list[ObjectEntry]] = {}
        for entry in self._bucket.objects.entries(f"{FOLDER}/{fingerprint}/"):
            if key := _KEY.fullmatch(entry.key):
                one = StoredCheckpoint(fingerprint=key[1], attempt=key[2], step=int(key[3]))
                found.setdefault(one, []).append(entry)
        return found


def _prefix(one: StoredCheckpoint) -> str:
    return f"{FOLDER}/{one.fingerprint}/{one.attempt}/step-{one.step}/"


def _entries(content: bytes, where: str) -> list[ManifestEntry]:
    """The files that an index lists; none lies outside the checkpoint.

    Raises:
        ArtifactMissing: it is damaged.
    """
    try:
        found = [
            ManifestEntry(path=str(line["path"]), size=int(line["size"]), sha256=str(line["sha256"]))
            for line in object_of(content, where)["files"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactMissing(f"{where}: is not a list of files: {error}") from error
    for entry in found:
        if entry.path != "manifest.json" and (problem := path_problem(entry.path)):
            raise ArtifactMissing(f"{where}: file {entry.path[:200]!r} {problem}; nothing of it is read")
    return found


if TYPE_CHECKING:

    def _is_one(bucket: Bucket) -> CheckpointStore:
        return S3Checkpoints(bucket)
