"""manifest.json: what an artifact consists of, by path, size and sha256.

`{"version": 1, "files": [{"path", "size", "sha256"}]}`, sorted by path, so that equal folders have
equal manifests. The COMMIT holds the sha256 of the manifest, and so of everything.
"""

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.link import sync_folder, sync_tree, write_synced
from workloads.contract.faults import point

NAME = "manifest.json"
VERSION = 1
BLOCK = 1 << 20  # bytes read at once
MANY = 256  # files; from here on the file system is synced once instead of file by file


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of an artifact."""

    path: str
    """Relative, with `/`."""
    size: int
    """Bytes."""
    sha256: str


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path) -> str:
    """Write `manifest.json` of `folder`, bring everything to disk, make the files read-only.

    Returns the sha256 of the manifest. Files and folders are on disk before this returns, so a
    COMMIT that follows never names what a power cut can take away.

    Raises:
        StoreError: the folder holds a link or something else that is no plain file.
    """
    folders: list[str] = []
    files: list[str] = []
    for place, names, found in os.walk(folder):
        folders.append(place)
        files += [os.path.join(place, name) for name in found]  # noqa: PTH118  a pool has 20,000 files: strings only
        for name in names:
            if os.path.islink(os.path.join(place, name)):  # noqa: PTH114, PTH118
                raise StoreError(f"{place}/{name} is a symbolic link; an artifact holds plain files only")
    start = len(str(folder)) + 1
    many = len(files) > MANY
    lines = []
    for path in sorted(files):
        if path[start:] != NAME:
            size, sha256 = _settled(path, sync=not many)
            lines.append({"path": path[start:].replace(os.sep, "/"), "size": size, "sha256": sha256})
    if many and not sync_tree(folder):
        for path in files:
            sync_folder(Path(path))
    content = json.dumps({"version": VERSION, "files": lines}, indent=1, sort_keys=True).encode("utf-8")
    temporary = folder / f".{NAME}.tmp"
    write_synced(temporary, content)
    point("manifest.temporary")
    temporary.replace(folder / NAME)
    for place in (*reversed(folders), str(folder.parent)):
        sync_folder(Path(place))
    return hashlib.sha256(content).hexdigest()


def _settled(path: str, *, sync: bool) -> tuple[int, str]:
    """Make one file read-only and, with `sync`, bring it to disk; its size in bytes and sha256."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise StoreError(f"{path} is a symbolic link or cannot be read; an artifact holds plain files only") from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise StoreError(f"{path} is no plain file; an artifact holds plain files only")
        os.fchmod(descriptor, 0o444)
        if sync:
            os.fsync(descriptor)
        return about.st_size, hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, digest: str) -> tuple[Entry, ...]:
    """The files of a committed folder, from its manifest, which must have the sha256 `digest`.

    Raises:
        ArtifactMissing: there is no manifest, or it is another one than was committed.
        StoreError: it names a path outside the folder, or is of another version.
    """
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactMissing(f"{path} is gone; `run --refresh JOB` makes the artifact again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ArtifactMissing(
            f"{path} has sha256 {found[:12]}, committed was {digest[:12]}; `run --refresh JOB` makes the artifact again"
        )
    raw = json.loads(content)
    if raw.get("version") != VERSION:
        raise StoreError(f"{path}: version is {raw.get('version')!r}, this code reads {VERSION}")
    entries = tuple(Entry(**line) for line in raw["files"])
    for entry in entries:
        if entry.path.startswith("/") or ".." in entry.path.split("/"):
            raise StoreError(f"{path}: file {entry.path!r} lies outside the artifact")
    return entries


def verify_sizes(folder: Path, digest: str) -> None:
    """Check that the files of the committed manifest are there with their sizes (no hashing: reads stay cheap).

    Raises:
        ArtifactMissing: a file is missing or of another size.
    """
    for entry in read_manifest(folder, digest):
        path = f"{folder}/{entry.path}"
        try:
            size = os.stat(path).st_size  # noqa: PTH116  a pool has 20,000 files, and each job that reads it asks
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{path} is gone; `run --refresh JOB` makes the artifact again") from error
        if size != entry.size:
            raise ArtifactMissing(
                f"{path} has {size} bytes, committed were {entry.size}; `run --refresh JOB` makes the artifact again"
            )
