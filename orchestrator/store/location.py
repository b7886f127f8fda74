"""Store location: which store a study uses and where it is; the part of a host's description that names it."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from orchestrator.spec.store import CACHE_GIB


@dataclass(frozen=True, kw_only=True)
class StoreLocation:
    """Where the artifacts of a study are; holds no credentials, which each machine finds for itself."""

    kind: str = "files"
    """`files` or `s3`."""
    folder: str
    """files: the store. s3: where this machine keeps what attempts write until it has been uploaded."""
    url: str = ""
    """s3: `s3://bucket/prefix/study`."""
    endpoint: str = ""
    """s3: URL of the service; empty: AWS, or as the usual configuration of boto3 says."""
    region: str = ""
    """s3: empty: as the usual configuration of boto3 says."""
    cache: str = ""
    """s3: folder with what this machine has fetched; empty: below the user's cache folder."""
    cache_gib: float = CACHE_GIB
    """s3: what the cache may hold, GiB."""

    @property
    def service(self) -> str:
        """s3: the service, for messages."""
        return self.endpoint or "Amazon S3"

    def as_json(self) -> dict[str, Any]:
        """As a mapping for JSON."""
        return asdict(self)


def location_from(raw: Mapping[str, Any]) -> StoreLocation:
    """The location that `as_json` wrote; keys of newer code are left out."""
    known = {field.name for field in fields(StoreLocation)}
    return StoreLocation(**{name: value for name, value in raw.items() if name in known})


def cache_folder(location: StoreLocation, environment: Mapping[str, str] = os.environ) -> Path:
    """s3: the folder with what this machine has fetched."""
    if location.cache:
        return Path(location.cache).expanduser()
    return Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "echo-matrix"
