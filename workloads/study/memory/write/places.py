"""What declarations of writes of places share. Source: study.md section 5, `place`."""

from workloads.study.memory.base import BackboneSizes


def flops_moved(s: BackboneSizes, rows: int, frames: int, width: int) -> int:
    """Of bringing channels of frames together in `rows` rows of cells, or of spreading them; 0 where rows are alike."""
    return 0 if rows == s.rows else 2 * frames * rows * s.rows * s.columns * width
