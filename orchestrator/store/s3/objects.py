"""Small objects of a store on S3: created once, listed and deleted; what commit records and leases rest on.

`create` is one PutObject with `If-None-Match: *`, then a GET: what is there decides, and not the answer to the PUT.
boto3 sends a PUT again when its answer is lost, and the second finds the object of the first: 412, though ours was
written. A 409 wrote nothing, and boto3 does not repeat it. Some servers say 412 where nothing is. Multipart uploads
and `If-Match` are never used for a decision: servers get them wrong under races.

Each object has the sha256 of its content in its metadata, so that a damaged transfer is seen, whatever the server
and the client compare.
"""

import errno
import random
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, FlexibleChecksumError

from orchestrator.errors import ArtifactMissing, StoreError, StoreUnreachable
from orchestrator.store.location import StoreLocation
from orchestrator.store.manifest import LARGEST as MANIFEST
from orchestrator.store.protocol import ObjectEntry, SharedObjects
from orchestrator.store.s3.client import S3Client, code_of, s3_errors
from orchestrator.store.s3.failures import BUSY, CONFLICT, NO_OBJECT, PASSING, PRECONDITION

DIGEST = "sha256"
"""Key of the metadata with the sha256 of an object's content."""
LARGEST = MANIFEST
"""Bytes of an object that is read into memory; manifests are the largest."""
TRIES = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
PAGE = 1000
"""Objects in one request: what S3 allows for listing and for deleting."""
NO_BATCH = frozenset({"NotImplemented", "MissingContentMD5", "MethodNotAllowed", "InvalidRequest", "501", "405"})
"""Answers of servers that cannot delete several objects in one request."""


_DAMAGED = (
    "differs from the checksum that its writer gave: it was damaged on its way, or changed; if that stays so, delete it"
)


@dataclass(frozen=True, kw_only=True)
class OldVersion:
    """A version of an object that is not what the object is now."""

    key: str
    """With the prefix."""
    version: str
    size: int
    """Bytes; 0: a mark of deletion, or an empty object."""


class DamagedObject(StoreError):
    """An object whose content is not what its writer sent."""

    def __init__(self, message: str, digest: str, content: bytes) -> None:
        super().__init__(message)
        self.digest = digest
        """The sha256 that the writer gave."""
        self.content = content
        """As it arrived; empty where boto3 refused to hand it out."""


