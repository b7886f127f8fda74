"""A pool of scenes: frames, poses, captions, in the Context-as-Memory layout (study.md section 2; reference.md e).

```
pool.json                        source, splits, frames of each scene, the data section; written last
frames/{scene}/{0000}.png        jsons/{scene}.json      overlap_labels/{scene}/{i}.json      captions.txt
worlds/{scene}.json              the parameters of a rendered scene
```
For a real pool only `pool.json` is ours; its `root` tells where the rest lies.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workloads.data.pool_checks import (
    check_scene,
    frame_path,
    pose_path,
    read_captions,
    read_frame,
    read_json,
    read_poses,
)
from workloads.data.poses import Poses
from workloads.data.worlds import World, world_from
from workloads.errors import BadInput

VERSION = 1
SPLITS = ("train", "held_out", "open")
WORLDS = "worlds"


class Pool:
    """A pool, opened for reading. Scenes are read when asked for, and poses remembered."""

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self._folder = folder
        self._root = Path(description["root"]) if description["root"] else folder
        self._splits: dict[str, tuple[str, ...]] = {s: tuple(description["splits"][s]) for s in SPLITS}
        self._lengths: dict[str, int] = dict(description["lengths"])
        self._poses: dict[str, Poses] = {}
        self.name: str = description["name"]
        """Name of the source, as in case ids."""
        self.data: dict[str, Any] = dict(description["data"])
        """The data section that the pool was made with."""

    @classmethod
    def open(cls, folder: Path | str) -> "Pool":
        """The pool in `folder`.

        Raises:
            BadInput: no `pool.json`, or another version of it.
        """
        path = Path(folder) / "pool.json"
        raw = read_json(path)
        if not isinstance(raw, dict) or raw.get("version") != VERSION:
            version = raw.get("version") if isinstance(raw, dict) else None
            raise BadInput(f"{path}: version is {version!r}, this code reads {VERSION}; make the pool again")
        try:
            return cls(Path(folder), raw)
        except (KeyError, TypeError) as error:
            raise BadInput(f"{path}: {error} is missing or of another type; make the pool again") from error

    def scenes(self, split: str) -> tuple[str, ...]:
        """Names of the scenes of a split: "train", "held_out" or "open"."""
        return self._splits[split]

    def length(self, scene: str) -> int:
        """Number of frames of a scene."""
        return self._lengths[scene]

    def poses(self, scene: str) -> Poses:
        """Poses of all frames of a scene.

        Raises:
            BadInput: missing or unusable poses, with file and field.
        """
        if scene not in self._poses:
            self._poses[scene] = read_poses(pose_path(self._root, scene), self.length(scene))
        return self._poses[scene]

    def frames(self, scene: str, indices: Iterable[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Frames of a scene, (n, h, w, 3) uint8 at the data section's size.

        A real pool's frames are resized to cover (bilinear) and cropped to the centre.

        Raises:
            BadInput: a missing or truncated frame, or a rendered one of another size.
        """
        height, width = int(self.data["height"]), int(self.data["width"])
        frames = [self._sized(frame_path(self._root, scene, int(i)), height, width) for i in indices]
        return np.stack(frames) if frames else np.zeros((0, height, width, 3), dtype=np.uint8)

    def caption(self, scene: str, frame: int) -> str:
        """The caption whose span starts last at or before `frame`, else the scene's first.

        Raises:
            BadInput: the scene has none.
        """
        spans = self._captions.get(scene)
        if not spans:
            raise BadInput(f"{self._root / 'captions.txt'}: no line for scene {scene}")
        return spans[max(0, bisect_right([start for start, _, _ in spans], frame) - 1)][2]

    def world(self, scene: str) -> World | None:
        """The rendered scene's parameters; None for a real pool."""
        if self.name != WORLDS:
            return None
        path = self._root / "worlds" / f"{scene}.json"
        return world_from(read_json(path), str(path))

    def check(self, scene: str) -> None:
        """Refuse a scene whose files are not whole; pixels are checked by reading them.

        Raises:
            BadInput: what is wrong, with file and field.
        """
        self._poses[scene] = check_scene(self._root, scene, self.length(scene), self._captions)

    @cached_property
    def _captions(self) -> dict[str, list[tuple[int, int, str]]]:
        return read_captions(self._root / "captions.txt")

    def _sized(self, path: Path, height: int, width: int) -> npt.NDArray[np.uint8]:
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
    splits: Mapping[str, Sequence[str]],
    lengths: Mapping[str, int],
    data: Mapping[str, Any],
) -> None:
    """Write `pool.json`; a pool without it is not a pool, so it comes last.

    Args:
        root: where frames, poses and captions lie if not in `folder`.
    """
    description = {
        "version": VERSION,
        "name": name,
        "root": None if root is None else str(root),
        "splits": {split: list(splits[split]) for split in SPLITS},
        "lengths": dict(lengths),
        "data": dict(data),
    }
    (folder / "pool.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
