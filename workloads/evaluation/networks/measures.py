"""Which networks a branch measures with, and under which names its values stand (study.md section 7).

A value is named by what computed it: `lpips`, `fid` and `fvd` with the published networks, `rf_distance`,
`rf_frechet` and `rf_frechet_video` with the random stand-ins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.evaluation.features import LEAST_FRAMES, clip_features, frame_features, rf_distance
from workloads.evaluation.networks import i3d, inception, lpips
from workloads.evaluation.networks.weights import find

Frames = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating[Any]]

RANDOM = "random"


@dataclass(frozen=True)
class FrameDistance:
    """A distance of pairs of frames."""

    metric: str
    between: Callable[[Frames, Frames], Values]
    """Two clips (t, h, w, 3) of uint8 to (t,)."""


@dataclass(frozen=True)
class Embedding:
    """Features whose distribution is compared, of frames or of clips."""

    metric: str
    of: Callable[[Frames], Features]
    """A clip (t, h, w, 3) of uint8 to (n, features)."""
    least: int
    """Under so many lines of features in either set the distance is missing."""


PERCEPTUAL = FrameDistance("rf_distance", rf_distance)
FRAMES = Embedding("rf_frechet", frame_features, LEAST_FRAMES)
CLIPS = Embedding("rf_frechet_video", clip_features, LEAST_FRAMES)


@dataclass(frozen=True)
class Measures:
    """The networks of one branch; those that it does not name are the stand-ins, unused."""

    perceptual: FrameDistance = PERCEPTUAL
    frames: Embedding = FRAMES
    clips: Embedding = CLIPS
    weights: Mapping[str, str] = field(default_factory=dict)
    """Setting -> sha256 of the file it was read from; empty with stand-ins alone."""


def measures(
    branch: str,
    networks: Sequence[str],
    section: Mapping[str, Any],
    paths: Mapping[str, str],
    frame_shape: tuple[int, int],
    device: str,
) -> Measures:
    """Load what `section` names, before anything is generated: a wrong file is told at once.

    Args:
        branch: names the section in errors.
        networks: keys of the section that the branch reads.
        section: `branches.{branch}`.
        paths: `execution.paths`.
        frame_shape: height and width.
        device: where the networks run.

    Raises:
        BadInput: weights that are not there or not the network's, or frames too small for it.
    """
    chosen: dict[str, Any] = {}
    digests = {}
    for key in networks:
        kind = str(section[key])
        if kind == RANDOM:
            continue
        setting = f"branches.{branch}.{key}: {kind}"
        file = find(setting, paths, "lpips" if key == "perceptual" else kind, kind)
        digests[key] = file.digest()
        if key == "perceptual":
            distance = lpips.LpipsDistance.load(kind, file, device)
            distance.check(*frame_shape)
            chosen["perceptual"] = FrameDistance("lpips", distance)
        elif key == "frechet":
            frames = inception.FrameFeatures.load(file, device)
            chosen["frames"] = Embedding("fid", frames, inception.LEAST_FRAMES)
        else:
            chosen["clips"] = Embedding("fvd", i3d.ClipFeatures.load(file, device), i3d.LEAST_CLIPS)
    return Measures(**chosen, weights=digests)
