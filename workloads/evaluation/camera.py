"""Did the camera do it? The turn that a video shows, measured against its own source frame (study.md section 7).

A judge that compares the end with the start rewards a camera that never leaves. Here the source frame, turned by some
yaw, is compared with the video where it should still be in sight: one fit for all frames of the first chunk together,
since a single frame of a small model is too blurred to read a yaw from. No renderer and no truth are needed.

Known limits: docs/explanation/camera.md.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.data.poses import Poses
from workloads.evaluation.pan import turned_frame

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

SHARES = np.array(sorted(range(-30, 41), key=abs)) / 20
"""Tried shares of the commanded turn, -1.5 to 2 in steps of 0.05; of equal fits the smallest turn counts."""
EARLIER_BY = 0.05
"""By so much must a turn that ends early fit better than one that goes on to the end of the chunk."""
MEASURABLE = 0.35
"""Smallest fit at which the turn counts as measured."""
LEFT = (2 / 3, 4 / 3)
"""Shares of the commanded turn that count as having left."""
SAME = 0.8
"""Fit from which frames on the way back show the source itself."""
ON_THE_WAY = (1 / 3, 5 / 3)
"""Shares of the way back that are as commanded."""
NEAREST_DEG = 4.0
"""A frame that should be closer to the source than this cannot be told from it."""
STILL_M, STILL_DEG = 1e-6, 1e-6
"""A camera that moves or turns less does not."""
WIDEST = 64
"""Columns to which a larger frame is averaged; the thresholds hold from 16 to 64."""
FEWEST_COLUMNS = 2
SMALLEST_NORM, ROUNDING = 1e-9, 1e-12
BLOCK_VALUES = 1 << 16
"""Values of turned frames that are held at once: they stay in the cache."""


@dataclass(frozen=True)
class Camera:
    """What the camera did in one video."""

    q: float
    """Fit of the best path over the first chunk, -1 to 1."""
    f: float
    """Share of the commanded turn that the path ends at; without meaning where the turn is not measurable."""
    refused: bool
    """Shows the source itself on the way back, not at its commanded yaw: faded or jumped to it."""

    @property
    def measurable(self) -> bool:
        """Whether the source is recognised in the first chunk at all."""
        return self.q >= MEASURABLE

    @property
    def left(self) -> bool:
        """Whether the camera left as commanded and did not fade or jump back."""
        return self.measurable and LEFT[0] <= self.f <= LEFT[1] and not self.refused


def no_gate(poses: Poses, chunk_frames: int) -> str:
    """Why this cannot be measured along these commanded poses; empty: it can.

    From a camera that also moves, the source is not the same picture turned.
    """
    moved = np.abs(poses.positions_m - poses.positions_m[:1]).max()
    if moved > STILL_M:
        return f"the camera moves by up to {moved:.3g} m; the measure is of cameras that only turn"
    if abs(poses.yaw_deg[chunk_frames - 1] - poses.yaw_deg[0]) < STILL_DEG:
        return "the first chunk does not turn the camera, so that there is no leaving to measure"
    return ""


def measured(source: npt.NDArray[np.uint8], frames: Frames, poses: Poses, chunk_frames: int) -> Camera:
    """What the camera did in one video.

    Args:
        source: (h, w, 3), the frame at the first pose.
        frames: (T, h, w, 3), frame 0 included.
        poses: (T,), commanded; `no_gate` allows them.
        chunk_frames: F; the first chunk leaves, the last one comes back.

    Raises:
        ValueError: not as many frames as poses, or poses without a gate.
    """
    if len(frames) != len(poses) or (why := no_gate(poses, chunk_frames)):
        raise ValueError(why if len(frames) == len(poses) else f"{len(frames)} frames for {len(poses)} poses")
    turn = poses.yaw_deg - poses.yaw_deg[0]
    moves = chunk_frames - 1
    out = np.arange(1, chunk_frames)
    back = _way_back(turn, moves)
    small = _small(np.concatenate([source[None], frames[out], frames[back]]))
    q, f = _leaving(Fits.of(small[0], small[1 : 1 + moves], turn[out]), moves)
    share, fit = _returning(Fits.of(small[0], small[1 + moves :], turn[back]))
    return Camera(q, f, refused=fit >= SAME and not ON_THE_WAY[0] <= share <= ON_THE_WAY[1])


@dataclass(frozen=True)
class Fits:
    """Products of every frame with the source frame turned by every share of every commanded turn.

    `at[a, s]` is the place of yaw `SHARES[a] * turn[s]` among the U distinct ones.
    """

    at: Indices
    """(shares, t)."""
    product: Floats
    """(t, U): of a frame with the turned source, over the pixels that the source saw."""
    of_frames: Floats
    """(t, U): of a frame with itself, over the same pixels."""
    of_source: Floats
    """(U,): of the turned source with itself; 0 where too little of it is left in sight."""

    @staticmethod
    def of(source: Floats, frames: Floats, turn_deg: Floats) -> "Fits":
        """The products of `frames` (t, h, w, 3), which should have turned by `turn_deg` (t,) from `source` (h, w, 3).

        The mean over the pixels of each frame and colour is removed.
        """
        yaws, at = np.unique(np.round(SHARES[:, None] * turn_deg, 6), return_inverse=True)
        count = len(frames)
        colours = frames.reshape(count, -1, 3)
        pixels = [np.ascontiguousarray(colours[:, :, c]) for c in range(3)]  # (t, n) each
        squares = (colours**2).sum(axis=2)
        product, of_frames, of_source = np.zeros((count, len(yaws))), np.zeros((count, len(yaws))), np.zeros(len(yaws))
        block = max(1, BLOCK_VALUES // source.size)
        for first in range(0, len(yaws), block):
            part = slice(first, first + block)
            turned, seen = turned_frame(source, yaws[part])
            enough = seen.any(axis=1).sum(axis=1) >= FEWEST_COLUMNS
            inside = (seen & enough[:, None, None]).reshape(len(seen), -1).astype(np.float64)  # (u, n)
            n = np.maximum(inside.sum(axis=1), 1.0)
            raw_frames, raw_source = squares @ inside.T, np.zeros(len(seen))
            less_frames, less_source = np.zeros_like(raw_frames), np.zeros(len(seen))
            for c in range(3):
                other = turned[..., c].reshape(len(seen), -1) * inside
                sums, own = other.sum(axis=1), pixels[c] @ inside.T
                product[:, part] += pixels[c] @ other.T - own * (sums / n)
                less_frames += own**2 / n
                less_source += sums**2 / n
                raw_source += (other**2).sum(axis=1)
            of_frames[:, part] = _spread(raw_frames, less_frames)
            of_source[part] = _spread(raw_source, less_source)
        return Fits(at.reshape(len(SHARES), count), product, of_frames, of_source)

    def q(self, path: Indices) -> Floats:
        """Fit of paths (..., t), each the place of every frame's yaw: one correlation over all frames together."""
        t = np.arange(path.shape[-1])
        usable = self.of_source[path] > 0
        norms = (
            np.sqrt(np.where(usable, self.of_frames[t, path], 0.0).sum(axis=-1)),
            np.sqrt(self.of_source[path].sum(axis=-1)),
        )
        told = np.minimum(*norms) >= SMALLEST_NORM
        product = np.where(usable, self.product[t, path], 0.0).sum(axis=-1)
        fit: Floats = np.divide(product, norms[0] * norms[1], out=np.zeros(product.shape), where=told)
        return fit


