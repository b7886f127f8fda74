"""Relative duration of trainings, estimated by the frames that a step passes through the model."""

from collections.abc import Mapping
from typing import Any

from workloads.study.memory.families import row_from

WRITES = 3
"""Cost of an evidence frame in rows with a state, in frames: both segments are written, forward and backward, at about
half the cost of a forward pass each."""


def weight(stage: str, row: Mapping[str, Any] | None, config: Mapping[str, Any]) -> float:
    """Estimated duration relative to the anchor-only row; 1 for every stage but training.

    A wrong estimate only costs some idle time at the end of a run.
    """
    if stage != "train" or row is None:
        return 1.0
    frames = float(config.get("data", {}).get("chunk_frames", 0))
    if not frames:
        return 1.0
    memory = row_from(row)
    evidence = memory.evidence_frames(config.get("evidence", {}))
    written = WRITES * evidence if memory.carries_state else 0
    return (frames + memory.context_slots(evidence) + written) / (frames + 1)
