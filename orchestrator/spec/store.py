"""Settings of the artifact store in a cluster file, and what an `s3://` URL and an endpoint may be.

Credentials are no settings: each machine finds its own, by boto3's usual chain.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn
from urllib.parse import urlsplit

from workloads.contract.fields import Positive

SCHEME = "s3"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""Bucket names (Amazon S3 user guide, "General purpose bucket naming rules")."""
PREFIX = re.compile(r"[A-Za-z0-9._=+@-]+(/[A-Za-z0-9._=+@-]+)*")
"""Characters that no server, tool or URL spells in two ways."""
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
REGION = re.compile(r"[a-z0-9-]+", re.IGNORECASE)
CREDENTIALS = ("access_key", "access_key_id", "secret_key", "secret_access_key", "session_token", "profile")
"""Keys that other tools have for them, also with `aws_` before."""
LONGEST_PREFIX = 300
"""Of the 1,024 bytes of a key; the rest is for the paths of files."""
CACHE_GIB = 50.0
"""Default size of a machine's cache of a store on S3."""
WANTED = "s3://BUCKET/PREFIX, such as s3://my-bucket/studies"
_OUTSIDE = "; credentials are read from the environment or ~/.aws only"


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """The artifact store."""

    kind: Literal["files", "s3"] = "files"
    """files: a folder below outputs/; s3: a bucket, and no shared folder is needed for artifacts."""
    url: str | None = None
    """s3: `s3://BUCKET/PREFIX`; each study has its own folder below."""
    endpoint: str | None = None
    """s3: URL of the service; null: Amazon S3, or as boto3 is configured on each machine."""
    region: str | None = None
    """s3: of the bucket; null: as boto3 is configured on each machine."""
    cache: str | None = None
    """s3: folder on each machine for what it has fetched; null: below the user's cache folder."""
    cache_gib: Positive = CACHE_GIB
    """s3: what that folder may hold."""


ONLY_S3 = ("url", "endpoint", "region", "cache", "cache_gib")


def split_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`; the prefix is without slashes at its ends, and may be empty.

    Raises:
        ValueError: it is something else; says what.
    """
    try:
        parts = urlsplit(url)
        user = parts.username or parts.password
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}; write {WANTED}") from error
    if user or "@" in parts.netloc:
        raise ValueError(f"holds credentials; write {WANTED}{_OUTSIDE}")
    if parts.scheme != SCHEME:
        raise ValueError(f"is {url!r}; write {WANTED}")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(
            f"is {url!r}, with a query or fragment; write {WANTED}; endpoint and region are keys beside it"
        )
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if not BUCKET.fullmatch(bucket) or ".." in bucket or ADDRESS.fullmatch(bucket):
        raise ValueError(
            f"names the bucket {bucket!r}; allowed: 3 to 63 lower-case letters, digits, dots, hyphens; write {WANTED}"
        )
    if prefix and (not PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ValueError(
            f"has the prefix {prefix!r}; allowed: names of letters, digits and ._=+@- between single slashes"
        )
    if len(prefix) > LONGEST_PREFIX:
        raise ValueError(f"has a prefix of {len(prefix)} characters; allowed: at most {LONGEST_PREFIX}")
    return bucket, prefix


def endpoint_problem(endpoint: str) -> str:
    """What is wrong with the URL of a service; empty: nothing."""
    wanted = "https://HOST or http://HOST:PORT"
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError as error:
        return f"is not a URL: {error}; write {wanted}"
    if parts.username or parts.password or "@" in parts.netloc:
        return f"holds credentials; write {wanted}{_OUTSIDE}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"is {endpoint!r}; write {wanted}"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return f"is {endpoint!r}; write {wanted} alone: bucket and prefix belong to store.url"
    return ""


def check_store(settings: StoreSettings, given: Callable[[str], bool], refuse: Callable[[str, str], NoReturn]) -> None:
    """Refuse settings that do not belong together.

    Args:
        settings: as read, defaults included.
        given: whether file or `--set` has this dotted key.
        refuse: raises the MatrixError of a dotted key.
    """
    if settings.kind == "files":
        for name in ONLY_S3:
            if given(f"store.{name}"):
                refuse(f"store.{name}", "is for stores on S3, and store.kind is 'files'; write kind: s3, or remove it")
        return
    if settings.url is None:
        refuse("store.url", f"is missing; with kind: s3 write url: {WANTED}")
    try:
        split_url(settings.url)
    except ValueError as error:
        refuse("store.url", str(error))
    if settings.endpoint is not None and (problem := endpoint_problem(settings.endpoint)):
        refuse("store.endpoint", problem)
    if settings.cache is not None and not settings.cache.startswith(("/", "~")):
        refuse("store.cache", f"is {settings.cache!r}; write an absolute path, such as /scratch/echo-matrix")
    if settings.region is not None and not REGION.fullmatch(settings.region):
        refuse("store.region", f"is {settings.region!r}; write the name of a region, such as eu-central-1")


def url_instead(name: str, written: Mapping[str, str]) -> str:
    """The line to write instead of `bucket`, `prefix` or a credential, given all scalars of the section; or empty."""
    if name.lower().removeprefix("aws_") in CREDENTIALS:
        return "nothing: credentials are read from the environment or ~/.aws only"
    if name not in ("bucket", "prefix"):
        return ""
    bucket, prefix = written.get("bucket") or "BUCKET", written.get("prefix", "").strip("/")
    return f"url: {SCHEME}://{bucket}{f'/{prefix}' if prefix else ''}"
