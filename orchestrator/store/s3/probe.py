"""Probe of a service: whether what the store rests on holds there. It leaves nothing behind.

Commit records need three things: a PUT with `If-None-Match: *` creates an object once, whoever tries at the same
time; what was written is read back with its bytes; and a listing shows it at once. Some services ignore the condition
and overwrite: there, two attempts could both believe that theirs is the result.
"""

import contextlib
import os
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.location import StoreLocation
from orchestrator.store.s3.objects import S3Objects

FOLDER = "probe/"
WRITERS = 4
USE_ANOTHER = "use a service that has conditional writes (Amazon S3 has; docs/how-to/s3.md lists others)"


def probe(objects: S3Objects, location: StoreLocation) -> None:
    """Show that commit records can be made there.

    Raises:
        StoreUnreachable: the service does not respond.
        StoreError: it does not do what is needed; says what, and what to do.
    """
    key = f"{FOLDER}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(8)}"
    service, where = location.service, objects.where(key)
    try:
        first, second = (f"{name} {secrets.token_hex(16)}".encode() for name in ("first", "second"))
        _expect(
            objects.create(key, first) == first, f"{where}: {service} gives back other bytes than were written", _BYTES
        )
        _expect(
            objects.create(key, second) == first,
            f"{where}: {service} has no conditional writes: a second PUT with If-None-Match: * overwrote the first, so "
            "two attempts could both become the result of one job",
            USE_ANOTHER,
        )
        _probe_race(objects, f"{key}-race", f"{where}-race: {service}")
        _expect(
            key in {entry.key for entry in objects.entries(key)},
            f"{where}: {service} does not list an object that was just written",
            "use a service whose listings are consistent",
        )
        objects.put(key, second)
        _expect(
            objects.get(key) == second,
            f"{where}: {service} gives back the earlier bytes of an object that was just replaced",
            "use a service whose reads are consistent",
        )
        _probe_deletion(objects, [key, f"{key}-race"], f"{where}: {service}")
    finally:
        with contextlib.suppress(StoreError, OSError):
            objects.delete([key, f"{key}-race"])


_BYTES = (
    "if it does not know checksums at the end of a request, set AWS_REQUEST_CHECKSUM_CALCULATION=when_required; "
    "else correct store.endpoint in the cluster file"
)


def _probe_race(objects: S3Objects, key: str, what: str) -> None:
    """Several writers at once: all must read the bytes of one of them."""
    contents = [f"{number} {secrets.token_hex(16)}".encode() for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        found = set(pool.map(lambda content: objects.create(key, content), contents))
    _expect(
        len(found) == 1,
        f"{what}: of {WRITERS} writers at once, {len(found)} read different bytes back, so its conditional writes fail",
        USE_ANOTHER,
    )


def _probe_deletion(objects: S3Objects, keys: list[str], what: str) -> None:
    """What was deleted is gone, from reads and listings."""
    objects.delete(keys)
    there = False
    with contextlib.suppress(ArtifactMissing):
        objects.get(keys[0])
        there = True
    _expect(
        not there and not objects.entries(keys[0]),
        f"{what} still has an object that was just deleted",
        "use a service whose reads and listings are consistent",
    )


def _expect(holds: bool, problem: str, remedy: str) -> None:
    if not holds:
        raise StoreError(f"{problem}; {remedy}")
