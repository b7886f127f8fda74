"""What an evaluation records of what it was given, for the controls check to compare between rows."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workloads.data.local_weights import digest_of, weight_files
from workloads.data.pool import Pool
from workloads.evaluation.cases import Setting

DIGITS = 16
"""Of the digest of one case, in a commit record that lists hundreds."""


def commanded(settings: Sequence[Setting], pool: Pool) -> dict[str, str]:
    """What every row starts from and is told in each case: a digest of first frame and poses.

    Poses count to a micrometre and a microdegree.
    """
    found: dict[str, str] = {}
    for setting in settings:
        digest = hashlib.sha256(pool.frames(setting.scene, [setting.start]).tobytes())
        digest.update((np.rint(setting.poses.array() * 1e6) + 0.0).astype("<f8").tobytes())  # + 0.0: there is no -0.0
        found[setting.id] = digest.hexdigest()[:DIGITS]
    return found


def codec_weights(codec: Mapping[str, Any], sampler: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, str]:
    """Digests of the pretrained weights that generated frames pass, by name in `paths`; empty: the codec has none.

    Where they lie is no part of the study, so that two machines can hold others under one name.

    Raises:
        BadInput: weights that are not there or not whole.
    """
    found: dict[str, list[Path]] = {}
    if codec["kind"] == "wan":
        found["wan_vae"] = weight_files(Path(paths["wan_vae"]), "diffusion_pytorch_model")
    if codec["text"] == "umt5" and float(sampler["guidance"]) != 1.0:  # it encodes the negative prompt
        found["umt5"] = weight_files(Path(paths["umt5"]) / "text_encoder", "model")
    return {name: digest_of(files) for name, files in found.items()}
