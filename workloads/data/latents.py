"""Latents, poses and text of all scenes of a pool, in one artifact that training and evaluation share.

```
latents.npy   (n, c, h, w) float32: all scenes one after the other, memory-mapped
poses.npy     (n, 4) float64: x, y, z in metres and yaw in degrees, of each latent's frame
text.npy      (captions, l, width) float32      text_of.npy   (n,) int32: each latent's caption
meta.json     sections, splits, and first latent and number of latents of each scene; written last
```
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data.pool_checks import read_json
from workloads.data.poses import Poses
from workloads.errors import BadInput

VERSION = 1


class Latents:
    """The artifact of the stage latents, opened for reading; nothing is copied until it is used."""

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        self.codec_section: dict[str, Any] = dict(meta["codec"])
        """controls.codec."""
        self.data_section: dict[str, Any] = dict(meta["data"])
        """controls.data."""
        self.shape: dict[str, int] = dict(meta["shape"])
        """channels, height, width, frames (latents of one chunk), text_tokens, text_width."""
        self.time_factor: int = int(meta["time_factor"])
        self._splits: dict[str, tuple[str, ...]] = {k: tuple(v) for k, v in meta["splits"].items()}
        self._spans: dict[str, tuple[int, int]] = {k: (int(v[0]), int(v[1])) for k, v in meta["spans"].items()}
        self._latents: npt.NDArray[np.float32] = np.load(folder / "latents.npy", mmap_mode="r", allow_pickle=False)
        self._poses: npt.NDArray[np.float64] = np.load(folder / "poses.npy", allow_pickle=False)
        self._text: npt.NDArray[np.float32] = np.load(folder / "text.npy", allow_pickle=False)
        self._text_of: npt.NDArray[np.int32] = np.load(folder / "text_of.npy", allow_pickle=False)

    @classmethod
    def open(cls, folder: Path | str) -> "Latents":
        """The latents in `folder`.

        Raises:
            BadInput: no `meta.json`, or another version of it.
        """
        path = Path(folder) / "meta.json"
        meta = read_json(path)
        if meta.get("version") != VERSION:
            raise BadInput(f"{path}: version is {meta.get('version')!r}, this code reads {VERSION}; make them again")
        return cls(Path(folder), meta)

    def scenes(self, split: str) -> tuple[str, ...]:
        """Names of the scenes of a split: "train", "held_out" or "open"."""
        return self._splits[split]

    def latents(self, scene: str) -> npt.NDArray[np.float32]:
        """(t, c, h, w) float32 of a scene, memory-mapped and read-only."""
        first, count = self._spans[scene]
        return self._latents[first : first + count]

    def poses(self, scene: str) -> Poses:
        """Poses of a scene's latents."""
        first, count = self._spans[scene]
        return Poses.from_array(self._poses[first : first + count])

    def text(self, scene: str, frame: int) -> npt.NDArray[np.float32]:
        """(text_tokens, text_width) float32: the caption that holds at `frame`."""
        first, count = self._spans[scene]
        if not 0 <= frame < count:
            raise IndexError(f"frame {frame} of {count} in scene {scene}")
        return np.asarray(self._text[self._text_of[first + frame]])


def write_meta(
    folder: Path,
    *,
    data: Mapping[str, Any],
    codec: Mapping[str, Any],
    shape: Mapping[str, int],
    time_factor: int,
    splits: Mapping[str, Sequence[str]],
    spans: Mapping[str, tuple[int, int]],
) -> None:
    """Write `meta.json`, last of all files."""
    meta = {
        "version": VERSION,
        "data": dict(data),
        "codec": dict(codec),
        "shape": dict(shape),
        "time_factor": time_factor,
        "splits": {k: list(v) for k, v in splits.items()},
        "spans": {k: list(v) for k, v in spans.items()},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
