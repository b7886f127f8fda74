"""What a branch of the evaluation is: cases, the truth where it is known, and measures. One file a branch."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workloads.data.pool import Pool
from workloads.evaluation.cases import Setting
from workloads.evaluation.values import CaseValue

Frames = npt.NDArray[np.uint8]
Features = Mapping[str, npt.NDArray[np.float64]]
"""What one case gives to measures over all cases together, by name."""


class Branch(Protocol):
    """A module of this folder."""

    def settings(self, pool: Pool, section: Mapping[str, Any], chunk_frames: int) -> list[Setting]:
        """The cases of `section`, in the order in which they are batched.

        Raises:
            BadInput: a section that the pool cannot satisfy.
        """
        ...

    def truth(self, setting: Setting, pool: Pool) -> Frames | None:
        """The true frames (T, h, w, 3) along the commanded poses, or None where nobody knows them."""
        ...

    def measure(
        self, setting: Setting, frames: Frames, truth: Frames | None, pool: Pool, chunk_frames: int
    ) -> list[CaseValue]:
        """Values of one generated video (T, h, w, 3)."""
        ...

    def features(self, frames: Frames, truth: Frames | None) -> Features:
        """What the case gives to `pooled`."""
        ...

    def pooled(self, features: Sequence[Features]) -> list[CaseValue]:
        """Values over all cases together."""
        ...
