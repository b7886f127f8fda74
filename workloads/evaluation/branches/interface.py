"""What a branch of the evaluation is: cases, the truth where it is known, and measures. One file a branch."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workloads.data.pool import Pool
from workloads.evaluation.cases import Setting
from workloads.evaluation.networks.measures import Measures
from workloads.evaluation.values import CaseMetric

Frames = npt.NDArray[np.uint8]
Features = Mapping[str, npt.NDArray[np.floating[Any]]]
"""What one case gives to measures over all cases together, by name."""


class Branch(Protocol):
    """A module of this folder."""

    @property
    def NETWORKS(self) -> Sequence[str]:
        """Keys of the branch's section that choose a measuring network."""
        ...

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
        self,
        setting: Setting,
        frames: Frames,
        truth: Frames | None,
        pool: Pool,
        chunk_frames: int,
        measures: Measures,
    ) -> list[CaseMetric]:
        """Values of one generated video (T, h, w, 3)."""
        ...

    def features(self, frames: Frames, truth: Frames | None, measures: Measures) -> Features:
        """What the case gives to `pooled`."""
        ...

    def pooled(self, features: Sequence[Features], measures: Measures) -> list[CaseMetric]:
        """Values over all cases together."""
        ...
