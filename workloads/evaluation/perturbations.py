"""Evidence with something wrong in it: what the branch sensitivity does before a model sees it (study.md section 7).

The anchor is never touched: it is the frame that the chunk begins with, and every row has it. So a row that reads no
retrieved frame (`context-k1`) generates the same bits. `foreign` and `missing` are about the retrieved frame that sees
most of where the chunk ends, the oldest of equals: what a memory of the place to return to should use. The order of the
frames stays.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data import draws
from workloads.data.geometry import overlap
from workloads.data.poses import Poses
from workloads.evaluation.cases import Setting
from workloads.evaluation.rollout import Perturb, Shown
from workloads.study.scenes import FOREIGN

POSE, NOISE, MISSING = "pose", "noise", "missing"


def pose_off(shown: Shown, yaw_deg: float) -> Shown:
    """The retrieved frames with their yaw off by `yaw_deg`, degrees."""
    yaw = shown.poses.yaw_deg.copy()
    yaw[1:] += yaw_deg
    return replace(shown, poses=Poses(shown.poses.positions_m, yaw))


def foreign_frame(shown: Shown, latents: npt.NDArray[np.float32]) -> Shown:
    """One retrieved frame replaced by another world's, (c, h, w), at the same pose."""
    if len(shown.latents) == 1:
        return shown
    changed = shown.latents.copy()
    changed[most_useful(shown)] = latents
    return replace(shown, latents=changed)


def noisy(shown: Shown, deviation: float, case: str) -> Shown:
    """The retrieved latents with noise, `deviation` times as strong as each frame varies; the same in every row."""
    kept, found = shown.latents[:1], shown.latents[1:]
    # A stream for each frame, named by its place from the newest: rows are shown different numbers of frames.
    noise = [draws.normal(one.shape, "perturbation", case, shown.chunk, i) for i, one in enumerate(found[::-1])][::-1]
    worse = [one + np.float32(deviation * one.std()) * drawn for one, drawn in zip(found, noise, strict=True)]
    return replace(shown, latents=np.concatenate([kept, *(one[None].astype(np.float32) for one in worse)]))


def without_frame(shown: Shown) -> Shown:
    """One retrieved frame left out."""
    if len(shown.latents) == 1:
        return shown
    kept = np.delete(np.arange(len(shown.latents)), most_useful(shown))
    return replace(shown, latents=shown.latents[kept], poses=shown.poses[kept])


def most_useful(shown: Shown) -> int:
    """Slot of the retrieved frame whose view has most in common with that of the chunk's last frame."""
    return 1 + int(np.argmax(overlap(shown.poses[1:], shown.end)[:, 0]))


def perturb_of(setting: Setting, section: Mapping[str, Any], foreign: npt.NDArray[np.float32] | None) -> Perturb:
    """What is done to the evidence of a case.

    Args:
        setting: of the case, with a perturbation.
        section: `branches.sensitivity`.
        foreign: latents (c, h, w) of a frame of another world; read by `foreign`.
    """
    drawn = setting.id if setting.drawn_as is None else setting.drawn_as[1]
    pose, deviation = float(section["pose_deg"]), float(section["noise"])
    known: Mapping[str, Callable[[Shown], Shown]] = {
        POSE: lambda shown: pose_off(shown, pose),
        NOISE: lambda shown: noisy(shown, deviation, drawn),
        MISSING: without_frame,
    }
    if setting.perturbation != FOREIGN:
        return known[setting.perturbation]
    if foreign is None:
        raise ValueError(f"case {setting.id}: a foreign frame needs its latents")
    return lambda shown: foreign_frame(shown, foreign)
