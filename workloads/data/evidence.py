"""Which earlier frames a segment is shown: one rule, in training and at generation (study.md section 2, Evidence).

Frame numbers are pixel frames. The anchor, frame `start` itself, is always slot 0 and is chosen by nobody; these
functions speak of the retrieved frames only, all before `start`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.data.geometry import overlap
from workloads.data.poses import Poses
from workloads.runtime.errors import BadInput

RULES = ("spread", "top")


@dataclass(frozen=True)
class Candidates:
    """Frames that could be evidence, in time order."""

    indices: npt.NDArray[np.int64]
    """(n,), frame numbers, ascending, all before the segment."""
    overlaps: npt.NDArray[np.float64]
    """(n,), with the pose of the segment's middle frame."""

    def __len__(self) -> int:
        return len(self.indices)


def middle(start: int, end: int) -> int:
    """The frame whose pose stands for the segment `start`..`end`, both included."""
    return (start + end) // 2


def candidates(poses: Poses, start: int, end: int, min_overlap: float) -> Candidates:
    """Frames before `start` that share at least `min_overlap` of the view with the segment's middle frame.

    Args:
        poses: of all frames up to `end` at least; at generation the commanded poses.
        end: last frame of the segment, included.

    Raises:
        ValueError: a segment outside `poses`.
    """
    if not 0 <= start <= end < len(poses):
        raise ValueError(f"segment {start}..{end} of {len(poses)} frames")
    return eligible(overlap(poses[:start], poses[middle(start, end)])[:, 0], min_overlap)


def eligible(overlaps: npt.NDArray[np.float64], min_overlap: float) -> Candidates:
    """Candidates of the overlaps (start,) of every frame before the segment."""
    indices = np.flatnonzero(overlaps >= min_overlap).astype(np.int64)
    return Candidates(indices, overlaps[indices])


def streamed(start: int, moves: int) -> list[tuple[int, int]]:
    """What a stream writes before the segment that begins at `start`, and with it: every frame once, in time order.

    One pair for each chunk of `moves` moves, the last that of `start`, the first what is left at the beginning: its
    anchor, and the frame after which it writes, which is the anchor before. The same in training and at generation.
    """
    anchors = sorted({0, *range(start % moves, start + 1, moves)})
    return list(zip(anchors, [-1, *anchors[:-1]], strict=True))


def choose(found: Candidates, frames: int, rule: str) -> npt.NDArray[np.int64]:
    """The retrieved frames of `frames` evidence frames (anchor included), oldest first; at most `frames - 1`.

    `spread`: equally spaced in time over the candidates, oldest and newest always in; with `frames` 2 the
    largest overlap, ties to the most recent. `top`: the largest overlaps, ties to the most recent.

    Raises:
        BadInput: an unknown rule or fewer than one frame.
    """
    if rule not in RULES:
        raise BadInput(f"controls.evidence.rule is {rule!r}; allowed: {', '.join(RULES)}")
    if frames < 1:
        raise BadInput(f"evidence frames are {frames}; at least 1, the anchor")
    n, wanted = len(found), frames - 1
    if n <= wanted:
        return found.indices
    if wanted == 0:
        return found.indices[:0]
    if rule == "top" or wanted == 1:
        # Ascending by overlap, then by time: the last ones are the largest, and of equals the most recent.
        order = np.lexsort((found.indices, found.overlaps))
        return np.sort(found.indices[order[n - wanted :]])
    q = np.arange(wanted, dtype=np.int64)
    return found.indices[(2 * q * (n - 1) + (wanted - 1)) // (2 * (wanted - 1))]
