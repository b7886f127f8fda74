"""One embedded Ray session on this machine: its folder, and ending what is left when its owner has died.

The folder is named by the owner, the child process that holds Ray. Ray's sockets lie below it, so it is where
`socket_folder` finds a place. All that Ray starts stays in the owner's kernel session, whose number cannot be given
again while one of them lives.
"""

import contextlib
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from orchestrator.backends.ray.socket_folder import socket_parent, socket_parents
from orchestrator.host.processes import is_alive, start_time

TOKEN, RAY = "token", "r"
"""In a session's folder: who may speak to its Ray, and all that Ray writes."""
NAME = re.compile(r"em-ray-(\d+)-(\d+)")
GONE_WITHIN_S = 10.0


def session_folder(pid: int, started: int, parent: Path | None = None) -> Path:
    """The folder of the process `pid` that started at clock tick `started`.

    Raises:
        BackendError: `parent` is not given, and no folder can be used.
    """
    return (parent or socket_parent()) / f"em-ray-{pid}-{started}"


def make_session(folder: Path) -> None:
    """Make the folder of a session, which only this user can enter: Ray lets everybody into its own in it."""
    folder.mkdir(mode=0o700)
    (folder / RAY).mkdir()


def members(pid: int) -> list[int]:
    """Processes of the kernel session that `pid` led; empty where another process leads one by that number now."""
    try:
        if start_time(pid) is not None:
            return []
    except PermissionError:  # another user's
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == pid and fields[0] not in ("Z", "X"):
                    found.append(int(entry.name))
    return found


def heads(owner: int) -> list[tuple[int, int]]:
    """Head and raylet of the session that the living process `owner` leads, as (pid, start time)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                program = (entry / "cmdline").read_bytes().split(b"\0")[0].rpartition(b"/")[2]
                started = start_time(int(entry.name))
                if (
                    program in (b"gcs_server", b"raylet")
                    and os.getsid(int(entry.name)) == owner
                    and started is not None
                ):
                    found.append((int(entry.name), started))
    return found


def kill_members(leader: int) -> None:
    """Kill what is left of the kernel session that `leader` led, and wait until it has gone."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := members(leader)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def end_session(folder: Path) -> None:
    """Kill what is left of a session whose owner has died, and remove its folder; a living owner's is left alone."""
    named = NAME.fullmatch(folder.name)
    if named is None or is_alive(int(named[1]), int(named[2])):
        return
    kill_members(int(named[1]))
    shutil.rmtree(folder, ignore_errors=True)


def session_folders(parents: Iterable[Path] | None = None) -> list[Path]:
    """The folders of this user's sessions below `parents`; None: wherever this process would look for a place.

    Everybody may make a folder in /tmp, and its name says which processes are killed: that of another user counts for
    nothing, nor does a link.
    """
    found = (folder for parent in parents or socket_parents() for folder in parent.glob("em-ray-*-*"))
    return [folder for folder in found if _is_ours(folder)]


def _is_ours(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        about = folder.lstat()
        return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
    return False


def sweep(parents: Iterable[Path] | None = None) -> None:
    """End all sessions whose owner has died."""
    for folder in session_folders(parents):
        end_session(folder)
