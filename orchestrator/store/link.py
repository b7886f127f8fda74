"""Atomic creation: create a file once, complete, on any file system with hard links (local, NFS >= 3, Lustre).

`O_EXCL` + write would leave an empty file after a crash, and `rename` overwrites; a hard link does
neither. The return value of `link` is not trusted, since an NFS reply can be lost after success: callers
read back what the file contains (design, "COMMIT on a file system").
"""

import contextlib
import ctypes
import errno
import os
import re
import secrets
import socket
from pathlib import Path

from orchestrator.errors import StoreError
from workloads.runtime.fault_points import point

PROOF = re.compile(r"\.proof-(.+)-(\d+)-[0-9a-f]{16}")
PROVEN_WITHIN_S = 600.0
"""No proof takes longer than this."""

NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def sync_folder(folder: Path) -> None:
    """Sync the names in `folder` to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> bool:
    """Sync the whole file system of `folder` in one call (`syncfs(2)`); False where the call does not exist.

    One call for 20,000 small files takes a quarter of a second where as many fsyncs take nine.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return bool(syncfs(descriptor) == 0)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Write `content` to `path` and sync it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def create_once(target: Path, content: bytes, token: str, points: tuple[str, str] | None = None) -> bytes:
    """Create `target` with `content` if it does not exist; returns what it contains now.

    `token` names the writer and must differ between writers. The caller compares the returned bytes
    with its own to know whether it won. `points` are fault points before and after the link.

    Raises:
        StoreError: the file system has no hard links.
    """
    temporary = target.with_name(f".{token}.tmp")
    write_synced(temporary, content)
    if points:
        point(points[0])
    try:
        os.link(temporary, target)
        if points:
            point(points[1])
    except FileExistsError:
        pass  # another writer was first, or our own success was repeated: reading back decides
    except OSError as error:
        if error.errno in NO_LINKS:
            raise StoreError(
                f"{target.parent}: this file system refuses hard links ({error.strerror}), which commit records need; "
                "put outputs/ on a local disk, NFS or Lustre ($ECHO_MATRIX_HOME)"
            ) from error
        if not target.exists():  # any other error may be a lost reply after success
            raise
    finally:
        sync_folder(target.parent)
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return target.read_bytes()


def prove_links(folder: Path) -> None:
    """Show that `create_once` works in `folder`: the first wins, the second reads the first's bytes.

    Raises:
        StoreError: it does not; says what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(8)}"
    target = folder / f".proof-{name}"
    try:
        first = create_once(target, b"first", f"proof-{name}-1")
        second = create_once(target, b"second", f"proof-{name}-2")
        if first != b"first" or second != b"first" or target.name not in {entry.name for entry in os.scandir(folder)}:
            raise StoreError(
                f"{folder}: a file created by a hard link reads differently (read {first!r}, then {second!r}); "
                "put outputs/ on a local disk, NFS or Lustre ($ECHO_MATRIX_HOME)"
            )
    finally:
        with contextlib.suppress(FileNotFoundError):
            target.unlink()


def is_used_proof(path: Path) -> bool:
    """Whether a file of `prove_links` may belong to a running proof; for other machines, judged by its age."""
    name = PROOF.match(path.name)
    if name is None:
        return False
    try:
        age_s = path.parent.stat().st_mtime - path.stat().st_mtime  # both by the file system's clock
    except FileNotFoundError:
        return False
    if age_s > PROVEN_WITHIN_S:
        return False
    here = name[1] == socket.gethostname()
    return not here or (int(name[2]) != os.getpid() and Path(f"/proc/{name[2]}").exists())
