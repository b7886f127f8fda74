"""A training by two ranks with ZeRO 1 under the real loop and host: see `node_driver.py`."""

import sys
from pathlib import Path

from small_study import SmallStudy

DRIVER = Path(__file__).with_name("node_driver.py")
ZERO = "{zero_optimization: {stage: 1, reduce_bucket_size: 1000000, allgather_bucket_size: 1000000}}"
"""Small buckets: DeepSpeed's have one size, 2 GiB, however small the model."""
TWO_RANK_JOBS = 4
"""data, latents, index, and one training."""


def two_rank_study(home: Path) -> SmallStudy:
    """The study at `home`, driven by a process that holds the host itself."""
    return SmallStudy(home=home, starter=(sys.executable, str(DRIVER)), deepspeed=ZERO)
