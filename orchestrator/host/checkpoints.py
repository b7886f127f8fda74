"""Checkpoints of a job: where its attempts' folders are, and which of their checkpoints are complete.

Attempt folders are `{home}/attempts/{fp16}/{attempt}/`. Checkpoints are `checkpoints/step-{n}/` in them, with
`manifest.json` written last, so that a torn one is never complete. A new attempt resumes from the highest
complete step of *any* attempt of its job.

A search lists the job's folder once, and otherwise only folders that still hold checkpoints. After each attempt of a
training the older checkpoints are deleted, with the emptied folders, so the listings do not grow with the attempts.
"""

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from workloads.contract.json_files import read_object

FOLDER_DIGITS = 16
"""Hex digits of a fingerprint in folder names."""
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


def newest_checkpoint(home: Path, fingerprint: str) -> CheckpointRef | None:
    """The complete checkpoint with the highest step of any attempt of the job; None if there is none.

    Complete: its manifest can be read and every file it names has its size.
    """
    found = [ref for folder in _checkpoint_folders(home, fingerprint) for ref in _refs(folder, _names(folder))]
    return next((ref for ref in _newest_first(found) if is_complete(ref.path)), None)


def newest_step(home: Path, fingerprint: str, attempt: str) -> int:
    """The highest complete step that this very attempt has saved; -1 if it has saved none."""
    folder = attempt_folder(home, fingerprint, attempt) / _CHECKPOINTS
    newest_first = _newest_first(_refs(folder, _names(folder)))
    return next((ref.step for ref in newest_first if is_complete(ref.path)), -1)


def is_complete(checkpoint: Path) -> bool:
    """Whether the checkpoint's manifest is there and every file that it names has its size."""
    try:
        manifest = read_object(checkpoint / "manifest.json")
        return all((checkpoint / line["path"]).stat().st_size == line["size"] for line in manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def drop_checkpoints(home: Path, fingerprint: str) -> None:
    """Delete the checkpoints of all attempts of a job that is done."""
    for folder in _checkpoint_folders(home, fingerprint):
        shutil.rmtree(folder, ignore_errors=True)


def drop_older_checkpoints(home: Path, fingerprint: str, keep: int) -> None:
    """Delete all but the `keep` newest complete checkpoints of a job's ended attempts, incomplete ones included.

    For stages whose newest checkpoint holds everything, and while no attempt of the job runs. Without it, a job
    that is preempted two hundred times would fill the disk.
    """
    folders = _checkpoint_folders(home, fingerprint)
    names = {folder: _names(folder) for folder in folders}
    kept: set[Path] = set()
    for ref in _newest_first([ref for folder in folders for ref in _refs(folder, names[folder])]):
        if len(kept) < keep and is_complete(ref.path):
            kept.add(ref.path)
    for folder in folders:
        for name in names[folder]:
            if name.startswith(("step-", ".step-")) and folder / name not in kept:
                _remove(folder / name)
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def _remove(checkpoint: Path) -> None:
    """Delete a checkpoint, its manifest first: after a crash in between, the rest is not taken for complete."""
    with contextlib.suppress(OSError):
        (checkpoint / "manifest.json").unlink()
    shutil.rmtree(checkpoint, ignore_errors=True)


def _checkpoint_folders(home: Path, fingerprint: str) -> list[Path]:
    """The folder `checkpoints` of every attempt of the job that has one."""
    job = job_folder(home, fingerprint)
    folders = [job / attempt / _CHECKPOINTS for attempt in _names(job)]
    return [folder for folder in folders if _is_folder(folder)]


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


def _refs(folder: Path, names: list[str]) -> list[CheckpointRef]:
    """The checkpoints, complete or not, among the `names` of a folder `checkpoints`."""
    return [
        CheckpointRef(path=folder / name, step=int(match[1]), attempt=folder.parent.name)
        for name in names
        if (match := _STEP.fullmatch(name))
    ]


def _newest_first(refs: list[CheckpointRef]) -> list[CheckpointRef]:
    return sorted(refs, key=lambda ref: (ref.step, ref.attempt), reverse=True)
