"""Compression of the evidence: weighting, pooling, or both. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from workloads.contract.rows import RowError
from workloads.study.memory.composed import ComposedRow, Parts
from workloads.study.memory.read.self_attention import SelfAttentionSpec
from workloads.study.memory.write.pooled import PooledSpec
from workloads.study.memory.write.weighted import WeightedSpec


@dataclass(frozen=True, kw_only=True)
class Compress(ComposedRow):
    """Compression of the retrieved frames: weighting, pooling in time, or, declared, both."""

    family: ClassVar[str] = "compress"
    order: ClassVar[int] = 2

    decay: float | None = None
    """Weight of a slot is decay ** age, age in slots, newest 0; None: not weighted."""
    ratio: int | None = None
    """Neighbours in time pooled into one slot; None: not pooled."""
    hybrid: bool = False
    """Declares that weighting and pooling together is meant."""
    scale: Literal["logits", "latents"] = "logits"
    """Where a weight acts: added to attention logits as its log, or multiplied into the tokens."""

    def __post_init__(self) -> None:
        if self.decay is None and self.ratio is None:
            raise RowError(
                "family", "a compress row needs decay (weighting), ratio (pooling), or both with hybrid: true"
            )
        if self.decay is not None and not 0 < self.decay < 1:
            raise RowError("decay", f"decay is {self.decay}; allowed: above 0 and below 1")
        if self.ratio is not None and self.ratio < 2:
            raise RowError("ratio", f"ratio is {self.ratio}; allowed: 2 and more (leave it out for no pooling)")
        both = self.decay is not None and self.ratio is not None
        if both and not self.hybrid:
            raise RowError(
                "ratio",
                "weighting (decay) with pooling (ratio) changes two things at once; allowed only with hybrid: true",
            )
        if self.hybrid and not both:
            raise RowError("hybrid", "a hybrid needs both decay (weighting) and ratio (pooling)")
        if self.scale not in ("logits", "latents"):
            raise RowError("scale", f"scale is {self.scale!r}; allowed: logits, latents")
        if self.scale == "latents" and self.decay is None:
            raise RowError("scale", "scale: latents needs decay; there is no weight to apply")
        super().__post_init__()

    @property
    def parts(self) -> Parts:
        """Pooled, weighted, or pooled and then weighted."""
        pooled = None if self.ratio is None else PooledSpec(ratio=self.ratio)
        if self.decay is not None:
            weighted = WeightedSpec(decay=self.decay, scale=self.scale, pooled=pooled)
            return Parts(weighted, self._address(), SelfAttentionSpec())
        assert pooled is not None  # the row's own check
        return Parts(pooled, self._address(), SelfAttentionSpec())
