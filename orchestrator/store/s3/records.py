"""Commit records that this machine has read, by their tag: a finished study costs its listing and no more requests."""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path

from workloads.contract.json_files import read_plain, write_object


class RecordCache:
    """Contents of commit records on this machine, one file each; whatever is wrong with it is as if it were absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, fingerprint: str, tag: str) -> bytes | None:
        """The content of the record with this tag; None: it is not here."""
        try:
            raw = json.loads(read_plain(self._path(fingerprint), links=False))
            content = str(raw["content"]).encode()
            whole = raw["sha256"] == hashlib.sha256(content).hexdigest()
            return content if whole and raw["tag"] == tag else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, fingerprint: str, tag: str, content: bytes) -> None:
        """Keep the content of a record; where the disk refuses, it is read from the store again."""
        digest = hashlib.sha256(content).hexdigest()
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_object(self._path(fingerprint), {"tag": tag, "sha256": digest, "content": content.decode()})

    def keep(self, fingerprints: Collection[str]) -> None:
        """Delete the records of all other fingerprints."""
        with contextlib.suppress(OSError), os.scandir(self._folder) as found:
            for name in [entry.name for entry in found]:
                if name.partition(".")[0] not in fingerprints:
                    (self._folder / name).unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        return self._folder / f"{fingerprint}.json"
