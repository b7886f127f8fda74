"""Write `grid`: all evidence averaged, pooled to a grid and mixed to tokens. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes
from workloads.study.memory.parts import WriteSpec


@dataclass(frozen=True, kw_only=True)
class GridSpec(WriteSpec):
    """G x G places of the image, mixed to M tokens by a learned matrix."""

    name: ClassVar[str] = "grid"
    computation: ClassVar[str] = "workloads.memory.write.grid:Grid"
    controls: ClassVar[tuple[str, ...]] = ("evidence.frames", "backbone.grid", "backbone.grid_tokens")

    masked: bool = False
    """Nothing is kept: what a trained reader does without it."""

    def stored(self, s: BackboneSizes) -> int:
        """M."""
        return 0 if self.masked else s.grid_tokens

    def parameters(self, s: BackboneSizes) -> int:
        """The mixing matrix."""
        return s.grid * s.grid * s.grid_tokens

    def flops_store(self, s: BackboneSizes, slots: int) -> int:
        """One more frame is embedded, pooled and mixed; pooling and mixing are one matrix."""
        d, n, v, m = s.width, s.frame_tokens, s.patch_values, self.stored(s)
        return 2 * n * v * d + 2 * m * s.grid * s.grid * n + 2 * m * n * d if m else 0

    def activations_store(self, s: BackboneSizes, slots: int, wide: int) -> int:
        """The averaged frame, embedded beside the others."""
        return 2 * s.frame_tokens * s.width * FLOAT if self.stored(s) else 0
