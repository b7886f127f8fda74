"""Cache on this machine of what has been fetched from a store on S3: bounded, and shared by its processes.

```
root/blobs/{2}/{62}                                  contents of files by sha256: verified, read-only
root/artifacts/{stage}/{digits}/{attempt}-{digest}/  an artifact's own paths: manifest.json, and hard links to blobs
root/partial/                                        downloads that go on, or will be continued
root/uses/, reserved/                                locked files of living processes, see uses.py
root/trash/                                          what is being deleted
```

Nothing has to be repaired after a process was killed: a blob appears whole, and a lock ends with its process. What
goes is the artifact whose last use is longest ago, never one that a living process uses.
"""

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.store.link import NO_LINKS
from orchestrator.store.manifest import NAME
from orchestrator.store.protocol import ManifestEntry
from orchestrator.store.s3.uses import CacheUses, Reservation

GIB = 1 << 30
SMALL = 64 << 20
"""Bytes; less is fetched on the strength of an estimate, without counting what the cache holds."""
COUNTED_FOR_S = 60.0
"""Age of the estimate from which on it is made again."""
MARGIN = 256 << 20
"""Bytes that a disk keeps free, since others write to it."""
ORPHAN_S = 3600.0
"""Age of a blob in no artifact, or of an interrupted download that goes first."""
DIGITS = 16


