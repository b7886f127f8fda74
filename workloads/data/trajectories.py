"""How the camera moves: chunks of F - 1 equal moves that share their boundary frames (study.md sections 2 and 7)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data import draws
from workloads.data.poses import Poses

TURN_DEG = (30.0, 60.0)


def key_of(data: Mapping[str, Any], split: str, index: int) -> tuple[int, ...]:
    """What names the draws of a scene: its number, in the open domain those of its prompt and of its variant.

    So the scenes of a pool are those of a larger one with the same numbers.
    """
    return divmod(index, int(data["open_variants"])) if split == "open" else (index,)


def start_yaw_deg(data: Mapping[str, Any], split: str, index: int, again: int = 0) -> float:
    """Heading of the scene's first frame, 0..360 degrees; arbitrary, so that no absolute heading means anything.

    Args:
        data, split, index: of the scene.
        again: how many headings were refused before, since nothing can be seen from there.
    """
    key = (*key_of(data, split, index), *([again] if again else []))
    return _rounded(draws.stream("data/start", data["seed"], split, *key).uniform(0.0, 360.0))


def trajectory(data: Mapping[str, Any], split: str, index: int, start_deg: float | None = None) -> Poses:
    """Four chunks, `4 (F - 1) + 1` frames: half the scenes (a, b, -b, -a), half (a, -a, b, -b), exactly closed.

    a and b are 30..60 degrees to a random side and, where `translation_m` is not 0, a move in world axes with
    them, such that the camera never gets farther than `translation_m` from its start. An open-domain scene has
    its first frame only: its other poses are commanded by the branch.

    Args:
        data, split, index: of the scene.
        start_deg: its heading (`World.start_yaw_deg`); None: the first that is drawn.
    """
    yaw = start_yaw_deg(data, split, index) if start_deg is None else start_deg
    if split == "open":
        return Poses(np.zeros((1, 3)), np.array([yaw]))
    random = draws.stream("data/trajectory", data["seed"], split, index)
    turns = random.uniform(*TURN_DEG, size=2) * random.choice([-1.0, 1.0], size=2)
    direction = random.uniform(0.0, 2 * np.pi, size=2)
    length_cm = random.uniform(0.5, 1.0, size=2) * float(data["translation_m"]) * 100 / 2
    moves = np.zeros((2, 4))  # x, y, z in centimetres and yaw in degrees
    moves[:, 0], moves[:, 1] = length_cm * np.cos(direction), length_cm * np.sin(direction)
    moves[:, 3] = turns
    a, b = np.round(moves, 6)
    still = np.zeros(4)
    corners = (still, a, a + b, a, still) if index % 2 == 0 else (still, a, still, b, still)
    path = _through(np.stack(corners), int(data["chunk_frames"]))
    return Poses.from_centimetres(np.round(path[:, :3], 6), np.round(path[:, 3] + yaw, 6))


def turning(pose: Poses, turns_deg: Sequence[float], chunk_frames: int) -> Poses:
    """The poses of a camera that turns by each of `turns_deg`, one chunk a turn, on the spot.

    Returns `len(turns_deg) (F - 1) + 1` poses, the first of them `pose` (one pose).
    """
    corners = np.concatenate([[0.0], np.cumsum(np.asarray(turns_deg, dtype=np.float64))])
    yaw = _through(corners[:, None], chunk_frames)[:, 0] + pose.yaw_deg
    return Poses(np.repeat(pose.positions_m, len(yaw), axis=0), yaw)


def _through(corners: npt.NDArray[np.float64], chunk_frames: int) -> npt.NDArray[np.float64]:
    """From corner to corner in `chunk_frames - 1` equal moves; between corners, never summed, so that loops close."""
    moves = chunk_frames - 1
    at = np.arange(moves * (len(corners) - 1) + 1)
    chunk = np.minimum(at // moves, len(corners) - 2)
    share = ((at - chunk * moves) / moves)[:, None]
    return np.asarray(corners[chunk] * (1 - share) + corners[chunk + 1] * share, dtype=np.float64)


def _rounded(value: float) -> float:
    return round(float(value), 6)
