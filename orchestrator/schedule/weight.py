"""How much longer one training is than another, before any has run: by the frames a step passes over."""

from math import ceil

from orchestrator.plan.job import Job
from workloads.study.rows import Compress, Context, Row, Ssm, row_from

WRITES = 3  # a state-space step writes two segments' evidence, forward and backward, at about half a forward's price


def weight(job: Job) -> float:
    """Guessed duration over that of the anchor-only row; 1 for every stage but training.

    Wrong guesses cost a little idle time at the end of a grid and nothing else.
    """
    if job.stage != "train" or job.row is None:
        return 1.0
    frames = float(job.config.get("data", {}).get("chunk_frames", 0))
    if not frames:
        return 1.0
    evidence = int(job.config.get("evidence", {}).get("frames", 1))
    return (frames + _slots(row_from(job.row), evidence)) / (frames + 1)


def _slots(row: Row, evidence: int) -> int:
    if isinstance(row, Context):
        return row.frames
    if isinstance(row, Compress):
        return 1 + ceil((evidence - 1) / (row.ratio or 1))
    if isinstance(row, Ssm):
        return 1 + WRITES * evidence
    return 1