class Cache:
    """What this machine has of the artifacts of stores; one object for all threads of a process."""

    def __init__(self, root: Path, most_gib: float) -> None:
        """Use the cache in `root`, which may hold `most_gib` GiB; nothing is written yet."""
        self.root = root
        self._most = int(most_gib * GIB)
        self._uses = CacheUses(root)
        self._thread_lock = threading.Lock()
        self._held = 0  # bytes, estimated
        self._counted = float("-inf")

    def folder(self, stage: str, digits: str, attempt: str, digest: str) -> Path:
        """The folder of an artifact whose manifest has the sha256 `digest`; it may not exist."""
        return self.root / "artifacts" / stage / digits / f"{attempt}-{digest[:DIGITS]}"

    def blob(self, sha256: str) -> Path:
        """Where the content with this sha256 lies, if the cache has it."""
        return self.root / "blobs" / sha256[:2] / sha256[2:]

    def partial(self, sha256: str) -> Path:
        """Where the content with this sha256 is written while it is downloaded."""
        return self.root / "partial" / sha256

    def use(self, folder: Path) -> None:
        """Create an artifact's folder if absent; it stays until this process ends or calls `release` as often."""
        with self._uses.shared():
            self._uses.take(str(folder.relative_to(self.root)))
            folder.mkdir(parents=True, exist_ok=True)
            os.utime(folder)

    def release(self, folder: Path) -> None:
        """End one use of an artifact by this process."""
        self._uses.give_back(str(folder.relative_to(self.root)))

    def has(self, folder: Path, entry: ManifestEntry) -> bool:
        """Whether a file is in an artifact's folder, or can be linked there; one of another size is removed."""
        path = f"{folder}/{entry.path}"
        try:
            if os.lstat(path).st_size == entry.size:
                return True
            os.unlink(path)  # noqa: PTH108  strings only: an artifact may have thousands of files
        except FileNotFoundError:
            pass
        blob = self.blob(entry.sha256)
        try:
            if blob.lstat().st_size != entry.size:
                blob.unlink()
                return False
        except FileNotFoundError:
            return False
        return self.link(folder, entry)

    def drop(self, folder: Path, entry: ManifestEntry) -> None:
        """Delete a damaged file, from an artifact's folder and as a blob; other artifacts keep their links to it."""
        (folder / entry.path).unlink(missing_ok=True)
        self.blob(entry.sha256).unlink(missing_ok=True)

    def link(self, folder: Path, entry: ManifestEntry) -> bool:
        """Link a blob into an artifact's folder; False: the cache does not have it."""
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._link_or_copy(self.blob(entry.sha256), path)
        except FileNotFoundError:
            return False
        return True

    def add(self, source: Path, entry: ManifestEntry) -> None:
        """Make a file that is already on this machine a blob, without a copy if it is on the same file system."""
        blob = self.blob(entry.sha256)
        blob.parent.mkdir(parents=True, exist_ok=True)
        self._link_or_copy(source, blob)

    def _link_or_copy(self, source: Path, target: Path) -> None:
        """Make `target` the same file as `source`, or a copy where that cannot be; one that exists stays."""
        try:
            os.link(source, target)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            copy = self.partial(f"copy-{secrets.token_hex(8)}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(source, copy)
                with copy.open("rb") as file:
                    os.fsync(file.fileno())
                copy.chmod(0o444)
                copy.rename(target)
            finally:
                copy.unlink(missing_ok=True)

    def add_manifest(self, folder: Path, content: bytes) -> None:
        """Put an artifact's manifest into its folder."""
        temporary = self.root / "partial" / f"manifest-{secrets.token_hex(8)}"
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.chmod(0o444)
            temporary.rename(folder / NAME)
        finally:
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def room(self, need: int, *, on_disk: bool = True) -> Iterator[Reservation]:
        """Make room for `need` bytes, which are reserved until the block ends.

        Args:
            need: bytes.
            on_disk: the disk must have them free; else they are there already.

        Raises:
            StoreError: the cache or its disk is too small for what is in use; says what to change.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._thread_lock:
            old = time.monotonic() - self._counted > COUNTED_FOR_S
            tight = self._held + need > self._most or (on_disk and self._free() < need + MARGIN)
            reservation = self._make_room(need, on_disk) if old or tight or need > SMALL else Reservation()
            self._held += need
        try:
            yield reservation
        finally:
            reservation.close()

    def _free(self) -> int:
        return shutil.disk_usage(self.root).free

    def _make_room(self, need: int, on_disk: bool) -> Reservation:
        trash = self.root / "trash" / secrets.token_hex(8)
        with self._uses.alone():
            used = self._uses.used()
            content = Content(self.root)
            held = content.size + self._uses.reserved()
            wanted = max(held + need - self._most, need + MARGIN - self._free() if on_disk else 0)
            freed = content.remove(wanted, used, trash)
            removed = list(trash.parent.glob("*"))  # and what processes had removed that were killed
            short_of_bound = held + need - self._most - freed
            if short_of_bound <= 0:
                self._held, self._counted = held - freed, time.monotonic()
                reservation = self._uses.reserve(need)
        for folder in removed:
            shutil.rmtree(folder, ignore_errors=True)
        if short_of_bound > 0:
            raise StoreError(
                f"{self.root}: the cache may hold {_gib(self._most)}, of which {_gib(held - freed)} are in use or "
                f"reserved, and {_gib(need)} are needed; raise cache_gib under store in the cluster file, or run fewer "
                "jobs at a time on this machine"
            )
        if on_disk and self._free() < need:
            reservation.close()
            raise StoreError(
                f"{self.root}: this disk has {_gib(self._free())} free, and {_gib(need)} are needed; free some space, "
                "or name a folder on a larger disk as cache under store in the cluster file"
            )
        return reservation


class Content:
    """What a cache holds, and what of it may go; made and used while nobody else uses the cache."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs: dict[int, tuple[str, int]] = {}  # inode -> path, bytes
        self._links: dict[int, int] = {}
        self._old: list[tuple[str, int]] = []  # goes first
        self.size = 0
        """Bytes."""
        now = time.time()
        for path, about in _files(root / "blobs"):
            self.size += about.st_size
            if about.st_nlink == 1 and now - about.st_ctime > ORPHAN_S:
                self._old.append((path, about.st_size))
            self._blobs[about.st_ino] = path, about.st_size
            self._links[about.st_ino] = about.st_nlink
        for path, about in _files(root / "partial"):
            if now - about.st_mtime > ORPHAN_S:  # one that goes on is counted as reserved
                size = about.st_blocks * 512
                self.size += size
                self._old.append((path, size))

    def remove(self, wanted: int, used: frozenset[str], trash: Path) -> int:
        """Move what is not used to `trash` until its deletion frees `wanted` bytes; returns how many it frees."""
        freed = 0
        while freed < wanted and self._old:
            path, size = self._old.pop()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108
            freed += size
        if freed >= wanted:
            return freed
        for number, folder in enumerate(self._artifacts()):
            if freed >= wanted:
                break
            if str(folder.relative_to(self._root)) in used:
                continue
            trash.mkdir(parents=True, exist_ok=True)
            folder.rename(trash / str(number))
            for above in (folder.parent, folder.parent.parent):
                with contextlib.suppress(OSError):  # others are in it
                    above.rmdir()
            for _, about in _files(trash / str(number)):
                path, size = self._blobs.get(about.st_ino, ("", 0))
                if path:
                    self._links[about.st_ino] -= 1
                    if self._links[about.st_ino] == 1:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(path)  # noqa: PTH108
                        freed += size
        return freed

    def _artifacts(self) -> list[Path]:
        """All artifacts, the one whose last use is longest ago first."""
        found = []
        for folder in (self._root / "artifacts").glob("*/*/*"):
            with contextlib.suppress(FileNotFoundError):
                found.append((folder.stat().st_mtime, folder))
        return [folder for _, folder in sorted(found)]


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Path and status of each file below a folder."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = f"{place}/{name}"
            with contextlib.suppress(FileNotFoundError):
                yield path, os.lstat(path)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"
