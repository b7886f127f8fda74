"""Masked stream: what a process of ours and its libraries print into a file, without secrets."""

import io
import os
from typing import Any

from workloads.runtime.masking import mask, secrets_of
from workloads.runtime.secret_forms import LONGEST


class MaskedStream(io.TextIOBase):
    """A text stream that masks the secrets of this process's environment.

    A line is written when it is whole, since a secret may come in pieces; a line that grows for ever is written in
    parts, and `flush` writes what there is.

    Args:
        stream: is written to.
        largest: characters that are written in all, so that a server that refuses for a week does not fill the disk;
            None: all.
    """

    def __init__(self, stream: Any, largest: int | None = None) -> None:
        self._stream = stream
        self._secrets = secrets_of(os.environ)
        self._left = largest
        self._begun = ""

    def writable(self) -> bool:
        """Always true."""
        return True

    def fileno(self) -> int:
        """The descriptor of the stream; what is written to it directly is not masked."""
        return int(self._stream.fileno())

    def write(self, text: str) -> int:
        """Write the lines that are whole now."""
        whole, end, begun = (self._begun + text).rpartition("\n")
        self._begun = begun
        if end or len(begun) > 2 * LONGEST:
            self._put(whole + end if end else self._take())
        return len(text)

    def flush(self) -> None:
        """Write what there is, and flush the stream."""
        self._put(self._take())
        self._stream.flush()

    def _take(self) -> str:
        begun, self._begun = self._begun, ""
        return begun

    def _put(self, text: str) -> None:
        if not text or self._left == 0:
            return
        masked = mask(text, self._secrets)
        if self._left is not None:
            self._left = max(0, self._left - len(text))
            masked += "" if self._left else "\n... later output is not kept\n"
        self._stream.write(masked)
