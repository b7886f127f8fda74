"""Which segments are trained on, in which order, and which frames could be their evidence: computed once a seed.

```
order.npy       (steps, batch, 2) int32: scene's number in `scenes`, first frame      drops.npy   (steps, batch) bool
segments.npy    (n, 2) int32: every segment, by scene, then by first frame
offsets.npy     (n + 1,) int64 into candidates.npy (m,) int32 and overlaps.npy (m,) float64
index.json      scenes, steps, batch, digests; written last
```
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data.evidence import Candidates
from workloads.data.pool_checks import read_json
from workloads.runtime.errors import BadInput

VERSION = 1


@dataclass(frozen=True)
class Sample:
    """One training sample."""

    scene: str
    start: int
    """First frame of the segment."""
    dropped: bool
    """Only the anchor is shown (cold start)."""


class Index:
    """The artifact of the stage index, opened for reading."""

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        self._scenes: tuple[str, ...] = tuple(meta["scenes"])
        self._digests: dict[str, str] = dict(meta["digests"])
        self.steps: int = int(meta["steps"])
        self.batch: int = int(meta["batch"])
        self.segment_frames: int = int(meta["segment_frames"])
        """Frames of a segment, F."""
        self._order: npt.NDArray[np.int32] = _load(folder, "order")
        self._drops: npt.NDArray[np.bool_] = _load(folder, "drops")
        self._offsets: npt.NDArray[np.int64] = _load(folder, "offsets")
        # A real pool has gigabytes of these, of which a step needs a few.
        self._candidates: npt.NDArray[np.int32] = _load(folder, "candidates", mapped=True)
        self._overlaps: npt.NDArray[np.float64] = _load(folder, "overlaps", mapped=True)
        segments = _load(folder, "segments").tolist()
        self._numbers = {(self._scenes[scene], start): n for n, (scene, start) in enumerate(segments)}

    @classmethod
    def open(cls, folder: Path | str) -> "Index":
        """The index in `folder`.

        Raises:
            BadInput: no `index.json`, or another version of it.
        """
        path = Path(folder) / "index.json"
        meta = read_json(path)
        if meta.get("version") != VERSION:
            raise BadInput(f"{path}: version is {meta.get('version')!r}, this code reads {VERSION}; make it again")
        return cls(Path(folder), meta)

    def sample(self, step: int, i: int) -> Sample:
        """Sample `i` of the global batch of `step`, both from 0.

        Raises:
            IndexError: past the last step or sample.
        """
        if not (0 <= step < self.steps and 0 <= i < self.batch):
            raise IndexError(f"sample {i} of step {step}; there are {self.steps} steps of {self.batch}")
        scene, start = (int(v) for v in self._order[step, i])
        return Sample(self._scenes[scene], start, bool(self._drops[step, i]))

    def starts(self, scene: str) -> tuple[int, ...]:
        """First frames of all segments of a training scene, ascending."""
        return tuple(start for name, start in self._numbers if name == scene)

    def candidates(self, scene: str, start: int) -> Candidates:
        """The frames that could be evidence of the segment that starts at `start`.

        Raises:
            KeyError: no segment of a training scene starts there.
        """
        n = self._numbers[scene, start]
        span = slice(int(self._offsets[n]), int(self._offsets[n + 1]))
        return Candidates(np.array(self._candidates[span], dtype=np.int64), np.array(self._overlaps[span]))

    def digest(self) -> dict[str, str]:
        """sha256 of `sample_order`, `drops` and `candidates`: what the guard compares between cells."""
        return dict(self._digests)


def write_index(
    folder: Path,
    *,
    scenes: Sequence[str],
    segment_frames: int,
    order: npt.NDArray[np.int32],
    drops: npt.NDArray[np.bool_],
    segments: npt.NDArray[np.int32],
    found: Sequence[Candidates],
    digests: Mapping[str, str],
) -> None:
    """Write an index; `found` holds the candidates of each of `segments`."""
    arrays = {
        "order": order,
        "drops": drops,
        "segments": segments,
        "offsets": np.concatenate([[0], np.cumsum([len(c) for c in found])]).astype(np.int64),
        "candidates": np.concatenate([c.indices for c in found]).astype(np.int32),
        "overlaps": np.concatenate([c.overlaps for c in found]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    meta = {
        "version": VERSION,
        "scenes": list(scenes),
        "steps": order.shape[0],
        "batch": order.shape[1],
        "segment_frames": segment_frames,
        "digests": dict(digests),
    }
    (folder / "index.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _load(folder: Path, name: str, *, mapped: bool = False) -> Any:
    return np.load(folder / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False)
