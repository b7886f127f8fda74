"""Generated videos on disk, and the checkpoints that let a later attempt go on after the last finished batch.

A checkpoint `checkpoints/step-{cases finished}/` holds a video `{slug}.mkv` of every finished case and last
`manifest.json`, `{"step", "files": [{"path", "size", "sha256"}], "fingerprint"}`. Its videos are hard links to what
will be published, so that a checkpoint costs no copying; nothing is ever changed in place. A video with other bytes
than the manifest lists is generated again.

Earlier versions wrote videos as `{slug}.npy`. Those are read like others, and are written anew when they are taken
over, so that an artifact has one format.
"""

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workloads.contract.metrics import CASES
from workloads.contract.request import Finished
from workloads.evaluation.cases import Setting
from workloads.evaluation.lossless import Frames, Unreadable, decoded, encoded
from workloads.evaluation.values import CaseMetric, read_values
from workloads.runtime import step_folders
from workloads.runtime.errors import BadInput
from workloads.runtime.links import link

FRAMES = "frames"
"""Folder of an evaluation's artifact that holds the videos."""
VIDEO, ARRAY = ".mkv", ".npy"


def save_frames(folder: Path, setting: Setting, frames: Frames) -> None:
    """Write a case's video (T, h, w, 3) as `{slug}.mkv`, whole or not at all."""
    temporary = folder / f".{setting.slug}.tmp"
    temporary.write_bytes(encoded(frames))
    temporary.replace(folder / file_name(setting))


def load_frames(folder: Path, setting: Setting, numbers: Collection[int] | None = None) -> Frames:
    """A case's video, (T, h, w, 3); or its frames `numbers`, ascending, of which alone memory is taken.

    Raises:
        BadInput: it is missing or damaged.
    """
    path, old = folder / file_name(setting), folder / f"{setting.slug}{ARRAY}"
    try:
        if path.exists() or not old.exists():
            return decoded(path, numbers)
        path = old
        frames: Frames = np.load(path, mmap_mode="r", allow_pickle=False)
        return frames if numbers is None else np.asarray(frames[sorted(set(numbers))])
    except (Unreadable, OSError, ValueError, IndexError) as error:
        raise BadInput(f"{path}: no video of case {setting.id} ({error}); evaluate again") from error


def file_name(setting: Setting) -> str:
    """A case's video in its folder."""
    return f"{setting.slug}{VIDEO}"


def is_finished(folder: Path, setting: Setting) -> bool:
    """Whether the case's video is there."""
    return (folder / file_name(setting)).is_file()


def write_checkpoint(
    checkpoints: Path,
    folder: Path,
    settings: Sequence[Setting],
    fingerprint: str,
    listed: dict[str, Mapping[str, Any]],
) -> None:
    """Make a checkpoint of the finished videos in `folder`, then let go of all but the newest.

    Args:
        listed: videos as earlier manifests of this attempt list them; new ones are added, so each is read once.
    """
    done = [setting for setting in settings if is_finished(folder, setting)]
    final, temporary = checkpoints / f"step-{len(done)}", checkpoints / f".step-{len(done)}.tmp"
    if not done or final.exists():
        return
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = []
    for setting in done:
        name = file_name(setting)
        link(folder / name, temporary / name)
        if name not in listed:
            listed[name] = step_folders.entry(temporary / name)
        files.append(listed[name])
    manifest = {"step": len(done), "files": files, "fingerprint": fingerprint}
    step_folders.complete(temporary, final, manifest)


def restore(resume: Path, folder: Path, settings: Sequence[Setting], fingerprint: str) -> None:
    """Take the finished videos of `settings` over into `folder` from an earlier attempt's checkpoint.

    A damaged video is left out, a checkpoint without a readable manifest is passed over for another one of the job;
    the log says so.

    Raises:
        BadInput: no checkpoint there, or one of another job.
    """
    step_folders.first_intact(resume, lambda checkpoint: _take_over(checkpoint, folder, settings, fingerprint))


def _take_over(checkpoint: Path, folder: Path, settings: Sequence[Setting], fingerprint: str) -> bool:
    manifest, files = step_folders.read_manifest(checkpoint)
    of_job = str(manifest.get("fingerprint"))
    if of_job != fingerprint:
        raise BadInput(
            f"{checkpoint}: cannot be resumed from: it is of job {of_job[:12]}; set resume to null to begin anew"
        )
    for setting in settings:
        name = next((name for name in (file_name(setting), f"{setting.slug}{ARRAY}") if name in files), None)
        if name is None or is_finished(folder, setting):
            continue
        try:
            step_folders.check(checkpoint, files, [name])
            _take(checkpoint, folder, setting)
        except (step_folders.Damaged, BadInput) as error:
            print(f"{error}; case {setting.id} is generated again", flush=True)
    return True


def take_over(finished: Sequence[Finished], folder: Path, settings: Sequence[Setting]) -> None:
    """Take the videos of `settings` that other jobs have made over into `folder`; they are read-only."""
    there = {item: Path(one.folder) / FRAMES for one in finished for item in one.items}
    for setting in settings:
        if setting.id not in there or is_finished(folder, setting):
            continue
        try:
            if len(load_frames(there[setting.id], setting)) != len(setting.poses):
                raise BadInput(f"{there[setting.id] / file_name(setting)}: not {len(setting.poses)} frames")
            _take(there[setting.id], folder, setting)
        except BadInput as error:
            print(f"{error}; case {setting.id} is generated again", flush=True)


def _take(source: Path, folder: Path, setting: Setting) -> None:
    """Give the case's video in `source`, which was checked, a name in `folder`; an array is written anew as a video.

    Raises:
        BadInput: it is missing, or an array that cannot be read.
    """
    name = file_name(setting)
    if not (source / name).exists():
        save_frames(folder, setting, load_frames(source, setting))
        return
    link(source / name, folder / f".{name}.tmp")
    (folder / f".{name}.tmp").replace(folder / name)


def taken_lines(finished: Sequence[Finished]) -> dict[str, list[CaseMetric]]:
    """Case -> what other jobs have measured of it, of those that measured it in the same way."""
    found: dict[str, list[CaseMetric]] = {}
    for one in finished:
        if one.measured:
            wanted = frozenset(one.items)
            try:
                lines = read_values(Path(one.folder) / CASES)
            except BadInput as error:
                print(f"{error}; its cases are measured again", flush=True)
                continue
            for line in lines:
                if line.case in wanted:
                    found.setdefault(line.case, []).append(line)
    return found
