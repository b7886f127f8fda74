"""Manifest of an artifact, `manifest.json`: path, size and sha256 of each file.

`{"version": 1, "files": [{"path", "size", "sha256"}]}`, sorted by path, so that equal folders have
equal manifests. The commit record holds the sha256 of the manifest, and thereby of everything.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.link import sync_folder, sync_tree, write_synced
from orchestrator.store.protocol import ManifestEntry
from workloads.contract.json_files import object_of, read_plain
from workloads.runtime.fault_points import point

NAME = "manifest.json"
TEMPORARY = f".{NAME}.tmp"
VERSION = 1
LARGEST = 256 << 20  # bytes of a manifest; one of 20,000 files has 3 MiB
SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = r"(?!\.{1,2}(/|$))[^/\\\x00-\x1f]+"
PLAIN_PATH = re.compile(rf"{_PART}(/{_PART})*")
MANY = 256  # files; from here on the file system is synced once instead of file by file
SETTLED_NS = 2_000_000_000
"""A folder that changed later than this before it was looked at may change again within one tick of its clock."""

REFRESH_HINT = "`run --refresh JOB` makes the artifact again"


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> str:
    """Write `manifest.json` of `folder`, sync everything to disk, make the files read-only.

    Returns the sha256 of the manifest. Files and folders are on disk before it returns, so that a
    later commit record never names what a power cut can destroy.

    Raises:
        StoreError: the folder holds a link or something else that is not a plain file.
    """
    folders: list[str] = []
    files: list[str] = []
    for place, names, found in os.walk(folder):
        folders.append(place)
        files += [os.path.join(place, name) for name in found]  # noqa: PTH118  there may be 20,000: strings only
        for name in names:
            if os.path.islink(os.path.join(place, name)):  # noqa: PTH114, PTH118
                raise StoreError(f"{place}/{name} is a symbolic link; an artifact holds plain files only")
    start = len(str(folder)) + 1
    many = len(files) > MANY
    lines = []
    for path in sorted(files):
        if path[start:] != NAME:
            problem = path_problem(path[start:])
            if problem:
                raise StoreError(f"{folder}: file {path[start:]!r} {problem}; an artifact's files have plain names")
            size, sha256 = _finalise(path, sync=not many)
            lines.append(ManifestEntry(path=path[start:].replace(os.sep, "/"), size=size, sha256=sha256))
    if many and not sync_tree(folder):
        for path in files:
            sync_folder(Path(path))
    content = manifest_content(lines)
    temporary = folder / TEMPORARY
    write_synced(temporary, content)
    point("manifest.temporary")
    temporary.replace(folder / NAME)
    for place in (*reversed(folders), str(folder.parent)):
        sync_folder(Path(place))
    return hashlib.sha256(content).hexdigest()


def manifest_content(entries: Iterable[ManifestEntry]) -> bytes:
    """The bytes of the manifest with these files, in this order."""
    return json.dumps({"version": VERSION, "files": [vars(one) for one in entries]}, indent=1, sort_keys=True).encode()


def _finalise(path: str, *, sync: bool) -> tuple[int, str]:
    """Make one file read-only and, with `sync`, sync it to disk; returns its size in bytes and sha256."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise StoreError(f"{path} is a symbolic link or cannot be read; an artifact holds plain files only") from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise StoreError(f"{path} is not a regular file; an artifact holds regular files only")
        os.fchmod(descriptor, 0o444)
        if sync:
            os.fsync(descriptor)
        return about.st_size, hashlib.file_digest(file, "sha256").hexdigest()


def path_problem(path: str) -> str:
    """What is wrong with `path` as the path of an artifact's file; empty: nothing."""
    if PLAIN_PATH.fullmatch(path):
        return "is the manifest itself" if path == NAME else ""
    if "\\" in path or any(ord(letter) < ord(" ") for letter in path):
        return "has a backslash or a control character in its name"
    return "lies outside the artifact"


def read_manifest(folder: Path, digest: str) -> tuple[ManifestEntry, ...]:
    """The files of a committed folder, from its manifest, which must have the sha256 `digest`.

    Raises:
        ArtifactMissing: there is no manifest, or not the one that was committed.
        StoreError: it is invalid, of another version, or names a path twice or outside the folder.
    """
    path = folder / NAME
    try:
        content = read_plain(path, LARGEST, links=False)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactMissing(f"{path} is gone; {REFRESH_HINT}") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read as a plain file: {error}; {REFRESH_HINT}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ArtifactMissing(f"{path} has sha256 {found[:12]}, committed was {digest[:12]}; {REFRESH_HINT}")
    try:
        raw = object_of(content, path)
    except ValueError as error:
        raise StoreError(f"{error}; {REFRESH_HINT}") from error
    if raw.get("version") != VERSION:
        raise StoreError(f"{path}: version is {str(raw.get('version'))[:60]!r}, this code reads {VERSION}")
    if not isinstance(raw.get("files"), list):
        raise StoreError(f"{path}: has no list of files; {REFRESH_HINT}")
    entries: dict[str, ManifestEntry] = {}
    for line in raw["files"]:
        entry = _entry(line, path)
        problem = "stands twice" if entry.path in entries else path_problem(entry.path)
        if problem:
            raise StoreError(f"{path}: file {entry.path[:200]!r} {problem}; nothing of it is read; {REFRESH_HINT}")
        entries[entry.path] = entry
    return tuple(entries.values())


