"""Checkpoints of a job: where its attempts' folders are, and which of their checkpoints are complete.

Attempt folders are `{home}/attempts/{fp16}/{attempt}/`. Checkpoints are `checkpoints/step-{n}/` in them, with
`manifest.json` written last, so that a torn one is never complete. A new attempt resumes from the highest
complete step of *any* attempt of its job.

A listing reads the job's folder, and otherwise only folders that still hold checkpoints. After each attempt of a
training the older checkpoints are deleted, with the emptied folders, so listings do not grow with the attempts.
"""

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from orchestrator.store.commits import FOLDER_DIGITS
from workloads.contract.json_files import read_object

KEPT_CHECKPOINTS = 2
"""Newest checkpoints of a training that stay while it is not done: one could be damaged."""
_CHECKPOINTS = "checkpoints"
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True, kw_only=True)
class CheckpointRef:
    """A checkpoint in an attempt's folder."""

    path: Path
    step: int
    attempt: str


def job_folder(home: Path, fingerprint: str) -> Path:
    """The folder of all attempts of a job."""
    return home / "attempts" / fingerprint[:FOLDER_DIGITS]


def attempt_folder(home: Path, fingerprint: str, attempt: str) -> Path:
    """The folder of one attempt: request, result, log, heartbeat, metrics, checkpoints."""
    return job_folder(home, fingerprint) / attempt


class JobCheckpoints:
    """The checkpoints of a job, complete or not, as listed when this object was made.

    Args:
        home: `outputs/{study}`.
        fingerprint: of the job.
        attempt: whose checkpoints; None: of all attempts of the job.
    """

    def __init__(self, home: Path, fingerprint: str, attempt: str | None = None) -> None:
        job = job_folder(home, fingerprint)
        folders = [job / name / _CHECKPOINTS for name in (_names(job) if attempt is None else [attempt])]
        self._names = {folder: _names(folder) for folder in folders if _is_folder(folder)}

    def newest(self, attempt: str | None = None) -> CheckpointRef | None:
        """The complete checkpoint with the highest step, of `attempt` or of any; None if there is none."""
        refs = (ref for ref in self._newest_first() if attempt in (None, ref.attempt))
        return next((ref for ref in refs if is_complete(ref.path)), None)

    def complete(self) -> list[CheckpointRef]:
        """The complete ones, oldest step first."""
        return [ref for ref in reversed(self._newest_first()) if is_complete(ref.path)]

    def drop(self) -> None:
        """Delete all of them: the job is done."""
        for folder in self._names:
            shutil.rmtree(folder, ignore_errors=True)

    def drop_older(self, keep: int) -> None:
        """Delete all but the `keep` newest complete ones, incomplete ones included.

        For stages whose newest checkpoint holds everything, and while no attempt of the job runs. Without it, a job
        that is preempted two hundred times would fill the disk.
        """
        kept: set[Path] = set()
        for ref in self._newest_first():
            if len(kept) < keep and is_complete(ref.path):
                kept.add(ref.path)
        for folder, names in self._names.items():
            for name in names:
                if name.startswith(("step-", ".step-")) and folder / name not in kept:
                    _remove(folder / name)
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()

    def _newest_first(self) -> list[CheckpointRef]:
        refs = [
            CheckpointRef(path=folder / name, step=int(match[1]), attempt=folder.parent.name)
            for folder, names in self._names.items()
            for name in names
            if (match := _STEP.fullmatch(name))
        ]
        return sorted(refs, key=lambda ref: (ref.step, ref.attempt), reverse=True)


def newest_checkpoint(home: Path, fingerprint: str) -> CheckpointRef | None:
    """The complete checkpoint with the highest step of any attempt of the job; None if there is none."""
    return JobCheckpoints(home, fingerprint).newest()


def step_of(checkpoint: CheckpointRef | None) -> int:
    """Its step; -1 where there is none: an attempt begins, or has ended, without a checkpoint."""
    return -1 if checkpoint is None else checkpoint.step


def is_complete(checkpoint: Path) -> bool:
    """Whether the checkpoint's manifest can be read and every file that it names has its size."""
    try:
        manifest = read_object(checkpoint / "manifest.json")
        return all((checkpoint / line["path"]).stat().st_size == line["size"] for line in manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _remove(checkpoint: Path) -> None:
    """Delete a checkpoint, its manifest first: after a crash in between, the rest is not taken for complete."""
    with contextlib.suppress(OSError):
        (checkpoint / "manifest.json").unlink()
    shutil.rmtree(checkpoint, ignore_errors=True)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:
        return False


def _names(folder: Path) -> list[str]:
    """What a folder holds; nothing where there is no folder, or none that we may read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
