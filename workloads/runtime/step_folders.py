"""Checkpoints as folders `step-{n}`: whole once their manifest is there, and only the newest are kept.

`manifest.json` is written last and holds `{"step", "files": [{"path", "size", "sha256"}], ...}`. A checkpoint whose
files are not what it lists is passed over for another one of the same job, aloud: damage costs the work since then,
never the job. Checkpoints lie in `{job}/{attempt}/checkpoints/step-{n}`; an attempt never writes into another's.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from workloads.contract.json_files import read_object
from workloads.runtime.errors import BadInput
from workloads.runtime.fault_points import point

KEPT = 2
"""Newest checkpoints of an attempt that stay; one could be the victim of a dying disk."""

ABOVE = 4
"""Folders above `checkpoints` up to the study's: what lies in them outlives a power cut only if their names do."""

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d+)")

T = TypeVar("T")


class Damaged(Exception):
    """A checkpoint that is not what was written: torn, cut short, gone, or with changed bytes."""


def entry(path: Path, name: str | None = None) -> dict[str, Any]:
    """A file as a manifest lists it, under `name` (its own by default)."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": name or path.name, "size": path.stat().st_size, "sha256": digest}


def complete(
    temporary: Path, final: Path, manifest: Mapping[str, Any], *, durable: bool = False, prune: bool = True
) -> None:
    """Write the manifest into `temporary`, last, call the folder `final`, and let go of all but the newest.

    Args:
        durable: bring all of it to disk before it gets its name, where losing it to a power cut would cost much.
        prune: let go of older ones.
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


def others(checkpoint: Path) -> list[Path]:
    """The other checkpoints of the same job's attempts that have a manifest, newest first."""
    job = checkpoint.parent.parent.parent
    found = [path for folder in job.glob("*/checkpoints") for path in complete_checkpoints(folder)]
    found.sort(key=lambda path: (_step(path), path.parent.parent.name), reverse=True)
    return [path for path in found if path != checkpoint]


def offered(resume: Path) -> list[Path]:
    """The checkpoints to try, in this order: the one that was asked for, then `others`.

    Raises:
        BadInput: there is none at all; so nobody has mistyped a path and begins anew unawares.
    """
    named = _NAME.fullmatch(resume.name)
    found = others(resume) if named else []
    if not named or not (resume.is_dir() or found):
        raise BadInput(
            f"{resume}: cannot be resumed from: no such checkpoint, nor another one of its job; allowed: a folder "
            "checkpoints/step-N of an attempt; set resume to null to begin anew"
        )
    return [resume, *found]


def first_intact(resume: Path, take: Callable[[Path], T]) -> T | None:
    """`take` of the checkpoint `resume`, or of the newest other one of its job where that one is damaged; says so.

    Returns:
        None where all are damaged: the job begins anew.

    Raises:
        BadInput: `resume` is refused, or there is no checkpoint at all.
    """
    for number, checkpoint in enumerate(offered(resume)):
        try:
            return take(checkpoint)
        except Damaged as error:
            say_passed_over(error)
        except BadInput as error:
            if number == 0:
                raise
            say_passed_over(error)
    say_anew(resume)
    return None


def say_passed_over(error: Exception) -> None:
    """Tell the log that a checkpoint is not used, and why."""
    print(f"checkpoint passed over: {error}", flush=True)


def say_anew(resume: Path) -> None:
    """Tell the log that there was nothing to go on from."""
    print(f"{resume}: no checkpoint of this job is intact; it begins anew", flush=True)


def read_manifest(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """The manifest, and its files by name.

    Raises:
        Damaged: it is not there, cannot be read, or names a file outside the checkpoint.
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
    """See that the files `names` are what the manifest lists; a list without digests is held to sizes.

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
    """The manifest goes first, so that a half-removed folder is not taken for a checkpoint."""
    (checkpoint / MANIFEST).unlink(missing_ok=True)
    point("checkpoint.removing")
    shutil.rmtree(checkpoint)


def sync(path: Path) -> None:
    """Bring a file or the names in a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
