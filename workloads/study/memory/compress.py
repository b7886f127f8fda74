"""Compression of the evidence: weighting, pooling, or both. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow


@dataclass(frozen=True, kw_only=True)
class Compress(MemoryRow):
    """Compression of the retrieved frames: weighting, pooling in time, or, declared, both."""

    family: ClassVar[str] = "compress"
    order: ClassVar[int] = 2
    computation: ClassVar[str] = "workloads.memory.compress:Compressed"

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

    @property
    def reads(self) -> tuple[str, ...]:
        """The number of evidence frames."""
        return ("evidence.frames",)

    def context_slots(self, slots: int) -> int:
        """The anchor, and one slot for every `ratio` retrieved frames."""
        return slots if self.ratio is None else 1 + -(-(slots - 1) // self.ratio)

    def remedies(self) -> tuple[str, ...]:
        """Fewer tokens."""
        return () if self.ratio is None else ("a larger ratio",)