def _entry(line: Any, where: Path) -> ManifestEntry:
    if type(line) is dict and len(line) == 3:
        path, size, sha256 = line.get("path"), line.get("size"), line.get("sha256")
        if type(path) is str and type(size) is int and size >= 0 and type(sha256) is str and SHA256.fullmatch(sha256):
            return ManifestEntry(path=path, size=size, sha256=sha256)
    raise StoreError(
        f"{where}: {str(line)[:200]} is no file; allowed: path, size in bytes and sha256, no more; {REFRESH_HINT}"
    )


def verify_sizes(folder: Path, digest: str, without: Sequence[str] = ()) -> set[str]:
    """Check that the files of the committed manifest exist with their sizes (no hashing: reads stay cheap).

    Those that match a pattern of `without` may be absent. Returns the artifact's folders.

    Raises:
        ArtifactMissing: a file is missing or of another size.
        StoreError: a file or a folder of the artifact is a link, or no plain file; or the manifest is broken.
    """
    return _verify(folder, digest, lambda _path, _entry: None, without)


class Verified:
    """Artifacts whose files this process has found whole: hundreds of jobs of a host read the same one.

    One is looked at again once one of its folders has changed, because a file came, went or was replaced. Published
    files are read-only: one that is cut in place is told by `verify_bytes`, or to the next process.
    """

    def __init__(self) -> None:
        self._folders: dict[tuple[Path, str, tuple[str, ...]], Mapping[str, tuple[int, int]]] = {}

    def verify_sizes(self, folder: Path, digest: str, without: Sequence[str] = ()) -> None:
        """As the function of this name, where something may have changed since it was last called."""
        key = folder, digest, tuple(without)
        known = self._folders.get(key)
        if known is not None and known == _changes(known):
            return
        settled = time.time_ns() - SETTLED_NS
        changes = _changes(verify_sizes(folder, digest, without))
        if all(modified < settled for _, modified in changes.values()):
            self._folders[key] = changes


def _changes(folders: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Inode and time of the last change of each folder; one that is gone has none."""
    found = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            about = os.lstat(folder)
            found[folder] = about.st_ino, about.st_mtime_ns
    return found


def verify_bytes(folder: Path, digest: str, without: Sequence[str] = ()) -> None:
    """Check sizes and every byte: reads the whole artifact, at about 1 GB/s of one processor; `without` as above.

    For use after a disk has failed, or before an artifact is copied elsewhere (`echo-matrix path JOB --verify`).

    Raises:
        ArtifactMissing: a file is missing, or of another size or content.
        StoreError: see `verify_sizes`.
    """
    _verify(folder, digest, compare_bytes, without)


def matching(entries: Iterable[ManifestEntry], patterns: Sequence[str]) -> tuple[ManifestEntry, ...]:
    """The files whose path matches one of `patterns` (as `fnmatch`)."""
    return tuple(entry for entry in entries if matches(entry.path, patterns))


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a file of an artifact matches one of `patterns` (as `fnmatch`)."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def left(entries: Iterable[ManifestEntry], without: Sequence[str]) -> tuple[ManifestEntry, ...]:
    """The files whose path matches none of `without`."""
    return tuple(entry for entry in entries if not matches(entry.path, without))


def compare_bytes(path: str, entry: ManifestEntry) -> None:
    """Check the bytes of one file.

    Raises:
        ArtifactMissing: they are not those of the manifest.
    """
    found = sha256_of(Path(path))
    if found != entry.sha256:
        raise ArtifactMissing(f"{path} has sha256 {found[:12]}, committed was {entry.sha256[:12]}; {REFRESH_HINT}")


def _verify(
    folder: Path, digest: str, compare: Callable[[str, ManifestEntry], None], without: Sequence[str]
) -> set[str]:
    """Returns the folders of the artifact."""
    entries = left(read_manifest(folder, digest), without)
    plain: set[str] = set()
    _refuse_links(str(folder), str(folder), plain)
    for entry in entries:
        path = f"{folder}/{entry.path}"
        _refuse_links(path.rpartition("/")[0], str(folder), plain)
        try:
            about = os.lstat(path)  # strings only: there may be 20,000 files, and every job that reads them checks them
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArtifactMissing(f"{path} is gone; {REFRESH_HINT}") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be inspected: {error}; {REFRESH_HINT}") from error
        if not stat.S_ISREG(about.st_mode):
            raise StoreError(f"{path} is a link or no plain file; an artifact holds plain files only; {REFRESH_HINT}")
        if about.st_size != entry.size:
            raise ArtifactMissing(f"{path} has {about.st_size} bytes, committed were {entry.size}; {REFRESH_HINT}")
        compare(path, entry)
    return plain


def _refuse_links(folder: str, root: str, plain: set[str]) -> None:
    """Refuse a symbolic link among the folders from `folder` up to `root`; `plain` caches those that are not links."""
    while folder not in plain:
        if os.path.islink(folder):  # noqa: PTH114
            raise StoreError(f"{folder} is a symbolic link; an artifact holds plain files only; {REFRESH_HINT}")
        plain.add(folder)
        if folder == root:
            return
        folder = folder.rpartition("/")[0]
