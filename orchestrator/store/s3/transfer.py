"""Transfers between local files and S3: parallel, resumable, and verified by sha256.

A large file travels in parts, each a request of its own. What an interrupted upload has sent is skipped when it is
started again, be it a whole file or a part of one; an interrupted download continues in the same way. A file that
has been downloaded appears under its name once its sha256 is right and its bytes are on disk, never before.

Every object carries the sha256 of its content as metadata, by which an upload that is started again knows it.
"""

import base64
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.manifest import REFRESH_HINT
from orchestrator.store.protocol import ManifestEntry
from orchestrator.store.s3.bucket import Bucket
from orchestrator.store.s3.download import Download, Incoming, OtherContent
from orchestrator.store.s3.multipart import MultipartUpload, Outgoing, unfinished_uploads
from orchestrator.store.s3.objects import DIGEST
from orchestrator.store.s3.parts import LARGE, Workers
from workloads.runtime.fault_points import point

DOWNLOADS = 2
"""Times that a file is downloaded until its sha256 is believed to be wrong in the store."""


def upload_folder(
    bucket: Bucket, prefix: str, folder: Path, entries: Sequence[ManifestEntry], last: ManifestEntry | None = None
) -> None:
    """Upload the files of `folder` under `prefix`, and after all others the file `last`; again: only what is missing.

    Args:
        bucket: where they lie.
        prefix: of the keys; ends with `/`.
        folder: on this machine.
        entries: the files, without `last`.
        last: the file whose presence tells that the others are complete; None: the caller writes it.

    Raises:
        StoreError: the store refuses or does not answer; what has been sent stays there.
        OSError: a file cannot be read.
    """
    sizes = {entry.key: entry.size for entry in bucket.objects.entries(prefix)}
    files = [
        Outgoing(key=f"{prefix}{entry.path}", path=folder / entry.path, size=entry.size, sha256=entry.sha256)
        for entry in (*entries, *((last,) if last is not None else ()))
    ]
    large = any(file.size > LARGE for file in files)
    begun = {one.key: one.upload for one in unfinished_uploads(bucket, prefix)} if large else {}
    upload_files(bucket, files[: len(entries)], sizes, begun)
    if last is not None:
        point("upload.files")
        upload_files(bucket, files[-1:], sizes, begun)


def upload_files(bucket: Bucket, files: Sequence[Outgoing], sizes: dict[str, int], begun: dict[str, str]) -> None:
    """Upload files in parallel, except those that are there.

    Args:
        bucket: where they lie.
        files: to upload.
        sizes: bytes of the objects that are there, by key.
        begun: ids of multipart uploads to continue, by key.
    """

    def whole(file: Outgoing) -> None:
        if sizes.get(file.key) != file.size or not is_there(bucket, file):
            _put(bucket, file)

    def in_parts(file: Outgoing, workers: Workers) -> None:
        if sizes.get(file.key) == file.size and is_there(bucket, file):
            return
        for upload_id in dict.fromkeys((begun.get(file.key), None)):
            upload = MultipartUpload(bucket, file, upload_id)
            workers.parts(upload.send, range(1, upload.parts + 1))
            upload.finish()
            if is_there(bucket, file):
                return  # else another content had been begun under the same key
        raise StoreError(f"{bucket.url(file.key)} was sent and is not there as it was sent; `run` again sends it again")

    with Workers() as workers:
        for file in files:
            if file.size > LARGE:
                workers.large(partial(in_parts, file, workers))
            else:
                workers.small(partial(whole, file))


def is_there(bucket: Bucket, file: Outgoing) -> bool:
    """Whether the object of a file exists, with its size and sha256."""
    about = bucket.head(file.key)
    return about is not None and about["ContentLength"] == file.size and about["Metadata"].get(DIGEST) == file.sha256


def _put(bucket: Bucket, file: Outgoing) -> None:
    content = file.path.read_bytes()
    with bucket.errors(file.key):
        bucket.client.put_object(
            **bucket.object(file.key),
            Body=content,
            ChecksumSHA256=base64.b64encode(bytes.fromhex(file.sha256)).decode("ascii"),
            Metadata={DIGEST: file.sha256},
        )


def download_files(
    bucket: Bucket, files: Sequence[Incoming], landed: Callable[[Incoming], None] = lambda _file: None
) -> None:
    """Download files in parallel, and verify each.

    Args:
        bucket: where they lie.
        files: to download; those in their places with their sizes are left alone.
        landed: is told of each file that is in its place, by several threads.

    Raises:
        ArtifactMissing: an object is gone, or its content is not the one of `sha256`.
        StoreError: the store refuses or does not answer; what has arrived stays for the next time.
        OSError: the disk refuses.
    """

    def download(file: Incoming, fetch: Callable[[Download], None]) -> None:
        for left in reversed(range(DOWNLOADS)):
            with contextlib.closing(Download(bucket, file, landed)) as begun:
                try:
                    fetch(begun)
                    return
                except OtherContent as error:
                    if not left:
                        raise ArtifactMissing(f"{error}; {REFRESH_HINT}") from error
                except ArtifactMissing as error:
                    raise ArtifactMissing(f"{error}; {REFRESH_HINT}") from error

    def whole(begun: Download) -> None:
        for number in begun.wanted:
            begun.fetch(number)

    with Workers() as workers:
        for file in files:
            if file.size > LARGE:
                workers.large(partial(download, file, lambda begun: workers.parts(begun.fetch, begun.wanted)))
            else:
                workers.small(partial(download, file, whole))
