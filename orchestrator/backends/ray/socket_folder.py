"""The folder for Ray's files and sockets: local, with room, and short, since a socket's path has 107 bytes at most."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.errors import BackendError
from orchestrator.host.machine import NETWORK, file_system

SOCKET_BYTES = 107
"""Longest path of a Unix socket."""
BELOW = "em-pack-1234567890-abcdefgh/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path below this folder."""
ROOM_MIB = 64
"""Below this a folder counts as full."""


def socket_parents(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where to look, in this order: the user's TMPDIR and the system's folders, those of a network last."""
    named = [Path(environment[name]).absolute() for name in ("TMPDIR",) if environment.get(name)]
    found = dict.fromkeys([*named, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")])
    return sorted(found, key=lambda folder: file_system(folder) in NETWORK)


def socket_parent(environment: Mapping[str, str] = os.environ) -> Path:
    """The first of `socket_parents` that can be used.

    Raises:
        BackendError: none can; says why of each.
    """
    for folder, problem in _examined(environment):
        if not problem:
            return folder
    problems = "; ".join(f"{folder} {problem}" for folder, problem in _examined(environment))
    raise BackendError(
        f"Ray finds no folder for its sockets: {problems}; set TMPDIR to a folder of at most "
        f"{_room()} letters on a local disk"
    )


def _examined(environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    return ((folder, _problem(folder)) for folder in socket_parents(environment))


def _problem(folder: Path) -> str:
    """Why a folder cannot be used; empty: it can."""
    if len(os.fsencode(folder)) > _room():
        return f"is longer than {_room()} letters"
    try:
        free = shutil.disk_usage(folder).free >> 20
        if free < ROOM_MIB:
            return f"has {free} MiB left"
        with tempfile.TemporaryDirectory(prefix=".em-", dir=folder) as made:  # disk_usage knows no quota
            (Path(made) / "file").write_bytes(bytes(1 << 16))
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    return ""


def _room() -> int:
    return SOCKET_BYTES - len(BELOW) - 1