def _leaving(fits: Fits, moves: int) -> tuple[float, float]:
    """Fit and share of the best path: at an even pace up to move m of the first chunk, and still from then on."""
    t = np.arange(moves)
    ends = np.array([*range(-(-moves // 4), moves - 1), moves])
    q = fits.q(fits.at[:, np.minimum(t, ends[:, None] - 1)])  # (shares, ends)
    best = q.max(axis=0)
    chosen = int(best.argmax())
    if best[chosen] <= best[-1] + EARLIER_BY:
        chosen = len(ends) - 1
    share = SHARES[int(q[:, chosen].argmax())]
    return float(best[chosen]), float(share * ends[chosen] / moves)


def _returning(fits: Fits) -> tuple[float, float]:
    """Share of the way back that fits best, and its fit."""
    q = fits.q(fits.at)
    best = int(q.argmax())
    return float(SHARES[best]), float(q[best])


def _way_back(turn_deg: Floats, moves: int) -> Indices:
    """Frames of the way back: the last three of the last chunk that should not yet show the source again.

    Of nine frames a chunk these are T - 4 to T - 2, T the last one.
    """
    last = len(turn_deg) - 1
    way = np.arange(max(last - moves, 0) + 1, last - 1)
    return way[np.abs(turn_deg[way]) >= NEAREST_DEG][-3:]


def _spread(raw: Floats, less: Floats) -> Floats:
    """Sum of squares about the mean, from that about 0; exactly 0 where only rounding is left."""
    spread = raw - less
    return np.where(spread > ROUNDING * raw, spread, 0.0)


def _small(frames: Frames) -> Floats:
    """Frames as 0..1; those wider than `WIDEST` averaged over squares of pixels from the middle."""
    side = -(-frames.shape[2] // WIDEST)
    values = frames.astype(np.float64) / 255
    if side == 1:
        return values
    t, h, w = frames.shape[:3]
    rows, columns = h // side, w // side
    top, left = (h - rows * side) // 2, (w - columns * side) // 2
    cut = values[:, top : top + rows * side, left : left + columns * side]
    return np.asarray(cut.reshape(t, rows, side, columns, side, 3).mean(axis=(2, 4)))
