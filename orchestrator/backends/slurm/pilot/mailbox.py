"""The mailbox of one pilot job, the folder `slurm/packs/{pilot}/`: how driver and agent speak without an open port.

Each file has one writer at a time, and a reader that opens it anew each time, so that a file system
which shows changes when a file is opened (NFS) is enough:

| file | written by | holds |
|---|---|---|
| `pack.json` | driver, before sbatch | the job's name in SLURM and what the agent needs to know |
| `job.json` | driver, after sbatch | the job's number |
| `orders.jsonl` | driver | orders, one a line, appended |
| `here.json` | driver | a counter that moves while it lives, and one that moves while something waits for room |
| `state.json` | agent | all that it knows, renamed into place |
| `over.json` | node launcher | that Ray has ended, and why |
| `token-{restart}` | node launcher, mode 0600 | Ray's token |
| `join.json` | agent | where the other nodes of the allocation join its Ray |
| `closed` | driver | nothing of this pilot job is left to be asked for |

A pilot job that SLURM requeues is another start with the same folder. A lost node may still run the one before:
each file says which start wrote it, and the older one ends.

The files that are waited for are made, empty, before sbatch: what was not there is remembered as absent for a while.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workloads.contract.json_files import object_of, read_object

DESCRIPTION, JOB, JOIN, CLOSED = "pack.json", "job.json", "join.json", "closed"
ORDERS, DRIVER_BEAT, STATE, OVER = "orders.jsonl", "here.json", "state.json", "over.json"


def pilots_folder(home: Path) -> Path:
    """The folder of a study's mailboxes."""
    return home / "slurm" / "packs"


def pilot_of(host: str) -> str:
    """The name of the pilot job that a host is, or was, of."""
    return host.partition(".")[0]


def make_folder(home: Path) -> Path:
    """Make the mailbox of one more pilot job; its name is the pilot job's."""
    while True:
        folder = pilots_folder(home) / f"p{secrets.token_hex(3)}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        for name in (ORDERS, DRIVER_BEAT, STATE, OVER, JOIN):
            (folder / name).touch()
        return folder


def token_of(folder: Path, restart: int) -> Path:
    """The file with the token of one start of a pilot job."""
    return folder / f"token-{restart}"


def read_whole(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none yet, or none that can be read now."""
    with contextlib.suppress(OSError, ValueError):
        return read_object(path)
    return {}


def append_order(folder: Path, order: Mapping[str, Any]) -> int:
    """Add an order; returns the length of the list, by which an agent tells how much of it it has taken.

    An order is whole in its line or does not count: one that an earlier driver could not finish is closed off first.

    Raises:
        OSError: the disk does not take it; the agent does not get it.
    """
    with (folder / ORDERS).open("r+b", buffering=0) as file:  # a buffer would be written once more when it is closed
        end = file.seek(0, os.SEEK_END)
        torn = False
        if end:
            file.seek(end - 1)
            torn = file.read(1) != b"\n"
        try:
            data = (b"\n" if torn else b"") + json.dumps(order).encode() + b"\n"
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise
        return file.tell()


class Orders:
    """Reads the list of orders from where it has got to."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ORDERS
        self.taken = 0
        """Bytes that have been read, whole lines only."""

    def read(self) -> list[dict[str, Any]]:
        """The orders that have come since."""
        return [order for order, _ in self.with_ends()]

    def with_ends(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The same, each with the length of the list up to its end."""
        with self._path.open("rb") as file:
            file.seek(self.taken)
            lines = file.read().split(b"\n")[:-1]
        for line in lines:
            self.taken += len(line) + 1
            with contextlib.suppress(ValueError):  # one that a driver died over
                yield object_of(line, self._path), self.taken
