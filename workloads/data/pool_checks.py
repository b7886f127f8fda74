"""Reading one file of a pool, or refusing it with file and field (study.md section 2; reference.md e for the layout).

Bad input is refused and never replaced or skipped: a row that is silently another row changes what is compared.
"""

import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from workloads.data.poses import Poses
from workloads.data.scene_files import Files, frame_name, label_name, names_in, opened, pose_name
from workloads.runtime.errors import BadInput

ACTOR = "CineCameraActor"


def check_readable(scene: str, only: Collection[str] | None, stage: str) -> None:
    """Refuse a scene that a job has not declared to read (`Request.reads`); None: it reads all.

    Raises:
        BadInput: it is not among them.
    """
    if only is not None and scene not in only:
        raise BadInput(
            f"scene {scene} of {stage} is read by a job whose plan does not name it (request.json: reads.{stage}); "
            "what a job reads is part of its fingerprint: declare it in workloads/study/items.py"
        )


def read_json(path: Files) -> Any:
    """The JSON in `path`.

    Raises:
        BadInput: missing, damaged, not JSON.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: missing; the pool is not whole: copy or make it again") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not JSON: {error}; copy or make the pool again") from error


def read_frame(path: Files) -> npt.NDArray[np.uint8]:
    """The pixels of a frame at its own size, (h, w, 3) uint8.

    Raises:
        BadInput: missing, damaged, not an image, truncated.
    """
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            # `convert` would copy what is RGB already, a fifth of the time of a small frame.
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: missing frame; frames are numbered 0000 on without gaps") from error
    except UnidentifiedImageError as error:
        raise BadInput(f"{path}: not a whole PNG: it has no beginning of one; copy or make the frame again") from error
    except Image.DecompressionBombError as error:  # a few bytes that stand for gigabytes of pixels
        raise BadInput(f"{path}: is too large for a frame: {error}; scale the frames down") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{path}: not a whole PNG: {error}; copy or make the frame again") from error


def read_poses(path: Files, frames: int) -> Poses:
    """The poses of frames 0..`frames` - 1 of a scene; roll and pitch are read, checked and not used.

    Raises:
        BadInput: missing, not the layout, a frame without a pose, a number that is not finite.
    """
    actor = _actor(path)
    for problem in _pose_problems(actor, path, frames):
        raise BadInput(problem)
    rows = [[*actor[str(i)]["position"], *actor[str(i)]["rotation"]] for i in range(frames)]
    values = np.asarray(rows, dtype=np.float64).reshape(frames, 6)
    return Poses.from_centimetres(values[:, :3], values[:, 5])


def pose_problems(path: Files, frames: int) -> Iterator[str]:
    """Everything wrong with a scene's poses, with file and field."""
    try:
        actor = _actor(path)
    except BadInput as problem:
        yield str(problem)
        return
    yield from _pose_problems(actor, path, frames)


def read_label(path: Files, frames: int) -> list[int]:
    """The frames that an overlap label names; its entries are integers written as strings.

    Raises:
        BadInput: not the layout, an entry that is no string or no frame of the scene.
    """
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: not an object; allowed: frame_index, overlapping_frames")
    found = [_frame(raw.get("frame_index"), f"{path}: frame_index", frames)]
    entries = raw.get("overlapping_frames")
    if not isinstance(entries, list):
        raise BadInput(f"{path}: overlapping_frames is {entries!r}; allowed: a list of frame numbers as strings")
    found += [_frame(entry, f"{path}: overlapping_frames[{i}]", frames) for i, entry in enumerate(entries)]
    return found[1:]


def read_captions(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """Per scene (first frame, last frame, caption), in order; lines `{scene}/{start}_{end}.mp4<TAB>caption`.

    Raises:
        BadInput: missing, or a line that is not of this form.
    """
    captions: dict[str, list[tuple[int, int, str]]] = {}
    for parsed in parse_captions(path):
        if isinstance(parsed, str):
            raise BadInput(parsed)
        scene, start, end, caption = parsed
        captions.setdefault(scene, []).append((start, end, caption))
    return {scene: sorted(spans) for scene, spans in captions.items()}


def parse_captions(path: Path) -> Iterator[tuple[str, int, int, str] | str]:
    """Each line as (scene, first frame, last frame, caption), or what is wrong with it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        yield f"{path}: missing; a line is SCENE/START_END.mp4<TAB>caption"
        return
    except UnicodeDecodeError as error:
        yield f"{path}: not UTF-8: {error}; copy or make the pool again"
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        scene, slash, span = name.rpartition("/")
        start, underscore, end = span.removesuffix(".mp4").partition("_")
        if tab and slash and underscore and start.isdecimal() and end.isdecimal():
            yield scene, int(start), int(end), caption
        else:
            yield f"{path}:{number}: {line[:80]!r}; a line is SCENE/START_END.mp4<TAB>caption"


def frame_count(root: Path, scene: str, *, archived: bool) -> int:
    """How many frames of a scene there are.

    Raises:
        BadInput: the scene's archive cannot be read.
    """
    with opened(root, scene, archived=archived) as files:
        return sum(name.endswith(".png") for name in names_in(files / f"frames/{scene}"))


def check_scene(root: Path, scene: str, frames: int, captions: Mapping[str, Sequence[Any]], *, archived: bool) -> Poses:
    """Everything about a scene but its pixels: files there, poses, labels (where there are any), a caption.

    Raises:
        BadInput: what is wrong, with file and field.
    """
    if not captions.get(scene):
        raise BadInput(f"{root / 'captions.txt'}: no line for scene {scene}; a line is SCENE/START_END.mp4<TAB>caption")
    with opened(root, scene, archived=archived) as files:
        for frame in range(frames):
            path = files / frame_name(scene, frame)
            if not path.is_file():
                raise BadInput(f"{path}: missing frame; frames are numbered 0000 on without gaps")
        if names_in(files / f"overlap_labels/{scene}"):
            for frame in range(frames):
                path = files / label_name(scene, frame)
                if path.is_file():
                    read_label(path, frames)
        return read_poses(files / pose_name(scene), frames)


def _actor(path: Files) -> dict[str, Any]:
    raw = read_json(path)
    actor = raw.get(ACTOR) if isinstance(raw, dict) else None
    if not isinstance(actor, dict):
        raise BadInput(f"{path}: no object {ACTOR!r}; poses are under {ACTOR}.FRAME")
    return actor


def _pose_problems(actor: Mapping[str, Any], path: Files, frames: int) -> Iterator[str]:
    for frame in range(frames):
        pose = actor.get(str(frame))
        if not isinstance(pose, dict):
            yield f"{path}: {ACTOR}.{frame} is missing; every frame needs position and rotation"
            continue
        for field in ("position", "rotation"):
            wrong = _wrong_numbers(pose.get(field))
            if wrong is not None:
                yield f"{path}: {ACTOR}.{frame}.{field} is {pose.get(field)!r}; allowed: {wrong}"


def _wrong_numbers(values: Any) -> str | None:
    """What three finite numbers should have been instead; None if they are."""
    numeric = isinstance(values, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numeric or len(values) != 3:
        return "three numbers"
    return None if np.isfinite(values).all() else "finite numbers"


def _frame(value: Any, where: str, frames: int) -> int:
    if not isinstance(value, str) or not value.isdecimal():
        raise BadInput(f'{where} is {value!r}; allowed: a frame number written as a string, such as "12"')
    if int(value) >= frames:
        raise BadInput(f"{where} is {value!r}; the scene has frames 0..{frames - 1}")
    return int(value)
