"""A pool of scenes: frames, poses, captions (study.md section 2; reference.md e for the layout Context-as-Memory).

```
pool.json              source, splits, frames of each scene, the data section; written last
captions.txt
scenes/{scene}.zip     frames, poses, labels and the parameters of a rendered scene (`scene_files.py`)
```
For a real pool only `pool.json` is ours; its `root` tells where the rest lies, its `open` the pictures, objects and
prompts of the open domain (`open_pool.py`). Version 1 of `pool.json` was of pools whose scenes are in folders; later
ones say with `archived` which it is.
"""

import json
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workloads.data.open_pool import OpenScene, from_json, to_json
from workloads.data.pool_checks import check_readable, check_scene, read_captions, read_frame, read_json, read_poses
from workloads.data.poses import Poses
from workloads.data.scene_files import Files, frame_name, opened, pose_name, world_name
from workloads.data.worlds import World, world_from
from workloads.runtime.errors import BadInput
from workloads.study.scenes import WORLDS

VERSION = 2
READ = (1, VERSION)
SPLITS = ("train", "held_out", "open")


class Pool:
    """A pool, opened for reading. Scenes are read when asked for, and poses remembered."""

    def __init__(self, folder: Path, description: Mapping[str, Any], only: Collection[str] | None = None) -> None:
        self._folder = folder
        self._root = Path(description["root"]) if description["root"] else folder
        self._only = None if only is None else frozenset(only)
        self._splits: dict[str, tuple[str, ...]] = {
            split: tuple(scene for scene in description["splits"][split] if self._only is None or scene in self._only)
            for split in SPLITS
        }
        self._lengths: dict[str, int] = dict(description["lengths"])
        self._archived = description["version"] > 1 and bool(description["archived"])
        self._open = from_json(description.get("open", {}))
        self._poses: dict[str, Poses] = {}
        self.name: str = description["name"]
        """Name of the source, as in case ids."""
        self.data: dict[str, Any] = dict(description["data"])
        """The data section that the pool was made with."""

    @classmethod
    def open(cls, folder: Path | str, only: Collection[str] | None = None) -> "Pool":
        """The pool in `folder`; with `only`, as if it had no other scenes (`Request.reads`): to read one is an error.

        Raises:
            BadInput: no `pool.json`, or another version of it.
        """
        path = Path(folder) / "pool.json"
        raw = read_json(path)
        if not isinstance(raw, dict) or raw.get("version") not in READ:
            version = raw.get("version") if isinstance(raw, dict) else None
            known = " and ".join(map(str, READ))
            raise BadInput(f"{path}: version is {version!r}, this code reads {known}; make the pool again")
        try:
            return cls(Path(folder), raw, only)
        except (KeyError, TypeError) as error:
            raise BadInput(f"{path}: {error} is missing or of another type; make the pool again") from error

    def scenes(self, split: str) -> tuple[str, ...]:
        """Names of the scenes of a split: "train", "held_out" or "open"."""
        return self._splits[split]

    def length(self, scene: str) -> int:
        """Number of frames of a scene."""
        check_readable(scene, self._only, "data")
        return self._lengths[scene]

    def poses(self, scene: str) -> Poses:
        """Poses of all frames of a scene.

        Raises:
            BadInput: missing or unusable poses, with file and field.
        """
        if scene in self._open:
            return Poses(np.zeros((1, 3)), np.zeros(1))
        if scene not in self._poses:
            with self._files(scene) as files:
                self._poses[scene] = read_poses(files / pose_name(scene), self.length(scene))
        return self._poses[scene]

    def frames(self, scene: str, indices: Iterable[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Frames of a scene, (n, h, w, 3) uint8 at the data section's size.

        A real pool's frames are resized to cover (bilinear) and cropped to the centre.

        Raises:
            BadInput: a missing or damaged frame, or a rendered one of another size.
        """
        height, width = int(self.data["height"]), int(self.data["width"])
        with self._files(scene) as files:
            frames = [self._sized(self._frame(files, scene, int(i)), height, width) for i in indices]
        return np.stack(frames) if frames else np.zeros((0, height, width, 3), dtype=np.uint8)

    def caption(self, scene: str, frame: int) -> str:
        """The caption whose span starts nearest to `frame`, of two equally near ones the earlier.

        Raises:
            BadInput: the scene has none.
        """
        check_readable(scene, self._only, "data")
        if scene in self._open:
            return self._open[scene].prompt
        spans = self._captions.get(scene)
        if not spans:
            raise BadInput(f"{self._root / 'captions.txt'}: no line for scene {scene}")
        after = bisect_right(spans, frame, key=lambda span: span[0])
        around = spans[max(0, after - 1) : after + 1]
        return min(around, key=lambda span: abs(span[0] - frame))[2]

    def world(self, scene: str) -> World | None:
        """The rendered scene's parameters; None for a real pool."""
        if self.name != WORLDS:
            return None
        with self._files(scene) as files:
            path = files / world_name(scene)
            return world_from(read_json(path), str(path))

    def object_of(self, scene: str) -> str | None:
        """The scene's object in words; None for the scenes of a real pool, which does not tell."""
        if scene in self._open:
            return self._open[scene].object
        world = self.world(scene)
        return None if world is None else world.object_name

    def check(self, scene: str) -> None:
        """Refuse a scene whose files are not whole; pixels are checked by reading them.

        Raises:
            BadInput: what is wrong, with file and field.
        """
        if scene in self._open:
            return
        self._poses[scene] = check_scene(self._root, scene, self.length(scene), self._captions, archived=self._archived)

    def _files(self, scene: str) -> AbstractContextManager[Files]:
        check_readable(scene, self._only, "data")
        return opened(self._root, scene, archived=self._archived and scene not in self._open)

    def _frame(self, files: Files, scene: str, frame: int) -> Files:
        if scene not in self._open:
            return files / frame_name(scene, frame)
        if frame != 0:
            raise IndexError(f"frame {frame} of 1 in scene {scene}")
        return Path(self._open[scene].image)

    @cached_property
    def _captions(self) -> dict[str, list[tuple[int, int, str]]]:
        return read_captions(self._root / "captions.txt")

    def _sized(self, path: Files, height: int, width: int) -> npt.NDArray[np.uint8]:
        pixels = read_frame(path)
        h, w = pixels.shape[:2]
        if (h, w) == (height, width):
            return pixels
        if self.name == WORLDS:
            raise BadInput(f"{path}: {h}x{w} pixels, the pool's frames are {height}x{width}; make the pool again")
        scale = max(height / h, width / w)
        covering = (max(width, round(w * scale)), max(height, round(h * scale)))
        image = Image.fromarray(pixels).resize(covering, Image.Resampling.BILINEAR)
        left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
        return np.asarray(image.crop((left, top, left + width, top + height)), dtype=np.uint8)


def write_description(
    folder: Path,
    *,
    name: str,
    root: Path | None,
    archived: bool,
    splits: Mapping[str, Sequence[str]],
    lengths: Mapping[str, int],
    data: Mapping[str, Any],
    open_scenes: Mapping[str, OpenScene] | None = None,
) -> None:
    """Write `pool.json`; a pool without it is not a pool, so it comes last.

    Args:
        root: where frames, poses and captions lie if not in `folder`.
        archived: whether each scene's files are an archive.
        open_scenes: of a real pool, those of the split "open".
    """
    description: dict[str, Any] = {
        "version": VERSION,
        "name": name,
        "root": None if root is None else str(root),
        "archived": archived,
        "splits": {split: list(splits[split]) for split in SPLITS},
        "lengths": dict(lengths),
        "data": dict(data),
    }
    if open_scenes:
        description["open"] = to_json(open_scenes)
    (folder / "pool.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
