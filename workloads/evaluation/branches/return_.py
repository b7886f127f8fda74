"""The branch return: does an unfamiliar world survive? (study.md section 7).

Open-domain first frames, away and back; the judge looks at the tail (`judging.py`). Here: the last frame against
the given one, and against the truth. (`return` is a word of Python, hence this file's name.)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workloads.data.pool import Pool
from workloads.evaluation.branches.interface import Features, Frames
from workloads.evaluation.cases import Setting, first_by_hash, open_scenes, turning
from workloads.evaluation.networks.measures import Measures
from workloads.evaluation.psnr_ssim import psnr
from workloads.evaluation.values import CaseMetric
from workloads.runtime.errors import BadInput

NETWORKS: Sequence[str] = ()
CLOSED_DEG = 1e-9


def settings(pool: Pool, section: Mapping[str, Any], chunk_frames: int) -> list[Setting]:
    """The first frames of open-domain scenes, the first n by hash."""
    turns = [float(turn) for turn in section["turns_deg"]]
    if not turns or abs(sum(turns)) > CLOSED_DEG:
        raise BadInput(f"branches.return.turns_deg is {turns}; allowed: turns that add up to 0, e.g. [-45.0, 45.0]")
    found = turning(pool, open_scenes(pool, "return"), turns, chunk_frames)
    return first_by_hash(found, int(section["cases"]), "branches.return.cases")


def truth(setting: Setting, pool: Pool) -> Frames | None:
    """What a rendered world shows along the commanded poses."""
    world = pool.world(setting.scene)
    return None if world is None else world.frames(setting.poses)


def measure(
    setting: Setting, frames: Frames, truth: Frames | None, pool: Pool, chunk_frames: int, measures: Measures
) -> list[CaseMetric]:
    """The last frame against the first, and with `worlds` against the truth at its pose."""
    last = frames[-1:]
    values = [CaseMetric(setting.id, "psnr_first", "dB", "high", float(psnr(last, frames[:1])[0]))]
    if truth is not None:
        values.append(CaseMetric(setting.id, "psnr_truth_last", "dB", "high", float(psnr(last, truth[-1:])[0])))
    return values


def features(frames: Frames, truth: Frames | None, measures: Measures) -> Features:
    """Nothing: no measure of this branch pools cases."""
    return {}


def pooled(features: Sequence[Features], measures: Measures) -> list[CaseMetric]:
    """None."""
    return []
