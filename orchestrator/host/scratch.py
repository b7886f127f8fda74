"""Scratch folder of a node that does not see the study's folder: the attempts' folders, below a bound.

```
SCRATCH/echo-matrix-UID/
    code/{digest}/                              code snapshots
    studies/{study}/attempts/{fp16}/{attempt}/  as below outputs/STUDY
    studies/{study}/store/                      what attempts write until it is in the store
```
An attempt's folder is locked while a host needs it: until the attempt has ended and the driver has what it is to get of
it. Then it is removed, unless it holds checkpoints, from which the job's next attempt may resume here; what then
exceeds the bound is removed too, the longest unused first. Locks end with their process, so what killed hosts leave can
be told.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.host.machine import GIB

_ATTEMPTS = "attempts"


class Scratch:
    """The attempts' folders of one host."""

    def __init__(self, home: Path, code: Path, limit_gib: float) -> None:
        """Begin.

        Args:
            home: the study's folder on this machine, two levels below the scratch folder.
            code: the code snapshot there that this host runs.
            limit_gib: what the scratch folder may hold, of all studies.

        Raises:
            OSError: the folders are not there.
        """
        self._home = home
        self._root = home.parents[1]
        self._limit_gib = limit_gib
        self._locks: dict[Path, int] = {}
        self._changing = threading.Lock()
        self._lock(code)

    def place(self, work: Path) -> Path:
        """The folder on this machine of the attempt whose folder on the driver's is `work`."""
        return self._home / _ATTEMPTS / work.parent.name / work.name

    def here(self, submission: Mapping[str, Any]) -> dict[str, Any]:
        """A submission with the folders of this machine; checkpoints come from the store."""
        request = submission["request"]
        work = self.place(Path(request["work"]))
        return {**submission, "request": {**request, "work": str(work), "resume": None}}

    def take(self, work: Path) -> None:
        """Make and lock the folder of an attempt, after what is not needed was removed above the bound.

        Raises:
            OSError: it cannot be made, or what is needed alone exceeds the bound.
        """
        with self._changing:
            self._make_room()
            work.mkdir(parents=True, exist_ok=True)
            self._lock(work)

    def _lock(self, folder: Path) -> None:
        if folder not in self._locks:
            self._locks[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._locks[folder], fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.utime(folder)

    def release(self, work: Path, *, done: bool) -> threading.Thread:
        """Nobody needs the folder of an attempt any more; returns the thread that removes what can be removed.

        Args:
            work: the folder, on this machine.
            done: its job is done, so that no checkpoint of the job is needed.
        """
        removing = threading.Thread(target=self._remove, args=(work, done), name="scratch", daemon=True)
        removing.start()  # a checkpoint may be large
        return removing

    def _remove(self, work: Path, done: bool) -> None:
        with self._changing:
            if work in self._locks:
                os.close(self._locks.pop(work))
            for folder in work.parent.glob("*") if done else [work]:
                if done or not (folder / "checkpoints").is_dir():
                    _remove_unused(folder)
        for written in (self._home / "store").glob(f"attempts/*/{work.parent.name}/{work.name}"):
            shutil.rmtree(written, ignore_errors=True)

    def _make_room(self) -> None:
        limit = self._limit_gib * GIB
        folders = [*self._root.glob(f"studies/*/{_ATTEMPTS}/*/*"), *self._root.glob("code/*")]
        sizes = {folder: _size(folder) for folder in folders}
        held = sum(sizes.values()) + sum(_size(folder) for folder in self._root.glob("studies/*/store"))
        for folder in sorted(folders, key=_last_used):
            if held <= limit:
                return
            if _remove_unused(folder):
                held -= sizes[folder]
        if held > limit:
            raise OSError(
                errno.ENOSPC,
                f"the scratch folder {self._root} of {os.uname().nodename} holds {held / GIB:.1f} GiB of attempts that "
                f"are not over, and ray.scratch_gib is {self._limit_gib:g}; raise it, or let fewer jobs run there",
            )


def _remove_unused(folder: Path) -> bool:
    """Remove the folder of an attempt unless a host has locked it; True: it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return not folder.exists()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):  # of other attempts of the job
        folder.parent.rmdir()
    return not folder.exists()


def _size(folder: Path) -> int:
    """Bytes of all files in a folder; what vanishes meanwhile counts for nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0
