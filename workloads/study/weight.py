"""How much longer one training is than another, before any has run: by the frames a step passes over."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from workloads.study.memory.base import MemoryRow
from workloads.study.memory.compress import Compress
from workloads.study.memory.context import Context
from workloads.study.memory.families import row_from
from workloads.study.memory.ssm import Ssm

WRITES = 3  # a state-space step writes two segments' evidence, forward and backward, at about half a forward's price


def weight(stage: str, row: Mapping[str, Any] | None, config: Mapping[str, Any]) -> float:
    """Guessed duration over that of the anchor-only row; 1 for every stage but training.

    Wrong guesses cost a little idle time at the end of a grid and nothing else.
    """
    if stage != "train" or row is None:
        return 1.0
    frames = float(config.get("data", {}).get("chunk_frames", 0))
    if not frames:
        return 1.0
    evidence = int(config.get("evidence", {}).get("frames", 1))
    return (frames + _slots(row_from(row), evidence)) / (frames + 1)


def _slots(row: MemoryRow, evidence: int) -> int:
    if isinstance(row, Context):
        return row.frames
    if isinstance(row, Compress):
        return 1 + ceil((evidence - 1) / (row.ratio or 1))
    if isinstance(row, Ssm):
        return 1 + WRITES * evidence
    return 1
