"""Folders on this machine into which attempts write until what they wrote has been uploaded and committed."""

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Collection
from pathlib import Path

LEFT_S = 86_400.0
"""Age of a folder that no process has taken, from which on it is deleted."""


class WorkFolders:
    """Folders `{stage}/{digits}/{attempt}` in `root`, each locked by the processes that have taken it.

    A lock ends with its process, so that what killed hosts leave can be told from what a slow attempt writes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[Path, int] = {}
        self._thread_lock = threading.Lock()
        self._cleaned = False

    def take(self, stage: str, digits: str, attempt: str) -> Path:
        """The folder of an attempt, created if absent. The first call deletes what dead processes have left."""
        if not self._cleaned:
            self._cleaned = True
            self._clean(LEFT_S, ())
        folder = self._root / stage / digits / attempt
        folder.mkdir(parents=True, exist_ok=True)
        with self._thread_lock:
            if folder not in self._locks:
                self._locks[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                with contextlib.suppress(OSError):  # a network file system may have no locks: then none is deleted
                    fcntl.flock(self._locks[folder], fcntl.LOCK_SH | fcntl.LOCK_NB)
        return folder

    def delete(self, stage: str, digits: str, attempt: str) -> None:
        """Delete the folder of an attempt that needs it no longer."""
        folder = self._root / stage / digits / attempt
        shutil.rmtree(folder, ignore_errors=True)
        with self._thread_lock:
            descriptor = self._locks.pop(folder, None)
        if descriptor is not None:
            os.close(descriptor)
        for above in (folder.parent, folder.parent.parent):
            with contextlib.suppress(OSError):  # others are in it
                above.rmdir()

    def sweep(self, living: Collection[str]) -> None:
        """Delete the folders that no process has taken, of all attempts but those that may live."""
        self._clean(0.0, living)

    def _clean(self, left_s: float, living: Collection[str]) -> None:
        for folder in self._root.glob("*/*/*"):
            with contextlib.suppress(OSError):
                if folder.name in living or time.time() - folder.stat().st_mtime < left_s:
                    continue
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
                finally:
                    os.close(descriptor)
