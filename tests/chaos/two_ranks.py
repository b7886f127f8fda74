"""A training by two ranks with ZeRO 1 under the real loop and host: see `node_driver.py`."""

import sys
from pathlib import Path

from small_study import SmallStudy

DRIVER = Path(__file__).with_name("node_driver.py")
TWO_RANK_JOBS = 4
"""data, latents, index, and one training."""


def two_rank_study(home: Path) -> SmallStudy:
    """The study at `home`, driven by a process that holds the host itself."""
    return SmallStudy(home=home, starter=(sys.executable, str(DRIVER), str(home)))
