"""Latents, poses and text of all scenes of a pool, in one artifact that training and evaluation share.

There is one latent for every pixel frame, encoded by itself: what evidence is made of. Where a codec shares latents
between frames, the clips that can be targets are encoded too, causally, from every segment's start.

```
poses.npy     (n, 4) float64: x, y, z in metres and yaw in degrees, of each pixel frame; all scenes, one after the other
text_of.npy   (n,) int32: each pixel frame's caption
meta.json     sections, splits, and first frame and number of frames of each scene; written last
              with a codec of time factor 1:
latents.npy   (n, c, h, w) float32, memory-mapped; a target is a slice of it
              with a codec that shares latents between frames, memory-mapped:
evidence/{scene}.npy   (frames, c, h, w) float16
clips/{scene}.npy      (segments, t, c, h, w) float16: from frame 0, time factor, 2 x time factor, ...; training scenes
              text, hashed and from a language model (whose padding would be most of it):
text.npy      (captions, l, width) float32
text.npy      (tokens, width) float16: all captions one after the other      text_offsets.npy   (captions + 1,) int64
```
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data.pool_checks import check_readable, read_json
from workloads.data.poses import Poses
from workloads.runtime.errors import BadInput

VERSION = 1
OPEN_SCENES = 512
"""Files of scenes that stay mapped."""


def has_clips(time_factor: int) -> bool:
    """Whether targets are stored beside the evidence: a latent then is not that of one frame."""
    return time_factor != 1


def is_ragged(codec_section: Mapping[str, Any]) -> bool:
    """Whether captions are stored at their own lengths."""
    return str(codec_section["text"]) != "hashed"


class Latents:
    """The artifact of the stage latents, opened for reading; nothing is copied until it is used."""

    def __init__(self, folder: Path, meta: Mapping[str, Any], only: Collection[str] | None = None) -> None:
        self.codec_section: dict[str, Any] = dict(meta["codec"])
        """controls.codec."""
        self.data_section: dict[str, Any] = dict(meta["data"])
        """controls.data."""
        self.shape: dict[str, int] = dict(meta["shape"])
        """channels, height, width, frames (latents of one chunk), text_tokens, text_width."""
        self.time_factor: int = int(meta["time_factor"])
        self._only = None if only is None else frozenset(only)
        self._splits: dict[str, tuple[str, ...]] = {
            split: tuple(scene for scene in scenes if self._only is None or scene in self._only)
            for split, scenes in meta["splits"].items()
        }
        self._spans: dict[str, tuple[int, int]] = {k: (int(v[0]), int(v[1])) for k, v in meta["spans"].items()}
        self._folder = folder
        self._poses: npt.NDArray[np.float64] = np.load(folder / "poses.npy", allow_pickle=False)
        self._text_of: npt.NDArray[np.int32] = np.load(folder / "text_of.npy", allow_pickle=False)
        self._ragged = is_ragged(self.codec_section)
        self._text: npt.NDArray[Any] = np.load(
            folder / "text.npy", mmap_mode="r" if self._ragged else None, allow_pickle=False
        )
        self._offsets: npt.NDArray[np.int64] | None = (
            np.load(folder / "text_offsets.npy", allow_pickle=False) if self._ragged else None
        )
        self._flat: npt.NDArray[np.float32] | None = (
            None if has_clips(self.time_factor) else np.load(folder / "latents.npy", mmap_mode="r", allow_pickle=False)
        )
        self._mapped = lru_cache(maxsize=OPEN_SCENES)(self._map)

    @classmethod
    def open(cls, folder: Path | str, only: Collection[str] | None = None) -> "Latents":
        """The latents in `folder`; with `only`, as if it had no others (`Request.reads`): to read one is an error.

        Raises:
            BadInput: no `meta.json`, or another version of it.
        """
        path = Path(folder) / "meta.json"
        meta = read_json(path)
        if meta.get("version") != VERSION:
            raise BadInput(f"{path}: version is {meta.get('version')!r}, this code reads {VERSION}; make them again")
        return cls(Path(folder), meta, only)

    def scenes(self, split: str) -> tuple[str, ...]:
        """Names of the scenes of a split: "train", "held_out" or "open"."""
        return self._splits[split]

    def latents(self, scene: str) -> npt.NDArray[Any]:
        """(n, c, h, w) of a scene, one for each pixel frame, encoded by itself; memory-mapped and read-only.

        float32, or float16 where the codec shares latents between frames.
        """
        if self._flat is None:
            return self._mapped("evidence", scene)
        first, count = self._span(scene)
        return self._flat[first : first + count]

    def evidence(self, scene: str, frames: npt.NDArray[np.int64] | Sequence[int]) -> npt.NDArray[np.float32]:
        """(k, c, h, w) float32 of the pixel frames `frames`, each encoded by itself; a copy."""
        return np.asarray(self.latents(scene)[np.asarray(frames, dtype=np.int64)], dtype=np.float32)

    def target(self, scene: str, start: int) -> npt.NDArray[np.float32]:
        """(t, c, h, w) float32 of the segment that starts at pixel frame `start`, encoded causally as one clip.

        With time factor 1 it is a view of what is stored.

        Raises:
            IndexError: no segment starts there: past the last one, no multiple of the time factor, or a scene that
                is not trained on.
        """
        length = self.shape["frames"]
        if self._flat is not None:
            if not 0 <= start <= self._span(scene)[1] - length:
                raise IndexError(f"segment at frame {start} of {self._span(scene)[1]} in scene {scene}")
            return self.latents(scene)[start : start + length]
        if scene not in self._splits["train"] or start % self.time_factor:
            raise IndexError(
                f"no clip at frame {start} of scene {scene}; clips start at multiples of {self.time_factor} "
                "in training scenes"
            )
        clips = self._mapped("clips", scene)
        if not 0 <= start // self.time_factor < len(clips):
            raise IndexError(f"clip at frame {start} of scene {scene}, which has {len(clips)} clips")
        return np.asarray(clips[start // self.time_factor], dtype=np.float32)

    def clips(self, scene: str) -> npt.NDArray[np.float16] | None:
        """(segments, t, c, h, w), memory-mapped: the clips of a scene; None where a scene has none."""
        if self._flat is not None or scene not in self._splits["train"]:
            return None
        mapped: npt.NDArray[np.float16] = self._mapped("clips", scene)
        return mapped

    def poses(self, scene: str) -> Poses:
        """Poses of a scene's pixel frames."""
        first, count = self._span(scene)
        return Poses.from_array(self._poses[first : first + count])

    def text(self, scene: str, frame: int) -> npt.NDArray[np.float32]:
        """(text_tokens, text_width) float32: the caption that holds at pixel frame `frame`."""
        first, count = self._span(scene)
        if not 0 <= frame < count:
            raise IndexError(f"frame {frame} of {count} in scene {scene}")
        caption = int(self._text_of[first + frame])
        if self._offsets is None:
            return np.asarray(self._text[caption])
        padded = np.zeros((self.shape["text_tokens"], self.shape["text_width"]), dtype=np.float32)
        begin, end = (int(offset) for offset in self._offsets[caption : caption + 2])
        padded[: end - begin] = self._text[begin:end]
        return padded

    def scenes_digest(self) -> str:
        """sha256 of the names of all scenes that can be read, by split."""
        return hashlib.sha256(json.dumps(self._splits, sort_keys=True).encode()).hexdigest()

    def _span(self, scene: str) -> tuple[int, int]:
        check_readable(scene, self._only, "latents")
        return self._spans[scene]

    def _map(self, kind: str, scene: str) -> npt.NDArray[Any]:
        check_readable(scene, self._only, "latents")
        path = self._folder / kind / f"{scene}.npy"
        try:
            mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: no latents of scene {scene} ({error}); make them again") from error
        return mapped


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
