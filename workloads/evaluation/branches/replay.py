"""The branch replay: can it follow a known trajectory? (study.md section 7).

Chunks along a held-out scene's own camera, from one frame without history. The given frame is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from workloads.data.frames import blank
from workloads.data.pool import Pool
from workloads.evaluation.branches.interface import Features, Frames
from workloads.evaluation.cases import Setting, first_by_hash
from workloads.evaluation.features import frechet
from workloads.evaluation.networks.measures import Measures
from workloads.evaluation.psnr_ssim import psnr, ssim
from workloads.evaluation.values import POOLED, CaseMetric
from workloads.study.scenes import START_CHUNKS, case_id

NETWORKS = ("perceptual", "frechet", "frechet_video")


def settings(pool: Pool, section: Mapping[str, Any], chunk_frames: int) -> list[Setting]:
    """Starts at multiples of 3 (F − 1) in held-out scenes, as far as all chunks fit; the first n by hash."""
    moves, length = chunk_frames - 1, int(section["chunks"]) * (chunk_frames - 1)
    found = [
        Setting(case_id(pool.name, scene, start), scene, start, pool.poses(scene)[start : start + length + 1])
        for scene in pool.scenes("held_out")
        for start in range(0, pool.length(scene) - length, START_CHUNKS * moves)
    ]
    return first_by_hash(found, int(section["cases"]), "branches.replay.cases")


def truth(setting: Setting, pool: Pool) -> Frames | None:
    """The pool's own frames."""
    return pool.frames(setting.scene, np.arange(setting.start, setting.start + len(setting.poses)))


def measure(
    setting: Setting, frames: Frames, truth: Frames | None, pool: Pool, chunk_frames: int, measures: Measures
) -> list[CaseMetric]:
    """PSNR, SSIM and distance to the pool's frames: over all, per chunk, and retention.

    Retention is the mean over later chunks of their value over the first chunk's, inverted for distances, so that
    1 is no loss; not defined where it would divide by nothing positive, or with a blank frame: what shows nothing from
    the first chunk on has nothing to lose.
    """
    assert truth is not None
    made, real = frames[1:], truth[1:]
    moves = chunk_frames - 1
    values: list[CaseMetric] = []
    per_frame: list[tuple[str, str, Literal["high", "low"], np.ndarray[Any, np.dtype[np.float64]]]] = [
        ("psnr", "dB", "high", psnr(made, real)),
        ("ssim", "1", "high", ssim(made, real)),
        (measures.perceptual.metric, "1", "low", measures.perceptual.between(made, real)),
    ]
    for name, unit, better, each in per_frame:
        chunks = [float(part.mean()) for part in each.reshape(-1, moves)]
        values.append(CaseMetric(setting.id, name, unit, better, float(each.mean())))
        values += [CaseMetric(setting.id, f"{name}@chunk{c}", unit, better, v) for c, v in enumerate(chunks)]
        shares = [_share(v, chunks[0], better) for v in chunks[1:]]
        if shares:
            defined = [] if blank(made).any() else [share for share in shares if share is not None]
            kept = float(np.mean(defined)) if len(defined) == len(shares) else None
            values.append(CaseMetric(setting.id, f"{name}_retention", "1", "high", kept))
    return values


def features(frames: Frames, truth: Frames | None, measures: Measures) -> Features:
    """Features of frames and of clips, generated and true."""
    assert truth is not None
    made, real = frames[1:], truth[1:]
    return {
        "frames": measures.frames.of(made),
        "true_frames": measures.frames.of(real),
        "clips": measures.clips.of(made),
        "true_clips": measures.clips.of(real),
    }


def pooled(features: Sequence[Features], measures: Measures) -> list[CaseMetric]:
    """Fréchet distances over all cases together; missing with too few frames or clips."""
    together = {name: np.concatenate([each[name] for each in features]) for name in features[0]}
    values = []
    for name, embedding in (("frames", measures.frames), ("clips", measures.clips)):
        distance = frechet(together[name], together[f"true_{name}"], embedding.least)
        values.append(CaseMetric(POOLED, embedding.metric, "1", "low", distance))
    return values


def _share(value: float, first: float, better: Literal["high", "low"]) -> float | None:
    above, below = (value, first) if better == "high" else (first, value)
    return above / below if below > 0 else None
