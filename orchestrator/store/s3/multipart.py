"""Multipart uploads: one large object in parts, which an upload that is started again continues."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from orchestrator.store.s3.bucket import Bucket
from orchestrator.store.s3.client import code_of
from orchestrator.store.s3.failures import NO_OBJECT
from orchestrator.store.s3.objects import DIGEST
from orchestrator.store.s3.parts import part_count, part_size
from workloads.runtime.fault_points import point

GONE = "NoSuchUpload"


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A local file, and the object that it becomes."""

    key: str
    path: Path
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A multipart upload that was begun and not completed."""

    key: str
    upload: str
    begun: float
    """By the store's clock, seconds since 1970."""


def unfinished_uploads(bucket: Bucket, prefix: str) -> list[Unfinished]:
    """Multipart uploads below `prefix` that were begun and not completed, the oldest first."""
    found = []
    with bucket.errors(prefix):
        pages = bucket.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket.name, Prefix=bucket.prefix + prefix
        )
        for page in pages:
            for upload in page.get("Uploads", ()):
                key = upload["Key"].removeprefix(bucket.prefix)
                found.append(Unfinished(key=key, upload=upload["UploadId"], begun=upload["Initiated"].timestamp()))
    return sorted((one for one in found if one.key.startswith(prefix)), key=lambda one: one.begun)


def abort_upload(bucket: Bucket, unfinished: Unfinished) -> None:
    """Abort an upload, which deletes its parts; one that is gone is no error."""
    with bucket.errors(unfinished.key):
        try:
            bucket.client.abort_multipart_upload(**bucket.object(unfinished.key), UploadId=unfinished.upload)
        except ClientError as error:
            if code_of(error) not in {GONE, *NO_OBJECT}:
                raise


class MultipartUpload:
    """The upload of one large file; `send` may be called from several threads."""

    def __init__(self, bucket: Bucket, file: Outgoing, begun: str | None = None) -> None:
        """Continue the upload with the id `begun`, or begin one.

        Raises:
            StoreError, StoreUnreachable: the store refuses or does not answer.
        """
        self._bucket, self._file = bucket, file
        self._tags: dict[int, str] = {}
        self._lock = threading.Lock()
        self.parts = part_count(file.size)
        """How many; they are numbered from 1."""
        there = None if begun is None else self._sent(begun)
        self._there = there or {}
        self._id = self._begin() if begun is None or there is None else begun

    def send(self, number: int) -> None:
        """Upload a part, unless it is there with its size and MD5."""
        step = part_size(self._file.size)
        with self._file.path.open("rb") as file:
            file.seek((number - 1) * step)
            content = file.read(step)
        known = self._there.get(number)
        if known is None or known != (len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()):
            with self._bucket.errors(self._file.key):
                sent = self._bucket.client.upload_part(
                    **self._bucket.object(self._file.key), UploadId=self._id, PartNumber=number, Body=content
                )
            tag = str(sent["ETag"])
        else:
            tag = f'"{known[1]}"'
        with self._lock:
            self._tags[number] = tag
        point("upload.part")

    def finish(self) -> None:
        """Complete the upload; an upload that is gone may have been completed by a request whose answer was lost."""
        parts = [{"PartNumber": number, "ETag": self._tags[number]} for number in sorted(self._tags)]
        with self._bucket.errors(self._file.key):
            try:
                self._bucket.client.complete_multipart_upload(
                    **self._bucket.object(self._file.key), UploadId=self._id, MultipartUpload={"Parts": parts}
                )
            except ClientError as error:
                if code_of(error) != GONE:
                    raise

    def _begin(self) -> str:
        with self._bucket.errors(self._file.key):
            begun = self._bucket.client.create_multipart_upload(
                **self._bucket.object(self._file.key), Metadata={DIGEST: self._file.sha256}
            )
        return str(begun["UploadId"])

    def _sent(self, upload: str) -> dict[int, tuple[int, str]] | None:
        """Part -> (bytes, MD5) of what an upload has; None: the upload is gone."""
        found: dict[int, tuple[int, str]] = {}
        with self._bucket.errors(self._file.key):
            try:
                pages = self._bucket.client.get_paginator("list_parts").paginate(
                    **self._bucket.object(self._file.key), UploadId=upload
                )
                for page in pages:
                    for part in page.get("Parts", ()):
                        found[part["PartNumber"]] = (part["Size"], str(part["ETag"]).strip('"'))
            except ClientError as error:
                if code_of(error) != GONE:
                    raise
                return None
        return found
