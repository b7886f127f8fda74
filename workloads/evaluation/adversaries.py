"""Videos that remember nothing and might score: made from what is known of a case, without any model.

A metric is worth what it says of these. An *adversary* does not move as commanded, or shows another world: none may
beat a row without memory. A *reference line* moves as commanded, by cheaper means than a memory, and may.

Frames are (T, h, w, 3) uint8; frame 0 is the given one in all of them. T - 1 is a multiple of F - 1, the moves of a
chunk. Source: study.md section 7.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.data.geometry import rotations
from workloads.data.poses import Poses
from workloads.evaluation.pan import turned_frame
from workloads.evaluation.seen import Scene
from workloads.evaluation.strips import TAIL_FRAMES

Frames = npt.NDArray[np.uint8]


class NoMeaning(ValueError):
    """A video that cannot be made of what is known of a case, or would show nothing that another does not."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a case without a model."""

    source: Frames
    """(h, w, 3): the given frame."""
    poses: Poses
    """Commanded, (T,)."""
    chunk_frames: int
    """F."""
    truth: Frames | None
    """(T, h, w, 3) along `poses`; None where nobody knows it."""
    world: Scene | None = None
    """The case's world, where it is rendered."""
    other: Scene | None = None
    """Another world with other surroundings, where there is one."""
    other_pose: Poses | None = None
    """(1,): where its own camera starts."""

    @property
    def moves(self) -> int:
        """F - 1."""
        return self.chunk_frames - 1

    def given(self, frames: Frames) -> Frames:
        """`frames` with the given frame as frame 0."""
        return np.concatenate([self.source[None], frames[1:]])

    def true(self) -> Frames:
        """The truth.

        Raises:
            NoMeaning: nobody knows it.
        """
        if self.truth is None:
            raise NoMeaning("nobody knows the true frames: only a rendered world shows them")
        return self.truth

    def rendered(self, poses: Poses) -> Frames:
        """The case's world at other poses.

        Raises:
            NoMeaning: it is not rendered.
        """
        if self.world is None:
            raise NoMeaning("only a rendered world can be seen from other poses than the commanded")
        return self.world.frames(poses)

    def instead(self, at: npt.NDArray[np.int64]) -> Frames:
        """At each frame the true one with the number in `at`, which begins as commanded and ends in time.

        Raises:
            NoMeaning: the camera is not commanded to come back, or these are the frames that it is commanded to see.
        """
        if not self.comes_back:
            raise NoMeaning("the camera is not commanded to come back")
        if np.allclose(self.poses[at].array(), self.poses.array()):
            raise NoMeaning("the camera is commanded to do just this, so it is the truth")
        return self.given(self.true()[at])

    @property
    def comes_back(self) -> bool:
        """Whether the camera ends where it began."""
        return np.allclose(self.poses[0].array(), self.poses[len(self.poses) - 1].array())


def truth(known: Known) -> Frames:
    """The ceiling: what the camera would see."""
    return known.given(known.true())


def anchor(known: Known) -> Frames:
    """The floor: the camera stands still."""
    return known.source[None].repeat(len(known.poses), axis=0)


def fades(known: Known) -> Frames:
    """Over the last chunk the truth dissolves into the anchor, which alone is left before the last `TAIL_FRAMES`."""
    last = len(known.poses) - 1
    start, end = last - known.moves, max(last - TAIL_FRAMES, last - known.moves + 1)
    share = np.clip((np.arange(last + 1) - start) / (end - start), 0, 1)[:, None, None, None]
    mixed = known.true() * (1 - share) + known.source * share
    return known.given(np.rint(mixed).astype(np.uint8))


def jumps(known: Known) -> Frames:
    """The truth until the last `TAIL_FRAMES` and the frame before them, then the anchor."""
    start = max(1, len(known.poses) - 1 - TAIL_FRAMES)
    return known.given(np.concatenate([known.true()[:start], anchor(known)[start:]]))


def half(known: Known) -> Frames:
    """The camera turns and moves half as far as commanded."""
    return known.given(known.rendered(scaled(known.poses, 0.5)))


def waits(known: Known) -> Frames:
    """The camera goes half way through the first chunk, waits there, and comes back the same way to be in time."""
    last = len(known.poses) - 1
    at = np.arange(last + 1)
    out = np.minimum(at, known.moves // 2)
    return known.given(known.true()[np.minimum(out, last - at) if known.comes_back else out])


def mean_colour(known: Known) -> Frames:
    """Every frame is the mean colour of the given one."""
    colour = np.rint(known.source.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    return known.given(np.broadcast_to(colour, (len(known.poses), *known.source.shape)))


def other_world(known: Known) -> Frames:
    """Another world, along the same way from where its own camera starts.

    Raises:
        NoMeaning: there is none.
    """
    if known.other is None or known.other_pose is None:
        raise NoMeaning("there is no other rendered world")
    first, start = known.poses[0], known.other_pose
    turn = rotations(start.yaw_deg - first.yaw_deg)[0]
    moved = (known.poses.positions_m - first.positions_m) @ turn.T
    yaw = known.poses.yaw_deg - first.yaw_deg + start.yaw_deg
    return known.given(known.other.frames(Poses(start.positions_m + moved, yaw)))


def late(known: Known) -> Frames:
    """The truth one chunk late: the camera stands still for a chunk first."""
    return known.given(known.true()[np.maximum(0, np.arange(len(known.poses)) - known.moves)])


def pan(known: Known) -> Frames:
    """Reference line: the given frame alone, turned as commanded; outside its view its edge goes on.

    Raises:
        NoMeaning: the camera also moves, which one frame without depth cannot follow.
    """
    if not np.array_equal(known.poses.positions_m, np.repeat(known.poses[0].positions_m, len(known.poses), axis=0)):
        raise NoMeaning("the camera also moves, and one frame can be turned but not moved: its depth is not known")
    colours, _ = turned_frame(known.source, known.poses.yaw_deg - known.poses.yaw_deg[0])
    return known.given(np.rint(colours).astype(np.uint8))


def stops(known: Known) -> Frames:
    """Reference line: the camera stops where the first chunk ends, and comes back from there to be in time."""
    last = len(known.poses) - 1
    at = np.arange(last + 1)
    return known.instead(np.minimum(np.minimum(at, known.moves), last - at))


def backwards(known: Known) -> Frames:
    """Reference line: the first chunk, then the same frames backwards, and again."""
    at = np.arange(len(known.poses)) % (2 * known.moves)
    return known.instead(np.minimum(at, 2 * known.moves - at))


VIDEOS: Mapping[str, Callable[[Known], Frames]] = {
    "truth": truth,
    "anchor": anchor,
    "fades": fades,
    "jumps": jumps,
    "half": half,
    "waits": waits,
    "mean-colour": mean_colour,
    "other-world": other_world,
    "late": late,
    "pan": pan,
    "stops": stops,
    "backwards": backwards,
}
"""By the value of `shows` of a row of family `bound`."""


def scaled(poses: Poses, by: float) -> Poses:
    """Poses that are `by` times as far from the first one: 0.5 is half the turn, -1 the wrong way."""
    first = poses[0]
    return Poses(
        first.positions_m + (poses.positions_m - first.positions_m) * by,
        first.yaw_deg + (poses.yaw_deg - first.yaw_deg) * by,
    )
