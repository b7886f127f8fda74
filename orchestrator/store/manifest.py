"""manifest.json: what an artifact consists of, by path, size and sha256.

`{"version": 1, "files": [{"path", "size", "sha256"}]}`, sorted by path, so that equal folders have
equal manifests. The COMMIT holds the sha256 of the manifest, and so of everything.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.link import sync_file, sync_folder, write_synced

NAME = "manifest.json"
VERSION = 1
BLOCK = 1 << 20  # bytes read at once


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
    entries: list[Entry] = []
    folders: list[Path] = []
    for place, names, files in os.walk(folder):
        here = Path(place)
        folders.append(here)
        for name in (*names, *files):
            if (here / name).is_symlink():
                raise StoreError(f"{here / name} is a symbolic link; an artifact holds plain files only")
        for name in files:
            path = here / name
            relative = path.relative_to(folder).as_posix()
            if relative == NAME:
                continue
            if not path.is_file():
                raise StoreError(f"{path} is no plain file; an artifact holds plain files only")
            sync_file(path)
            path.chmod(0o444)
            entries.append(Entry(path=relative, size=path.stat().st_size, sha256=sha256_of(path)))
    entries.sort(key=lambda entry: entry.path)
    lines = [{"path": entry.path, "size": entry.size, "sha256": entry.sha256} for entry in entries]
    content = json.dumps({"version": VERSION, "files": lines}, indent=1, sort_keys=True).encode("utf-8")
    temporary = folder / f".{NAME}.tmp"
    write_synced(temporary, content)
    temporary.replace(folder / NAME)
    for place_to_sync in (*reversed(folders), folder.parent):
        sync_folder(place_to_sync)
    return hashlib.sha256(content).hexdigest()


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
        pure = PurePosixPath(entry.path)
        if pure.is_absolute() or ".." in pure.parts:
            raise StoreError(f"{path}: file {entry.path!r} lies outside the artifact")
    return entries


def verify_sizes(folder: Path, digest: str) -> None:
    """Check that the files of the committed manifest are there with their sizes (no hashing: reads stay cheap).

    Raises:
        ArtifactMissing: a file is missing or of another size.
    """
    for entry in read_manifest(folder, digest):
        path = folder / entry.path
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{path} is gone; `run --refresh JOB` makes the artifact again") from error
        if size != entry.size:
            raise ArtifactMissing(
                f"{path} has {size} bytes, committed were {entry.size}; `run --refresh JOB` makes the artifact again"
            )
