"""Uses and reservations of a cache: who uses what, and who will write how much, told by locked files.

```
root/lock        locked shared while an artifact is taken into use, and alone while it is decided what goes
root/uses/       a file for each process, which it keeps locked: lines `+folder` and `-folder`
root/reserved/   a file for each download, locked, whose size is what it will still write
```

A lock ends with its process, however that ends. A file that nobody has locked is of the past, and is deleted.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import StoreError

NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Reservation:
    """Bytes that a running download will still write; the empty one is of a small download, and counts nothing."""

    def __init__(self, path: Path | None = None, size: int = 0) -> None:
        self._path, self._left, self._descriptor = path, size, -1
        self._thread_lock = threading.Lock()
        if path is not None:
            self._descriptor = locked_file(path)
            os.ftruncate(self._descriptor, size)

    def written(self, size: int) -> None:
        """So many bytes of it lie in the cache now."""
        with self._thread_lock:
            self._left = max(0, self._left - size)
            if self._descriptor >= 0:
                os.ftruncate(self._descriptor, self._left)

    def close(self) -> None:
        """Nothing more will be written."""
        with self._thread_lock:
            if self._path is not None and self._descriptor >= 0:
                self._path.unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = -1


class CacheUses:
    """The uses of this process in the cache in `root`, and what those of others say."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._thread_lock = threading.Lock()
        self._uses: Counter[str] = Counter()
        self._own: tuple[int, int] | None = None  # process, descriptor

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """While it is not decided what goes."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While no artifact is taken into use."""
        with self._lock(fcntl.LOCK_EX):
            yield

    def take(self, name: str) -> None:
        """Use an artifact, until `give_back` is called as often or the process ends; call within `shared`."""
        with self._thread_lock:
            if self._own is None or self._own[0] != os.getpid():  # a fork has no use of its own
                self._uses.clear()
                self._own = os.getpid(), locked_file(self._root / "uses" / f"{os.getpid()}-{secrets.token_hex(8)}")
            self._uses[name] += 1
            if self._uses[name] == 1:
                os.write(self._own[1], f"+{name}\n".encode())

    def give_back(self, name: str) -> None:
        """End one use of an artifact; one that was not taken is no error."""
        with self._thread_lock:
            if self._own is None or self._own[0] != os.getpid() or not self._uses[name]:
                return
            self._uses[name] -= 1
            if not self._uses[name]:
                os.write(self._own[1], f"-{name}\n".encode())

    def used(self) -> frozenset[str]:
        """The artifacts that living processes use; deletes the files of those that have ended."""
        found: set[str] = set()
        for path in _living(self._root / "uses"):
            used: set[str] = set()
            for line in path.read_text(encoding="utf-8").splitlines():
                (used.add if line.startswith("+") else used.discard)(line[1:])
            found |= used
        return frozenset(found)

    def reserve(self, size: int) -> Reservation:
        """Reserve so many bytes; call within `alone`."""
        return Reservation(self._root / "reserved" / secrets.token_hex(8), size)

    def reserved(self) -> int:
        """Bytes that living processes will still write."""
        return sum(path.stat().st_size for path in _living(self._root / "reserved"))

    @contextlib.contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _flock(descriptor, how, self._root)
            yield
        finally:
            os.close(descriptor)


def locked_file(path: Path) -> int:
    """A descriptor of a new file, locked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    _flock(descriptor, fcntl.LOCK_EX, path)
    return descriptor


def _living(folder: Path) -> Iterator[Path]:
    """The files in `folder` that a process has locked; the others are deleted."""
    for path in sorted(folder.glob("*")):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                yield path
            finally:
                os.close(descriptor)


def _flock(descriptor: int, how: int, where: Path) -> None:
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise StoreError(
                f"{where}: this file system has no locks ({error.strerror}), which a shared cache needs; "
                "name a folder on a local disk as cache under store in the cluster file"
            ) from error
        raise
