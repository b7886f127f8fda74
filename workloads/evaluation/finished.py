"""Generated videos on disk, and the checkpoints that let a later attempt go on after the last finished batch.

A checkpoint `checkpoints/step-{cases finished}/` holds a video `{slug}.npy` of every finished case and last
`manifest.json`, `{"step", "files": [{"path", "size"}], "fingerprint"}`. Its videos are hard links to what will be
published, so that a checkpoint costs no copying; nothing is ever changed in place.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workloads import step_folders
from workloads.errors import BadInput
from workloads.evaluation.cases import Setting

Frames = npt.NDArray[np.uint8]


def save_frames(folder: Path, setting: Setting, frames: Frames) -> None:
    """Write a case's video (T, h, w, 3) as `{slug}.npy`, whole or not at all."""
    temporary = folder / f".{setting.slug}.tmp"
    with temporary.open("wb") as file:
        np.save(file, frames, allow_pickle=False)
    temporary.replace(folder / f"{setting.slug}.npy")


def load_frames(folder: Path, setting: Setting) -> Frames:
    """A case's video, memory-mapped.

    Raises:
        BadInput: it is missing or no array.
    """
    path = folder / f"{setting.slug}.npy"
    try:
        frames: Frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: no video of case {setting.id} ({error}); evaluate again") from error
    return frames


def is_finished(folder: Path, setting: Setting) -> bool:
    """Whether the case's video is there."""
    return (folder / f"{setting.slug}.npy").is_file()


def write_checkpoint(checkpoints: Path, folder: Path, settings: Sequence[Setting], fingerprint: str) -> None:
    """Make a checkpoint of the finished videos in `folder`, then let go of all but the two newest."""
    done = [setting for setting in settings if is_finished(folder, setting)]
    final, temporary = checkpoints / f"step-{len(done)}", checkpoints / f".step-{len(done)}.tmp"
    if not done or final.exists():
        return
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = []
    for setting in done:
        name = f"{setting.slug}.npy"
        _link(folder / name, temporary / name)
        files.append({"path": name, "size": (temporary / name).stat().st_size})
    manifest = {"step": len(done), "files": files, "fingerprint": fingerprint}
    step_folders.complete(temporary, final, manifest)


def restore(checkpoint: Path, folder: Path, settings: Sequence[Setting], fingerprint: str) -> None:
    """Take the finished videos of an earlier attempt's checkpoint over into `folder`.

    Raises:
        BadInput: it is not complete, or of another job.
    """
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        sizes = {line["path"]: line["size"] for line in manifest["files"]}
        whole = all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
        of_job = manifest["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{checkpoint}: cannot be resumed from: {error}; set resume to null to begin anew") from error
    if not whole or of_job != fingerprint:
        reason = "files are not what manifest.json lists" if not whole else f"it is of job {of_job[:12]}"
        raise BadInput(f"{checkpoint}: cannot be resumed from: {reason}; set resume to null to begin anew")
    for setting in settings:
        name = f"{setting.slug}.npy"
        if name in sizes and not is_finished(folder, setting):
            _link(checkpoint / name, folder / f".{name}.tmp")
            (folder / f".{name}.tmp").replace(folder / name)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
