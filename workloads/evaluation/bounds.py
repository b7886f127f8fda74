"""Ceiling and floor: known frames in place of generated ones, scored by the same code (study.md section 7).

`truth` shows what the camera would see, `anchor` a camera that stands still. A row of family `bound` is
evaluated like any other, so that a score beside it is read on the same scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workloads.data.pool import Pool
from workloads.evaluation.branches.interface import Branch, Frames
from workloads.evaluation.cases import Setting
from workloads.runtime.progress import Progress


def showable(shows: str, settings: Sequence[Setting], branch: Branch, pool: Pool) -> list[Setting]:
    """The cases that can be shown: all for the anchor, those with a known truth for the truth."""
    if shows == "anchor":
        return list(settings)
    return [setting for setting in settings if branch.truth(setting, pool) is not None]


@dataclass(frozen=True)
class Known:
    """In place of a model: called like one, it gives known videos."""

    shows: str
    branch: Branch
    pool: Pool

    def __call__(
        self, batch: Sequence[Setting], progress: Progress, videos: Path, settings: Sequence[Setting]
    ) -> list[Frames]:
        """Videos (T, h, w, 3) of one batch; frame 0 is the given one."""
        return [self._video(setting) for setting in batch]

    def _video(self, setting: Setting) -> Frames:
        first = self.pool.frames(setting.scene, [setting.start])
        if self.shows == "anchor":
            return first.repeat(len(setting.poses), axis=0)
        truth = self.branch.truth(setting, self.pool)
        assert truth is not None  # `showable` has left the others out
        return np.concatenate([first, truth[1:]])
