"""Pixels and draws that may change only together with a revision of source/worlds or stage/index."""

import hashlib
import json
from pathlib import Path
from typing import Any

from workloads.data.trajectories import trajectory
from workloads.data.worlds import make_world

GOLDEN = Path(__file__).with_name("frames.json")
DATA: dict[str, Any] = {
    "seed": 0,
    "height": 8,
    "width": 16,
    "chunk_frames": 9,
    "open_variants": 4,
    "translation_m": 0.0,
}


def rendered() -> dict[str, str]:
    digests = {}
    for split, index in (("train", 0), ("train", 255), ("held_out", 3), ("open", 0), ("open", 15)):
        for translation_m in (0.0, 1.0):
            data = {**DATA, "translation_m": translation_m}
            frames = make_world(data, split, index).frames(trajectory(data, split, index))
            digests[f"{split} {index} translation {translation_m}"] = hashlib.sha256(frames.tobytes()).hexdigest()
    return digests


def test_rendered_frames_are_the_golden_ones() -> None:
    assert rendered() == json.loads(GOLDEN.read_text(encoding="utf-8"))
