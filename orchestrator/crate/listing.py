"""`ro-crate-metadata.json` as a list of files with size and sha256, and its comparison with what is there."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from orchestrator.crate.description import LARGEST
from orchestrator.crate.layout import METADATA
from orchestrator.errors import CrateError
from orchestrator.store.manifest import PLAIN_PATH, SHA256, sha256_of
from orchestrator.store.protocol import ManifestEntry
from workloads.contract.json_files import object_of, read_plain


@dataclass(frozen=True, kw_only=True)
class CrateListing:
    """The files that the metadata of a crate lists."""

    digest: str
    """sha256 of the metadata, which is that of the whole crate."""
    files: Mapping[str, ManifestEntry]
    """Path -> size and sha256."""
    without_digest: tuple[str, ...]
    """Paths that are listed without size or sha256."""


def id_of(path: str) -> str:
    """The identifier of a file or folder in the metadata: a relative URI."""
    return quote(path, safe="/")


def listing_of(folder: Path) -> CrateListing:
    """What the metadata of the crate in `folder` lists.

    Raises:
        CrateError: it is no JSON-LD document as `export` writes it, or lists a path twice or outside the crate.
    """
    try:
        content = read_plain(folder / METADATA, LARGEST, links=False)
        graph = object_of(content, METADATA)["@graph"]
        if not isinstance(graph, list):
            raise TypeError("@graph is no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CrateError(f"{METADATA}: is not as `export` writes it: {error}") from error
    files: dict[str, ManifestEntry] = {}
    without: list[str] = []
    for entity in graph:
        path = _path_of(entity)
        if path is None:
            continue
        if not PLAIN_PATH.fullmatch(path) or path in files:
            problem = "twice" if path in files else "outside the crate"
            raise CrateError(f"{METADATA}: lists {path[:200]!r} {problem}; nothing of it was read")
        size, sha256 = str(entity.get("contentSize", "")), str(entity.get("sha256", ""))
        if size.isdecimal() and len(size) < 20 and SHA256.fullmatch(sha256):
            files[path] = ManifestEntry(path=path, size=int(size), sha256=sha256)
        else:
            without.append(path)
    return CrateListing(digest=hashlib.sha256(content).hexdigest(), files=files, without_digest=tuple(without))


def _path_of(entity: Any) -> str | None:
    """The path of a file in the crate; None: the entity is none."""
    if not isinstance(entity, dict) or not isinstance(entity.get("@id"), str):
        return None
    kinds = entity.get("@type")
    if "File" not in (kinds if isinstance(kinds, list) else [kinds]):
        return None
    name = unquote(entity["@id"]).removeprefix("./")
    return None if "://" in name else name


def files_in(folder: Path) -> dict[str, ManifestEntry]:
    """The files of a crate but its metadata: path -> size and sha256."""
    found: dict[str, ManifestEntry] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            path = str(file.relative_to(folder))
            if path != METADATA:
                found[path] = ManifestEntry(path=path, size=file.stat().st_size, sha256=sha256_of(file))
    return dict(sorted(found.items()))
