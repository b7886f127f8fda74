"""Checkpoint folders `step-{n}`: complete once they have a manifest; only the newest are kept.

`manifest.json` is written last and holds `{"step", "files": [{"path", "size", "sha256"}], ...}`. A checkpoint whose
files differ from it is skipped, with a line in the log, for another one of the same job: damage costs the work since
then, never the job. Checkpoints are in `{job}/{attempt}/checkpoints/step-{n}`; an attempt writes only its own.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from workloads.contract.json_files import read_object
from workloads.runtime.errors import BadInput
from workloads.runtime.fault_points import point

KEPT = 2
"""Newest checkpoints of an attempt that are kept; a failing disk may damage one."""

ABOVE = 4
"""Folders from `checkpoints` up to the study's; they must be synced for a checkpoint to survive a power cut."""

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d+)")

T = TypeVar("T")


class Damaged(Exception):
    """A damaged checkpoint: incomplete, truncated, missing, or with changed bytes."""


def entry(path: Path, name: str | None = None) -> dict[str, Any]:
    """A file's entry in a manifest, under `name` (its own by default)."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": name or path.name, "size": path.stat().st_size, "sha256": digest}


def complete(
    temporary: Path, final: Path, manifest: Mapping[str, Any], *, durable: bool = False, prune: bool = True
) -> None:
    """Write the manifest into `temporary`, rename the folder to `final`, and delete all but the newest checkpoints.

    Args:
        durable: sync everything to disk before the rename, for what is too expensive to lose in a power cut.
        prune: delete older checkpoints.
    """
    point("checkpoint.files")
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    if durable:
        for path in (*temporary.iterdir(), temporary):
            sync(path)
    if final.exists():
        _remove(final)
    point("checkpoint.manifest")
    temporary.rename(final)
    if durable:
        for place in (final.parent, *list(final.parent.parents)[:ABOVE]):
            with contextlib.suppress(PermissionError):
                sync(place)
    point("checkpoint.renamed")
    found = [path for path in final.parent.glob("step-*") if prune and _NAME.fullmatch(path.name)]
    for old in sorted(found, key=_step)[:-KEPT]:
        _remove(old)


def complete_checkpoints(checkpoints: Path) -> list[Path]:
    """Checkpoints in the folder that have a manifest, oldest first."""
    found = [path for path in checkpoints.glob("step-*") if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file()]
    return sorted(found, key=_step)


def other_checkpoints(checkpoint: Path) -> list[Path]:
    """The other checkpoints of the same job's attempts that have a manifest, newest first."""
    job = checkpoint.parent.parent.parent
    found = [path for folder in job.glob("*/checkpoints") for path in complete_checkpoints(folder)]
    found.sort(key=lambda path: (_step(path), path.parent.parent.name), reverse=True)
    return [path for path in found if path != checkpoint]


def candidates(resume: Path) -> Iterator[Path]:
    """The checkpoints to try, in order: the requested one, then `other_checkpoints`, listed only when they are needed.

    Raises:
        BadInput: there is none at all, so that a mistyped path does not start a job from scratch.
    """
    named = _NAME.fullmatch(resume.name) is not None
    if named and resume.is_dir():
        yield resume
        yield from other_checkpoints(resume)
        return
    found = other_checkpoints(resume) if named else []
    if not found:
        raise BadInput(
            f"{resume}: cannot be resumed from: no such checkpoint, nor another one of its job; allowed: a folder "
            "checkpoints/step-N of an attempt; set resume to null to begin anew"
        )
    yield from (resume, *found)


def first_intact(resume: Path, take: Callable[[Path], T]) -> T | None:
    """Apply `take` to the checkpoint `resume`, or, if it is damaged, to the newest intact one of the job; logs it.

    Returns:
        None where all are damaged: the job starts from scratch.

    Raises:
        BadInput: `resume` is refused, or there is no checkpoint at all.
    """
    for number, checkpoint in enumerate(candidates(resume)):
        try:
            return take(checkpoint)
        except Damaged as error:
            log_skipped(error)
        except BadInput as error:
            if number == 0:
                raise
            log_skipped(error)
    log_fresh_start(resume)
    return None


def log_skipped(error: Exception) -> None:
    """Log that a checkpoint is not used, and why."""
    print(f"checkpoint passed over: {error}", flush=True)


def log_fresh_start(resume: Path) -> None:
    """Log that no checkpoint can be used."""
    print(f"{resume}: no checkpoint of this job is intact; it begins anew", flush=True)


def read_manifest(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """The manifest, and its files by name.

    Raises:
        Damaged: it is missing, cannot be read, or names a file outside the checkpoint.
    """
    try:
        manifest = read_object(checkpoint / MANIFEST)
        files = {str(line["path"]): line for line in manifest["files"]}
        step = int(manifest["step"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise Damaged(f"{checkpoint}: {MANIFEST} cannot be read: {error!r}") from error
    if f"step-{step}" != checkpoint.name:
        raise Damaged(f"{checkpoint}: {MANIFEST} is that of step {step}")
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise Damaged(f"{checkpoint}: {MANIFEST} names {name!r}, which is outside")
    return manifest, files


def check(checkpoint: Path, files: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> None:
    """Check that the files `names` are what the manifest lists; without digests, by their sizes.

    Raises:
        Damaged: one is missing, not listed, or has other bytes.
    """
    for name in names:
        listed = files.get(name)
        if listed is None:
            raise Damaged(f"{checkpoint}: {name} is not listed in {MANIFEST}")
        path = checkpoint / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise Damaged(f"{checkpoint}: {name} is no plain file")
        try:
            found = entry(path, name)
        except OSError as error:
            raise Damaged(f"{checkpoint}: {name} cannot be read: {error.strerror}") from error
        if any(found.get(key) != value for key, value in listed.items() if key in ("size", "sha256")):
            raise Damaged(f"{checkpoint}: {name} is not what {MANIFEST} lists")


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _remove(checkpoint: Path) -> None:
    """Delete a checkpoint, its manifest first, so that a half-deleted folder is not taken for a checkpoint."""
    (checkpoint / MANIFEST).unlink(missing_ok=True)
    point("checkpoint.removing")
    shutil.rmtree(checkpoint)


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
