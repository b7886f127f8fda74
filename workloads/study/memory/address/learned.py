"""Address `learned`: learned from the pose. Source: study.md section 5, row `ssm-matrix-learned`."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import BackboneSizes, linear
from workloads.study.memory.parts import AddressSpec

TOLD = 3
"""Cosine and sine of the bearing, and the row."""


@dataclass(frozen=True, kw_only=True)
class LearnedSpec(AddressSpec):
    """A reference, not a success: it has to learn what a turn is."""

    name: ClassVar[str] = "learned"
    computation: ClassVar[str] = "workloads.memory.address.learned:Learned"
    finds: ClassVar[tuple[str, ...]] = ("matrix", "delta")

    def parameters(self, s: BackboneSizes) -> int:
        """Two layers, which all blocks share."""
        return linear(TOLD, s.width) + linear(s.width, s.width)

    def flops_looks(self, s: BackboneSizes, tokens: int) -> int:
        """The two layers."""
        return 2 * tokens * s.width * (TOLD + s.width)

    def activations_looks(self, s: BackboneSizes, tokens: int, wide: int) -> int:
        """Both sides of the GELU, and what is added."""
        return tokens * 3 * s.width * wide
