"""Stage index: draw the order of samples and the cold starts, and list every segment's candidates (study.md section 2).

Every draw has its own stream, named by purpose, seed, step and place in the batch, so that the order depends neither on
the row nor on how many processes share the batch.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workloads.contract.request import Request
from workloads.data import draws
from workloads.data.codec import latents_of, time_factor
from workloads.data.evidence import RULES, Candidates, eligible, middle
from workloads.data.geometry import overlap
from workloads.data.index import write_index
from workloads.data.pool import Pool
from workloads.data.poses import Poses
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome

REPORT_EVERY = 1000  # steps between two signs of life while drawing
BLOCK_STARTS = 512
"""Pixel frames whose segments are looked at together; bounds the memory of a long scene."""


@dataclass(frozen=True)
class Segments:
    """All segments of one scene."""

    starts: npt.NDArray[np.int64]
    """(n,), first frames."""
    returning: npt.NDArray[np.float64]
    """(n,): mean over the segment's frames of the best overlap with a frame before the segment; 0 without any."""
    candidates: tuple[Candidates, ...]


def run(request: Request, progress: Progress) -> StageOutcome:
    """Write the index of the pool in `inputs.data` for one seed into `out`.

    Raises:
        BadInput: an unknown rule or codec, chunks that do not divide into latents, no segment in the training
            scenes, or no returning one where some are asked for.
    """
    data, evidence, training = (request.config[s] for s in ("data", "evidence", "training"))
    if evidence["rule"] not in RULES:
        raise BadInput(f"controls.evidence.rule is {evidence['rule']!r}; allowed: {', '.join(RULES)}")
    pool = Pool.open(request.inputs["data"], request.reads.get("data"))
    scenes, frames = pool.scenes("train"), int(data["chunk_frames"])
    kind = str(request.config["codec"]["kind"])
    latents_of(frames, kind)
    found: list[Segments] = []
    # Scenes are looked at side by side: at the real pool's length one takes minutes, and numpy lets go of the lock.
    with ThreadPoolExecutor(request.execution.threads) as together:
        coming = together.map(
            lambda scene: segments_of(pool.poses(scene), frames, float(evidence["min_overlap"]), time_factor(kind)),
            scenes,
        )
        for done in range(len(scenes)):
            if progress.stopping:
                together.shutdown(wait=False, cancel_futures=True)
                return StageOutcome(steps=done, stopped=True)
            progress.at(done, len(scenes), "listing evidence")
            found.append(next(coming))
    every, returning = _listed(found, float(data["returning_overlap"]))
    share = float(data["returning_share"])
    if not len(every):
        raise BadInput(f"controls.data.chunk_frames is {frames}; no training scene has that many frames")
    if share > 0 and not len(returning):
        raise BadInput(
            f"controls.data.returning_overlap is {data['returning_overlap']}; no training segment returns so "
            "closely, and controls.data.returning_share asks for some; lower the first, or set the second to 0"
        )
    steps, batch = int(training["steps"]), int(training["global_batch"])
    order, drops = np.zeros((steps, batch, 2), dtype=np.int32), np.zeros((steps, batch), dtype=np.bool_)
    for step in range(steps):
        if progress.stopping:
            return StageOutcome(steps=step, stopped=True)
        if step % REPORT_EVERY == 0:
            progress.at(step, steps, "drawing")
        for i in range(batch):
            key = (int(request.seed or 0), step, i)
            random = draws.stream("index/order", *key)
            among = returning if random.random() < share else every
            order[step, i] = among[random.integers(len(among))]
            drops[step, i] = draws.stream("index/drop", *key).random() < float(evidence["drop"])
    candidates = [c for segments in found for c in segments.candidates]
    digests = {
        "sample_order": _digest(scenes, order),
        "drops": _digest(scenes, drops),
        "candidates": _digest(scenes, every, *(a for c in candidates for a in (c.indices, c.overlaps))),
    }
    write_index(
        Path(request.out),
        scenes=scenes,
        segment_frames=frames,
        order=order,
        drops=drops,
        segments=every,
        found=candidates,
        digests=digests,
    )
    progress.at(steps, steps, "listed")
    return StageOutcome(steps=steps, records={**digests, "segments": len(every), "returning": len(returning)})


def segments_of(
    poses: Poses, frames: int, min_overlap: float, time_factor: int = 1, block: int = BLOCK_STARTS
) -> Segments:
    """All segments of `frames` frames of a scene, from every multiple of the codec's time factor, 0 included.

    Args:
        block: segments that start in this many frames are looked at together; the result does not depend on it.
    """
    starts = np.arange(0, len(poses) - frames + 1, time_factor, dtype=np.int64)
    returning = np.zeros(len(starts))
    candidates = []
    for first in range(0, len(starts), per_block := max(1, block // time_factor)):
        of_block = starts[first : first + per_block].tolist()
        rows = slice(of_block[0], of_block[-1] + frames)
        # Overlap is symmetric, so the frames of these segments against all that lie before the last of them suffice.
        shared = overlap(poses[rows], poses[: of_block[-1]])  # (rows, earlier)
        # best[i, s] is the best overlap of frame i with any frame up to s.
        best = np.maximum.accumulate(shared, axis=1)
        for n, start in enumerate(of_block, start=first):
            end, low = start + frames - 1, start - of_block[0]
            if start > 0:
                returning[n] = best[low : low + frames, start - 1].mean()
            candidates.append(eligible(shared[middle(start, end) - of_block[0], :start], min_overlap))
    return Segments(starts, returning, tuple(candidates))


def _listed(found: Sequence[Segments], threshold: float) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """All segments, and the returning ones, as (scene's number, first frame)."""
    every = np.concatenate(
        [np.stack([np.full(len(s.starts), n), s.starts], axis=1) for n, s in enumerate(found)]
        or [np.zeros((0, 2), dtype=np.int64)]
    ).astype(np.int32)
    returns = np.concatenate([s.returning for s in found] or [np.zeros(0)])
    return every, every[returns >= threshold]


def _digest(scenes: Sequence[str], *arrays: npt.NDArray[np.generic]) -> str:
    """sha256 over names, shapes and contents; integers and floats are little-endian as numpy saves them here."""
    digest = hashlib.sha256("\n".join(scenes).encode("utf-8"))
    for array in arrays:
        digest.update(str((array.shape, array.dtype.str)).encode("ascii"))
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
