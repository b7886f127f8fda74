"""Address `ray`: queries, keys and values hold the camera that saw them. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import BackboneSizes
from workloads.study.memory.parts import AddressSpec


@dataclass(frozen=True, kw_only=True)
class RaySpec(AddressSpec):
    """For cameras that turn and move. Without `yaw` they do neither."""

    name: ClassVar[str] = "ray"
    computation: ClassVar[str] = "workloads.memory.address.ray:Ray"
    finds: ClassVar[tuple[str, ...]] = ("tokens", "pooled", "weighted")

    def activations_attention(self, s: BackboneSizes, keys: int, queries: int, wide: int) -> int:
        """Values in the world, in place of q, k and v together; and what attention gives, in the image."""
        return (keys - 3 * keys + queries) * s.width * wide
