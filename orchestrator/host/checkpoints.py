"""Where attempts lie, and which of their checkpoints are complete.

Attempt folders are `{home}/attempts/{fp16}/{attempt}/`; checkpoints lie in `checkpoints/step-{n}/` of
an attempt with `manifest.json` written last, so a torn one is never complete. A new attempt resumes
from the highest complete step of *any* attempt of its job.
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
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint."""

    path: Path
    step: int
    attempt: str


def job_folder(home: Path, fingerprint: str) -> Path:
    """The folder of all attempts of a job."""
    return home / "attempts" / fingerprint[:FOLDER_DIGITS]


def attempt_folder(home: Path, fingerprint: str, attempt: str) -> Path:
    """The folder of one attempt: request, result, log, heartbeat, metrics, checkpoints."""
    return job_folder(home, fingerprint) / attempt


def newest_checkpoint(home: Path, fingerprint: str) -> Checkpoint | None:
    """The complete checkpoint with the highest step of any attempt of the job; None if there is none.

    Complete: its manifest can be read and every file it names has its size.
    """
    found: list[Checkpoint] = []
    for folder in _checkpoint_folders(home, fingerprint):
        name = _STEP.fullmatch(folder.name)
        if name:
            found.append(Checkpoint(path=folder, step=int(name[1]), attempt=folder.parent.parent.name))
    found.sort(key=lambda checkpoint: (checkpoint.step, checkpoint.attempt), reverse=True)
    return next((checkpoint for checkpoint in found if is_complete(checkpoint.path)), None)


def newest_step(home: Path, fingerprint: str, attempt: str) -> int:
    """The highest complete step that this very attempt has saved; -1 if it has saved none."""
    folders = (attempt_folder(home, fingerprint, attempt) / "checkpoints").glob("step-*")
    steps = [int(name[1]) for folder in folders if (name := _STEP.fullmatch(folder.name)) and is_complete(folder)]
    return max(steps, default=-1)


def is_complete(checkpoint: Path) -> bool:
    """Whether the checkpoint's manifest is there and every file that it names has its size."""
    try:
        manifest = read_object(checkpoint / "manifest.json")
        return all((checkpoint / line["path"]).stat().st_size == line["size"] for line in manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def drop_checkpoints(home: Path, fingerprint: str) -> None:
    """Delete the checkpoints of all attempts of a job that is done."""
    try:
        attempts = [entry.path for entry in os.scandir(job_folder(home, fingerprint)) if entry.is_dir()]
    except FileNotFoundError:
        return
    for attempt in attempts:
        shutil.rmtree(Path(attempt) / "checkpoints", ignore_errors=True)


def drop_older_checkpoints(home: Path, fingerprint: str, keep: int) -> None:
    """Of all ended attempts of a job, keep the `keep` newest complete checkpoints; torn and half-written ones go too.

    For stages whose newest checkpoint holds all that is needed, and while no attempt of the job runs: a job that is
    preempted two hundred times would fill the disk otherwise.
    """
    folders = sorted(_checkpoint_folders(home, fingerprint), key=_age, reverse=True)
    complete = [folder for folder in folders if _STEP.fullmatch(folder.name) and is_complete(folder)]
    unfinished = job_folder(home, fingerprint).glob("*/checkpoints/.step-*")
    for folder in (*(folder for folder in folders if folder not in complete[:keep]), *unfinished):
        # Its manifest first: whoever dies in between leaves something that is not taken for complete.
        with contextlib.suppress(OSError):
            (folder / "manifest.json").unlink()
        shutil.rmtree(folder, ignore_errors=True)


def _age(folder: Path) -> tuple[int, str]:
    name = _STEP.fullmatch(folder.name)
    return (int(name[1]) if name else -1, folder.parent.parent.name)


def _checkpoint_folders(home: Path, fingerprint: str) -> list[Path]:
    return list(job_folder(home, fingerprint).glob("*/checkpoints/step-*"))
