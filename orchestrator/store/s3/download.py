"""Downloads of files: in parallel ranges, continued after an interruption, visible only when they are whole.

A file is written under a temporary name (`partial`), beside which a list of its complete parts lies. The
process that downloads it holds a lock on it, so that of several that want the same file one downloads and the
others wait. The sha256 is computed while the parts arrive.
"""

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from orchestrator.errors import StoreError
from orchestrator.store.s3.bucket import Bucket
from orchestrator.store.s3.client import code_of
from orchestrator.store.s3.parts import part_count, part_size
from workloads.runtime.fault_points import point

READ_AT_ONCE = 1 << 20  # bytes
TRIES = 5
"""Times that a part is requested whose answer breaks off; boto3 repeats only requests that have no answer."""
SYNC_EVERY = 8  # parts; what is written early does not wait at the end
NO_SUCH_RANGE = "InvalidRange"
_BROKEN_OFF = (HTTPClientError, IncompleteReadError, FlexibleChecksumError, EOFError)


class OtherContent(StoreError):
    """The object is not the one of the manifest: another size, or bytes that have another sha256."""


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """An object, and the file that it becomes."""

    key: str
    size: int
    """Bytes."""
    sha256: str
    path: Path
    """Where it appears once it is whole."""
    partial: Path
    """Where it is written until then, on the same file system."""


class Download:
    """The download of one file; `fetch` may be called from several threads."""

    def __init__(self, bucket: Bucket, file: Incoming, landed: Callable[[Incoming], None]) -> None:
        """Take the file's lock, for which this may wait, and find out what is there.

        Args:
            bucket: where it is.
            file: what to download.
            landed: is called once, when the file is in its place.
        """
        self._bucket, self._file, self._landed = bucket, file, landed
        self._hash = hashlib.sha256()
        self._next = 0  # the part that is hashed next
        self._hashing = threading.Lock()
        self._listed = file.partial.with_name(f"{file.partial.name}.parts")
        self._descriptor = _locked(file.partial)
        self._complete: set[int] = set()
        self.wanted: tuple[int, ...] = ()
        """Numbers of the parts to fetch, from 0."""
        try:
            if is_whole(file):  # another process had the lock, and has made it
                self._forget()
                self.close()
                landed(file)
                return
            count = part_count(file.size)
            if count > 1:
                self._complete = self._read_listed(count)
            os.ftruncate(self._descriptor, file.size)
            self.wanted = tuple(number for number in range(count) if number not in self._complete)
            self._advance()
        except BaseException:
            self.close()
            raise

    def fetch(self, number: int) -> None:
        """Download one part, and finish the file after the last one.

        Raises:
            OtherContent: the object has another size, or, after the last part, another sha256.
            ArtifactMissing, StoreError: the object is gone, or the store does not answer.
            OSError: the disk refuses.
        """
        step = part_size(self._file.size)
        start = number * step
        wanted = min(step, self._file.size - start)
        retrying = Retrying(
            retry=retry_if_exception_type(_BROKEN_OFF),
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            reraise=True,
        )
        with self._bucket.errors(self._file.key):
            try:
                retrying(self._read, start, wanted)
            except EOFError as error:
                raise StoreError(f"{self._bucket.url(self._file.key)}: {error}, {TRIES} times") from error
        if self._file.size > step:
            self._list(number)
            point("fetch.part")
        self._complete.add(number)
        self._advance()

    def close(self) -> None:
        """Let go of the lock; what has been downloaded stays for the next time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _forget(self) -> None:
        """Delete what has been downloaded; the lock stays, since other threads may be writing."""
        for path in (self._listed, self._file.partial):
            path.unlink(missing_ok=True)

    def _read(self, start: int, wanted: int) -> None:
        """Write the bytes from `start` on into the file; a range of it if it is not whole."""
        given = {"Range": f"bytes={start}-{start + wanted - 1}"} if wanted < self._file.size else {}
        try:
            answer = self._bucket.client.get_object(**self._bucket.object(self._file.key), **given)
        except ClientError as error:
            if code_of(error) == NO_SUCH_RANGE:
                raise self._other(f"has fewer than {start + wanted} bytes") from error
            raise
        with contextlib.closing(answer["Body"]) as body:
            size = str(answer["ContentRange"]).rpartition("/")[2] if given else str(answer["ContentLength"])
            if size != str(self._file.size):
                raise self._other(f"has {size} bytes, committed were {self._file.size}")
            written = 0
            for piece in body.iter_chunks(READ_AT_ONCE):
                _write(self._descriptor, piece, start + written, self._file.partial)
                written += len(piece)
        if written != wanted:
            raise EOFError(f"{written} bytes arrived of {wanted}")

    def _other(self, how: str) -> OtherContent:
        self._forget()
        return OtherContent(f"{self._bucket.url(self._file.key)} {how}")

    def _advance(self) -> None:
        """Hash the parts that are there, in order; one thread does it at a time, and the others go on."""
        count = part_count(self._file.size)
        while self._next in self._complete and self._hashing.acquire(blocking=False):
            try:
                while self._next in self._complete:
                    self._hash_part(self._next)
                    self._next += 1
                if self._next == count and self._descriptor >= 0:
                    self._finish()
            finally:
                self._hashing.release()

    def _hash_part(self, number: int) -> None:
        step = part_size(self._file.size)
        at, end = number * step, min((number + 1) * step, self._file.size)
        while at < end:
            piece = os.pread(self._descriptor, min(READ_AT_ONCE, end - at), at)
            if not piece:
                raise StoreError(f"{self._file.partial} is shorter than was written; check the disk, then try again")
            self._hash.update(piece)
            at += len(piece)
        if (number + 1) % SYNC_EVERY == 0:
            os.fdatasync(self._descriptor)

    def _finish(self) -> None:
        found = self._hash.hexdigest()
        if found != self._file.sha256:
            raise self._other(f"has sha256 {found[:12]}, committed was {self._file.sha256[:12]}")
        os.fchmod(self._descriptor, 0o444)
        os.fsync(self._descriptor)
        point("fetch.verified")
        self._file.path.parent.mkdir(parents=True, exist_ok=True)
        self._listed.unlink(missing_ok=True)
        self._file.partial.rename(self._file.path)
        self.close()
        self._landed(self._file)

    def _read_listed(self, count: int) -> set[int]:
        """The parts that an earlier download has completed."""
        try:
            size, *numbers = self._listed.read_text(encoding="ascii").split("\n")[:-1]
        except (FileNotFoundError, ValueError):
            size, numbers = "", []
        if size == str(part_size(self._file.size)) and os.fstat(self._descriptor).st_size == self._file.size:
            return {int(number) for number in numbers if number.isdecimal() and int(number) < count}
        self._listed.write_text(f"{part_size(self._file.size)}\n", encoding="ascii")
        return set()

    def _list(self, number: int) -> None:
        descriptor = os.open(self._listed, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{number}\n".encode("ascii"))  # one call: a line is there, or it is not
        finally:
            os.close(descriptor)


def is_whole(file: Incoming) -> bool:
    """Whether the file is in its place with its size."""
    try:
        return file.path.lstat().st_size == file.size
    except FileNotFoundError:
        return False


def _locked(path: Path) -> int:
    """A descriptor of the file `path`, created if absent, which no other process has locked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the one who had the lock has moved the file to its place


def _write(descriptor: int, content: bytes, offset: int, path: Path) -> None:
    view = memoryview(content)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    except OSError as error:
        error.filename = str(path)
        raise
