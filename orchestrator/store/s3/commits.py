"""Commit records of a store on S3: created once, listed by pages, and read with a request only where they are new here.

`commits/{fingerprint}.json`.
"""

import dataclasses
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.commits import commit_from, content_of, record_name, recorded_fingerprint
from orchestrator.store.protocol import Commit
from orchestrator.store.s3.objects import S3Objects
from orchestrator.store.s3.records import RecordCache

FOLDER = "commits/"
LISTED_S = 300.0
"""How long a listing tells which records there are to read; after that each is asked for."""
READ_AHEAD_AFTER = 4
"""So many records that are not on this machine, and the rest of the listing is read in parallel."""
READERS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommitListing:
    """The commit records there were at a moment."""

    tags: Mapping[str, str]
    """Fingerprint -> tag."""
    at: float
    """By the monotonic clock."""


class S3Commits:
    """The commit records among the objects of a store; `cache` has those that this machine has read."""

    def __init__(self, objects: S3Objects, cache: RecordCache) -> None:
        self._objects = objects
        self._cache = cache
        self._listing: CommitListing | None = None
        self._absent = 0
        self._lock = threading.Lock()

    def tags(self, within_s: float) -> Mapping[str, str]:
        """Fingerprint -> tag of every record, from a listing of the last `within_s` seconds or a new one."""
        at, known = time.monotonic(), self._listing
        if known is not None and at - known.at < within_s:
            return known.tags
        tags: dict[str, str] = {}
        for entry in self._objects.entries(FOLDER):
            if fingerprint := recorded_fingerprint(entry.key.removeprefix(FOLDER)):
                tags[fingerprint] = entry.tag
        with self._lock:
            self._listing, self._absent = CommitListing(tags=tags, at=at), 0
        return tags

    def create(self, commit: Commit) -> Commit:
        """Create the record of a job unless there is one; returns the one that is there."""
        key = self._key(commit.fingerprint)
        found = self._objects.create(key, content_of(commit))
        self._forget_listing()
        return commit_from(found, commit.fingerprint, self._objects.where(key))

    def read(self, fingerprint: str) -> Commit:
        """A record, as it was last listed; without a request where this machine has read it.

        Raises:
            ArtifactMissing, StoreError: see `read_now`.
        """
        tag = self._listed_tag(fingerprint)
        if not tag:
            return self.read_now(fingerprint)
        content = self._cache.get(fingerprint, tag)
        if content is None and self._read_ahead():
            content = self._cache.get(fingerprint, tag)
        if content is None:
            return self.read_now(fingerprint)
        return commit_from(content, fingerprint, self.where(fingerprint))

    def read_now(self, fingerprint: str) -> Commit:
        """A record, as it is now.

        Raises:
            ArtifactMissing: there is none.
            StoreError: it is broken, of another version, or names another fingerprint.
        """
        key = self._key(fingerprint)
        where = self._objects.where(key)
        try:
            content, tag = self._objects.get_tagged(key)
        except ArtifactMissing as error:
            raise ArtifactMissing(f"{where}: no commit record, so the job is not completed; `run` makes it") from error
        commit = commit_from(content, fingerprint, where)
        self._cache.put(fingerprint, tag, content)
        return commit

    def content(self, fingerprint: str) -> bytes:
        """The bytes of a record, even of a damaged one.

        Raises:
            ArtifactMissing: there is none.
        """
        return self._objects.get_as_it_is(self._key(fingerprint))

    def delete(self, fingerprint: str) -> None:
        """Delete a record, if there is one."""
        self._objects.delete([self._key(fingerprint)])
        self._forget_listing()

    def sweep(self) -> None:
        """Delete from this machine what was not in the last listing."""
        listing = self._listing
        if listing is not None:
            self._cache.keep(listing.tags.keys())

    def _forget_listing(self) -> None:
        with self._lock:
            self._listing = None

    def _listed_tag(self, fingerprint: str) -> str:
        """The tag of a record in a listing that is not old; empty: not known."""
        listing = self._listing
        if listing is None or time.monotonic() - listing.at > LISTED_S:
            return ""
        return listing.tags.get(fingerprint, "")

    def _read_ahead(self) -> bool:
        """Read all listed records that are not on this machine, once a command has asked for several of them."""
        with self._lock:
            self._absent += 1
            if self._absent != READ_AHEAD_AFTER or self._listing is None:
                return False
            tags = dict(self._listing.tags)
        wanted = [fingerprint for fingerprint, tag in tags.items() if self._cache.get(fingerprint, tag) is None]

        def read(fingerprint: str) -> None:
            try:
                self.read_now(fingerprint)
            except StoreError:
                return  # whoever asks for it is told

        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(read, wanted))
        return True

    def where(self, fingerprint: str) -> str:
        """URL of the commit record that a job has or would have, for people."""
        return self._objects.where(self._key(fingerprint))

    @staticmethod
    def _key(fingerprint: str) -> str:
        return f"{FOLDER}{record_name(fingerprint)}"