class S3Objects:
    """Objects below `prefix` of a bucket; `prefix` is empty or ends with a slash."""

    def __init__(self, client: S3Client, bucket: str, prefix: str, location: StoreLocation) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._location = location
        self._deletes_batches = True

    def create(self, key: str, content: bytes) -> bytes:
        """Create an object unless it exists; returns what is there afterwards, which tells who created it.

        `content` must differ between writers.

        Raises:
            StoreUnreachable: the service does not respond, and whether the object was created is not known.
            StoreError: the service refuses, or the object was deleted at once.
        """
        refusal = ""
        for pause_s in pauses():
            refusal = self._create(key, content)
            try:
                return self._read_back(key, content)
            except ArtifactMissing as error:
                if not refusal:
                    raise StoreError(f"{self.where(key)} was written and is gone again: another deleted it") from error
            time.sleep(pause_s)
        raise StoreUnreachable(
            errno.EAGAIN,
            f"{self.where(key)}: {self._location.service} refuses {TRIES} times to create it ({refusal}), "
            "and nothing is there",
        )

    def put(self, key: str, content: bytes) -> None:
        """Write an object, whatever is there."""
        with s3_errors(self._location, key):
            self._put(key, content)

    def get(self, key: str) -> bytes:
        """The content of an object.

        Raises:
            ArtifactMissing: there is none.
            StoreUnreachable: the service does not respond, or its answers arrive damaged.
        """
        return self.get_tagged(key)[0]

    def get_as_it_is(self, key: str) -> bytes:
        """The content of an object, even if it is not what its writer sent.

        Raises:
            ArtifactMissing, StoreUnreachable: see `get`.
        """
        try:
            return self.get(key)
        except DamagedObject as error:
            return error.content

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """The content of an object, compared with its sha256, and its tag.

        Raises:
            ArtifactMissing, StoreUnreachable: see `get`.
            DamagedObject: it is not what its writer sent.
            StoreError: it is larger than any of ours.
        """
        failure: StoreError | StoreUnreachable | None = None
        for pause_s in pauses():
            with s3_errors(self._location, key):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            size = answer["ContentLength"]
            if size > LARGEST:  # whoever may write to the bucket chooses it, and it would fill memory
                answer["Body"].close()
                raise StoreError(f"{self.where(key)} has {size} bytes; allowed: {LARGEST}; remove it")
            digest = str(answer.get("Metadata", {}).get(DIGEST, ""))
            try:
                with s3_errors(self._location, key):
                    content: bytes = answer["Body"].read()
                if digest in ("", sha256(content).hexdigest()):
                    return content, str(answer["ETag"])
                failure = DamagedObject(f"{self.where(key)} {_DAMAGED}", digest, content)
            except StoreUnreachable as error:  # boto3 repeats requests, and not the reading of an answer
                compared = isinstance(error.__cause__, FlexibleChecksumError)
                failure = DamagedObject(f"{self.where(key)} {_DAMAGED}", digest, b"") if compared else error
            time.sleep(pause_s)
        assert failure is not None
        raise failure

    def entries(self, prefix: str) -> list[ObjectEntry]:
        """All objects whose keys begin with `prefix`, sorted by key; one request for each thousand."""
        return sorted(self._entries(prefix), key=lambda entry: entry.key)

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; those that do not exist are skipped."""
        waiting = sorted(set(keys))
        while waiting:
            batch, waiting = waiting[:PAGE], waiting[PAGE:]
            if len(batch) == 1 or not self._deletes_batches or not self._delete_batch(batch):
                for key in batch:
                    with s3_errors(self._location, key):
                        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def old_versions(self) -> Iterator[OldVersion]:
        """Versions of replaced and deleted objects, and marks of deletion; none where the service has no versions."""
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._prefix)
        with s3_errors(self._location):
            try:
                for page in pages:
                    for found in page.get("Versions", ()):
                        if not found["IsLatest"]:
                            yield OldVersion(key=found["Key"], version=found["VersionId"], size=int(found["Size"]))
                    for mark in page.get("DeleteMarkers", ()):
                        yield OldVersion(key=mark["Key"], version=mark["VersionId"], size=0)
            except ClientError as error:
                if code_of(error) not in NO_BATCH:
                    raise

    def delete_versions(self, versions: Sequence[OldVersion]) -> None:
        """Delete these versions, the marks of deletion last: else the version before would be the object again."""
        for one in sorted(versions, key=lambda version: version.size == 0):
            with s3_errors(self._location):
                self._client.delete_object(Bucket=self._bucket, Key=one.key, VersionId=one.version)

    def where(self, key: str) -> str:
        """The URL of an object, for people."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _create(self, key: str, content: bytes) -> str:
        """Ask for the object to be created; returns why it was not, empty: it was."""
        with s3_errors(self._location, key):
            try:
                self._put(key, content, IfNoneMatch="*")
            except ClientError as error:
                if code_of(error) not in CONFLICT | PRECONDITION:
                    raise
                return code_of(error)
        return ""

    def _read_back(self, key: str, content: bytes) -> bytes:
        """What is there; our own object that arrived damaged is written again, since no other may replace it."""
        try:
            return self.get(key)
        except DamagedObject as error:
            if error.digest != sha256(content).hexdigest():
                raise
        self.put(key, content)
        return self.get(key)

    def _put(self, key: str, content: bytes, **conditions: str) -> None:
        self._client.put_object(
            Bucket=self._bucket,
            Key=self._prefix + key,
            Body=content,
            Metadata={DIGEST: sha256(content).hexdigest()},
            **conditions,
        )

    def _entries(self, prefix: str) -> Iterator[ObjectEntry]:
        with s3_errors(self._location, prefix):
            paginator = self._client.get_paginator("list_objects_v2")
            settings = {"PageSize": PAGE}
            for page in paginator.paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix, PaginationConfig=settings
            ):
                for found in page.get("Contents", ()):
                    yield ObjectEntry(
                        key=found["Key"].removeprefix(self._prefix),
                        size=int(found["Size"]),
                        tag=str(found["ETag"]),
                        modified=found["LastModified"].timestamp(),
                    )

    def _delete_batch(self, keys: Sequence[str]) -> bool:
        """Delete up to a thousand objects in one request; False: the service has no such request.

        Raises:
            StoreError: it refuses to delete one of them.
        """
        with s3_errors(self._location):
            try:
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": [{"Key": self._prefix + key} for key in keys], "Quiet": True},
                )
            except ClientError as error:
                if code_of(error) not in NO_BATCH:
                    raise
                self._deletes_batches = False
                return False
        for refused in answer.get("Errors", ()):
            code, where = str(refused.get("Code", "")), f"s3://{self._bucket}/{refused.get('Key', '')}"
            if code in BUSY | PASSING:
                raise StoreUnreachable(errno.EBUSY, f"{where}: cannot be deleted now ({code})")
            if code not in NO_OBJECT:
                raise StoreError(f"{where}: cannot be deleted ({code}: {refused.get('Message', '')})")
        return True


def pauses() -> Iterator[float]:
    """Seconds to wait after each of `TRIES` tries: doubling, and different for writers that met."""
    pause_s = FIRST_PAUSE_S
    for _ in range(TRIES):
        yield pause_s * random.uniform(0.5, 1.5)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


if TYPE_CHECKING:
    _location = StoreLocation(folder="")
    _: SharedObjects = S3Objects(S3Client(_location), "", "", _location)
