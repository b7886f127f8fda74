"""Shared runs: what each run of any home asked of a store that several homes share.

A home's ledger knows its own runs. Each run also writes `asked/{run}.json` into the store, so that `gc` of another
home keeps what it asked for.
"""

import json
import secrets
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.plan.job import Plan
from orchestrator.schedule.lease_holder import LeaseHolder
from orchestrator.schedule.ledger.recorded_runs import text_of
from orchestrator.store.protocol import SharedObjects
from workloads.contract.json_files import check_types, object_of

PREFIX = "asked/"
VERSION = 1
_TYPES = {
    **dict.fromkeys(("matrix", "profile", "host", "home"), str),
    "version": int,
    "at": (int, float),
    "fingerprints": list,
}


@dataclass(frozen=True, kw_only=True)
class SharedRun:
    """What a run of some home asked for."""

    key: str
    matrix: str
    """Absolute path of its matrix file, on its machine."""
    profile: str
    host: str
    home: str
    """Its `outputs/{study}`."""
    at: float
    """When it was recorded, by the store's clock, seconds since 1970."""
    fingerprints: frozenset[str]

    def is_of(self, home: Path) -> bool:
        """Whether it was a run of this home, on this machine."""
        return (self.host, self.home) == (socket.gethostname(), text_of(home.resolve()))

    @property
    def origin(self) -> str:
        """Its matrix file and machine, for people."""
        return f"{self.matrix} on {self.host}"


def record_shared_run(objects: SharedObjects, plan: Plan, matrix: Path, home: Path, holder: LeaseHolder) -> str:
    """Write what a run asks for into the store, before its first attempt; returns the object's key.

    Raises:
        OSError, StoreError: the store does not respond.
    """
    now = time.time()
    key = f"{PREFIX}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(4)}.json"
    content = {
        "version": VERSION,
        "matrix": text_of(matrix.resolve()),
        "profile": plan.profile,
        "host": holder.host,
        "home": text_of(home.resolve()),
        "at": round(now, 3),
        "fingerprints": sorted({job.fingerprint for job in plan.jobs.values()}),
    }
    objects.put(key, json.dumps(content, separators=(",", ":")).encode())
    return key


def shared_runs(objects: SharedObjects | None) -> list[SharedRun]:
    """All runs that are recorded in the store, oldest first; none where homes do not share it.

    Raises:
        OSError: the store does not respond.
        StoreError: an object is damaged: what it asked for is not known, so nothing may be deleted.
    """
    found = []
    for entry in objects.entries(PREFIX) if objects is not None else ():
        assert objects is not None
        hint = "if no run of the last days can have written it, delete the object"
        try:
            content = objects.get(entry.key)
        except ArtifactMissing:
            continue  # `gc` of another home has just removed it: it keeps nothing any more
        try:
            raw = object_of(content, entry.key)
            if raw.get("version") != VERSION:
                raise StoreError(f"{entry.key}: version is {str(raw.get('version'))[:60]!r}, this code reads {VERSION}")
            check_types(raw, _TYPES, entry.key)
            found.append(
                SharedRun(
                    key=entry.key,
                    matrix=raw["matrix"],
                    profile=raw["profile"],
                    host=raw["host"],
                    home=raw["home"],
                    at=entry.modified,
                    fingerprints=frozenset(map(str, raw["fingerprints"])),
                )
            )
        except (KeyError, ValueError) as error:
            raise StoreError(f"{entry.key} in the store: not a recorded run: {error}; {hint}") from error
    return sorted(found, key=lambda run: (run.at, run.key))


def shared_run_keys(objects: SharedObjects | None) -> set[str]:
    """Keys of all runs that are recorded in the store, from its listing alone."""
    return set() if objects is None else {entry.key for entry in objects.entries(PREFIX)}


def forget_shared_runs(objects: SharedObjects | None, keys: Collection[str]) -> None:
    """Delete the records of these runs."""
    if objects is not None and keys:
        objects.delete(keys)
