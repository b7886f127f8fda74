"""`driver.log` of a study: what its controllers did, for people and for commands in other terminals."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workloads.runtime.masking import mask, secrets_of

LARGEST_LOG = 32 << 20
"""Bytes of `driver.log`, some 150,000 lines, before a new file is started."""


class DriverLog:
    """`driver.log`: what the controller did, a JSON object a line, without secrets.

    A log that cannot be written stops no study, and the log of a long study stays small.
    """

    def __init__(self, path: Path, now: Callable[[], float], *, largest: int = LARGEST_LOG) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._largest = largest
        self._secrets = secrets_of(os.environ)
        self._file = path.open("a", encoding="utf-8")
        self._now = now

    def write(self, what: str, **fields: Any) -> None:
        """Append one line; flushed, so that it can be followed."""
        line = json.dumps({"at": round(self._now(), 3), "what": what, **fields}, default=str)
        with contextlib.suppress(OSError):  # a line for which there is no room is lost
            self._file.write(mask(line, self._secrets) + "\n")
            self._file.flush()
            if self._file.tell() > self._largest:
                self._turn()

    def _turn(self) -> None:
        """Start a new file; the last one is kept as `driver.log.1`, older ones are deleted."""
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file.close()
        self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()
