"""boto3's client of the endpoint of a store: made in one place, for all threads, and made again after a fork.

Credentials come from boto3's usual chain (environment, profile, role of the machine). Checksums are boto3's defaults:
every upload carries one, which servers that know checksums compare, and every download that has one is compared.
`AWS_REQUEST_CHECKSUM_CALCULATION=when_required` turns them off for a server that refuses them.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from orchestrator.spec.store import split_url
from orchestrator.store.location import StoreLocation
from orchestrator.store.protocol import PROGRAM
from orchestrator.store.s3.failures import translated

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
"""Without one byte: a call that hangs is tried again while the controller still waits for the store."""
ATTEMPTS = 4
"""Of one request, by boto3's standard mode: dropped connections, time-outs, 429, 5xx."""
CONNECTIONS = 32


class S3Client:
    """A boto3 client for all threads of a process; a forked process gets its own, with connections of its own.

    Attributes are those of boto3's client: `client.put_object(...)`. Its errors are boto3's: wrap calls in `s3_errors`.
    """

    def __init__(self, location: StoreLocation, *, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        self.location = location
        self._read_timeout_s = read_timeout_s
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client(), name)

    def _client(self) -> Any:
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        if made is not None:
            self._lock = threading.Lock()  # another thread may have held it when this process was forked
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = os.getpid(), _make(self.location, self._read_timeout_s)
            return self._made[1]


def _make(location: StoreLocation, read_timeout_s: float) -> Any:
    session = boto3.session.Session()  # the default session is not for several threads
    return session.client(
        "s3",
        endpoint_url=location.endpoint or None,
        region_name=location.region or session.region_name or "us-east-1",
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
            user_agent_extra=PROGRAM,
            # A service beside Amazon's has seldom a name in DNS for each bucket.
            s3={"addressing_style": "path"} if location.endpoint else {},
        ),
    )


@contextmanager
def s3_errors(location: StoreLocation, where: str = "") -> Iterator[None]:
    """Raise boto3's errors of the block as ours.

    Args:
        location: of the store.
        where: key below the store's prefix, or "" for the store.

    Raises:
        ArtifactMissing: there is no such object.
        StoreUnreachable: it may work later.
        StoreError: it will not, until somebody changes something; says what.
    """
    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        raise translated(error, location, where, dict(os.environ)) from error


def code_of(error: ClientError) -> str:
    """The code of a refusal, such as `NoSuchKey`; the HTTP status where it has none."""
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    return str(error.response.get("Error", {}).get("Code", "") or status)


def bucket_and_prefix(location: StoreLocation) -> tuple[str, str]:
    """The bucket of a store, and what all its keys begin with: empty, or with a slash at its end."""
    bucket, prefix = split_url(location.url)
    return bucket, f"{prefix}/" if prefix else ""
