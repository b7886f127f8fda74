"""The branch loop: does a known place come back? (study.md section 7).

From held-out first frames the camera turns away and back the same way, so that frame g and frame N − g look at
the same place. A camera that stands still would score well on such pairs, so that is measured too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workloads.data.frames import blank
from workloads.data.pool import Pool
from workloads.evaluation.branches.interface import Features, Frames
from workloads.evaluation.cases import Setting, first_by_hash, turning
from workloads.evaluation.networks.measures import Measures
from workloads.evaluation.psnr_ssim import psnr, ssim
from workloads.evaluation.seen import seen_from
from workloads.evaluation.values import CaseMetric
from workloads.runtime.errors import BadInput

NETWORKS = ("perceptual",)
STILL_DB = 3.0  # a turning point this much closer to the source than the truth's has not been turned to


def settings(pool: Pool, section: Mapping[str, Any], chunk_frames: int) -> list[Setting]:
    """The first frames of held-out scenes, the first n by hash."""
    turns = [float(turn) for turn in section["turns_deg"]]
    if not turns or len(turns) % 2 or any(a != -b for a, b in zip(turns, turns[::-1], strict=True)):
        raise BadInput(
            f"branches.loop.turns_deg is {turns}; allowed: an even number of turns of which the later half takes back "
            "the first, e.g. [45.0, 45.0, -45.0, -45.0]"
        )
    found = turning(pool, pool.scenes("held_out"), turns, chunk_frames)
    return first_by_hash(found, int(section["cases"]), "branches.loop.cases")


def truth(setting: Setting, pool: Pool) -> Frames | None:
    """What a rendered world shows along the commanded poses."""
    world = pool.world(setting.scene)
    return None if world is None else world.frames(setting.poses)


def measure(
    setting: Setting, frames: Frames, truth: Frames | None, pool: Pool, chunk_frames: int, measures: Measures
) -> list[CaseMetric]:
    """Mirrored pairs (g, N − g), g < N / 2; with `worlds` also the truth on what the source saw, and standing still.

    A video with a blank frame in its pairs has no value of them: two blank frames are always equal.
    """
    half, perceptual = (len(frames) - 1) // 2, measures.perceptual
    out, back = frames[:half], frames[: -half - 1 : -1]
    told = not bool((blank(out) | blank(back)).any())
    values = [
        CaseMetric(setting.id, "psnr", "dB", "high", float(psnr(out, back).mean()) if told else None),
        CaseMetric(setting.id, "ssim", "1", "high", float(ssim(out, back).mean()) if told else None),
        CaseMetric(
            setting.id, perceptual.metric, "1", "low", float(perceptual.between(out, back).mean()) if told else None
        ),
    ]
    world = pool.world(setting.scene)
    if world is None or truth is None:
        return values
    seen = seen_from(world, setting.poses[0], setting.poses[1:])
    judged = seen.any(axis=(1, 2))
    if judged.any():
        closeness = psnr(frames[1:][judged], truth[1:][judged], seen[judged])
        values.append(CaseMetric(setting.id, "psnr_truth", "dB", "high", float(closeness.mean())))
    turned = not bool(blank(frames[half : half + 1])[0])
    still = float(stands_still(frames[0], frames[half], truth[half])) if turned else None
    values.append(CaseMetric(setting.id, "stands_still", "1", "low", still))
    return values


def stands_still(source: Frames, turned: Frames, true: Frames) -> bool:
    """Whether the turning-point frame is clearly closer to the source than the true one is; frames (h, w, 3)."""
    made, real = psnr(np.stack([turned, true]), np.stack([source, source]))
    return bool(made > real + STILL_DB)


def features(frames: Frames, truth: Frames | None, measures: Measures) -> Features:
    """Nothing: no measure of this branch pools cases."""
    return {}


def pooled(features: Sequence[Features], measures: Measures) -> list[CaseMetric]:
    """None."""
    return []
